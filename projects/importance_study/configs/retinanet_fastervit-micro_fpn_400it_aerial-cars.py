# RetinaNet on aerial_cars with a small FasterViT that can skip windows of its two attention stages.
_base_ = './retinanet_sparsevit-micro_fpn_400it_aerial-cars.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='sparsevit_mm.FasterViT',
        arch='0',
        dim=24,
        in_dim=24,
        depths=(1, 1, 6, 2),
        num_heads=(1, 2, 4, 8),
        drop_path_rate=0.0),
    neck=dict(in_channels=[24, 48, 96, 192]))
