# Search for the ratios of the adapted Cascade Mask R-CNN with FasterViT-2, under 0.85 of the dense
# backbone's latency at 800x1280, on the device it runs on. Another budget: --latency 35ms, or
# --macs 0.8x; convolutional stages cost the same at any ratio.
#   python tools/search.py THIS_FILE \
#       work_dirs/cascade-mask-rcnn_fastervit-2_fpn_amp-adaptation-1x_coco/epoch_12.pth
# The candidates are compared on 500 images of train2017, which the adaptation has seen, so the metric
# itself says little; training sets in sparsevit_mm.ExcludeHeldOut leave them out.
_base_ = '../../fastervit/_base_/cascade-mask-rcnn_fastervit_fpn_amp-ms-3x_coco.py'

model = dict(backbone=dict(arch='2'), neck=dict(in_channels=[96, 192, 384, 768]))

load_from = 'work_dirs/cascade-mask-rcnn_fastervit-2_fpn_amp-adaptation-1x_coco/epoch_12.pth'
test_cfg = dict(
    _delete_=True,
    type='sparsevit_mm.ScheduleSearchLoop',
    metric='coco/bbox_mAP',
    budget=dict(latency='0.85x', of='backbone', shape=(800, 1280), batch=1),
    split=dict(share=0.05, images=500))
