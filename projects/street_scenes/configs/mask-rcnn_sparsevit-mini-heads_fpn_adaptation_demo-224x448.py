# The demo's Mask R-CNN whose FPN and RPN skip windows, too: dense for the first half, then adapted to random
# ratios of the blocks and of neck and head.
_base_ = './mask-rcnn_sparsevit-mini_fpn_adaptation_demo-224x448.py'

model = dict(type='sparsevit_mm.SparseHeads', of='MaskRCNN')
