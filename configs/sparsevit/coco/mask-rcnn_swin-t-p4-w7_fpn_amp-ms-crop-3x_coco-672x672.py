# Swin-T, dense, at the size SparseViT is tested at: the last row of table 2 (authors' README), and
# the network whose weights SparseViT starts from. 40.4 G MACs an image (counted); the 161.8 G for
# four images that the paper prints in its 640x640 row are these.
_base_ = '../_base_/mask-rcnn_swin-t_fpn_amp-ms-crop-3x_coco-672x672.py'
