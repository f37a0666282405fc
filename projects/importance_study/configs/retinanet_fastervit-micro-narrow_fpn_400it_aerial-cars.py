# RetinaNet on aerial_cars with a FasterViT that is about as expensive as the wider one with half of its
# windows skipped.
_base_ = './retinanet_fastervit-micro_fpn_400it_aerial-cars.py'

model = dict(
    backbone=dict(dim=20, in_dim=20),
    neck=dict(in_channels=[20, 40, 80, 160]))
