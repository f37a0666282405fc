# Search for the ratios of the adapted network, under half of the dense backbone's MACs, on images
# of the validation set. The other budget of the study: --macs 0.7x.
#   python tools/search.py THIS_FILE \
#       work_dirs/sparsevit-micro_upernet_saa-400it_camvid-480x360/iter_400.pth
_base_ = './_base_/upernet_micro_camvid.py'

# The runner asks for it beside a training set; a search trains nothing.
train_cfg = dict(type='IterBasedTrainLoop', max_iters=1)
test_cfg = dict(
    _delete_=True,
    type='sparsevit_mm.ScheduleSearchLoop',
    metric='mIoU',
    budget=dict(macs='0.5x', of='backbone'),
    split=dict(part='val', images=24),
    uniform=False,
    evolution=dict(population=10, parents=3, mutation_probability=0.3, max_evaluations=30))
