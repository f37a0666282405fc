# MMDetection's Mask R-CNN with Swin-T and its 3x recipe; the third stage has carrier tokens.
_base_ = 'mmdet::swin/mask-rcnn_swin-t-p4-w7_fpn_amp-ms-crop-3x_coco.py'

data_source = 'COCO 2017 (https://cocodataset.org/#download: train2017, val2017, annotations)'

model = dict(
    backbone=dict(type='sparsevit_mm.SwinHAT', hat=(False, False, True, False)))
