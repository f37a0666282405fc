# RetinaNet on aerial_cars with a FasterViT that is about as expensive as the one of 24 channels with half
# of its windows skipped.
_base_ = './retinanet_sparsevit-micro_fpn_400it_aerial-cars.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='sparsevit_mm.FasterViT',
        arch='0',
        dim=20,
        in_dim=20,
        depths=(1, 1, 6, 2),
        num_heads=(1, 2, 4, 8),
        drop_path_rate=0.0),
    neck=dict(in_channels=[20, 40, 80, 160]))
