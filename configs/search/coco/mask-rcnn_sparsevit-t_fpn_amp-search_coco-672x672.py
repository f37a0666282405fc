# Search for the ratios of the adapted Mask R-CNN, under three quarters of the dense
# backbone's latency for the paper's four images of 672x672, on the device it runs on. Another budget:
# --latency 35ms, or --macs 0.7x.
#   python tools/search.py THIS_FILE \
#       work_dirs/mask-rcnn_sparsevit-t_fpn_amp-adaptation-1x_coco-672x672/epoch_12.pth
# The candidates are compared on 500 images of train2017; val2017, on which the authors compared
# theirs, is not looked at. The adaptation has seen these images, so the metric itself says little;
# training sets in sparsevit_mm.ExcludeHeldOut leave them out.
_base_ = '../../sparsevit/_base_/mask-rcnn_swin-t_fpn_amp-ms-crop-3x_coco-672x672.py'

model = dict(
    backbone=dict(
        _delete_=True, type='sparsevit_mm.SparseViT', arch='tiny', drop_path_rate=0.2))

load_from = 'work_dirs/mask-rcnn_sparsevit-t_fpn_amp-adaptation-1x_coco-672x672/epoch_12.pth'
test_cfg = dict(
    _delete_=True,
    type='sparsevit_mm.ScheduleSearchLoop',
    metric='coco/bbox_mAP',
    budget=dict(latency='0.75x', of='backbone', shape=(672, 672), batch=4),
    split=dict(share=0.05, images=500))
