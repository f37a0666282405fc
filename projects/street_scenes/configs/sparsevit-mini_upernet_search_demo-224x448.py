# Step 3 of the pipeline demo: the ratio of every block, by evolution, for at most 0.6 of the dense
# backbone's MACs. It looks at the held-out quarter of the training scenes alone.
#   python tools/search.py THIS_FILE work_dirs/sparsevit-mini_upernet_saa-300it_demo-224x448/iter_300.pth
_base_ = './sparsevit-mini_upernet_adaptation_demo-224x448.py'

custom_hooks = []
test_cfg = dict(
    type='sparsevit_mm.ScheduleSearchLoop',
    metric='mIoU',
    budget=dict(macs='0.6x', of='backbone'),
    per='block',
    split=dict(share=0.25),
    evolution=dict(population=15, parents=5, max_evaluations=60),
    random_evaluations=60)
