# The ratio of every block of the adapted network beside this file, by evolution, for at most 0.85 of
# the dense backbone's MACs, on the held-out quarter of the training scenes.
#   python tools/search.py THIS_FILE work_dirs/fastervit-mini_upernet_adaptation_demo-224x448/iter_800.pth
_base_ = ['./sparsevit-mini_upernet_adaptation_demo-224x448.py', './_base_/fastervit_mini.py']

model = dict(backbone=_base_.fastervit_mini)
custom_hooks = []
test_cfg = dict(
    type='sparsevit_mm.ScheduleSearchLoop',
    metric='mIoU',
    budget=dict(macs='0.85x', of='backbone'),
    per='block',
    split=dict(share=0.25),
    evolution=dict(population=15, parents=5, max_evaluations=60),
    random_evaluations=60)
