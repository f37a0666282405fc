# Search for the ratios of the adapted UPerNet, under three quarters of the dense
# backbone's latency on the device it runs on. Another budget: --latency 35ms, or --macs 0.7x.
#   python tools/search.py THIS_FILE \
#       work_dirs/sparsevit-t_upernet_8xb2-adaptation-40k_ade20k-512x512/iter_40000.pth
# The candidates are compared on 500 images of the training set, not of the validation set. The
# adaptation has seen these images, so the metric itself says little; training sets in
# sparsevit_mm.ExcludeHeldOut leave them out.
_base_ = '../../sparsevit/_base_/swin-t_upernet_8xb2-160k_ade20k-512x512.py'

model = dict(
    backbone=dict(
        _delete_=True, type='sparsevit_mm.SparseViT', arch='tiny', drop_path_rate=0.3))

load_from = 'work_dirs/sparsevit-t_upernet_8xb2-adaptation-40k_ade20k-512x512/iter_40000.pth'
test_cfg = dict(
    _delete_=True,
    type='sparsevit_mm.ScheduleSearchLoop',
    metric='mIoU',
    budget=dict(latency='0.75x', of='backbone'),
    split=dict(share=0.05, images=500))
