# The demo's Mask R-CNN with a FasterViT of about the same cost, carrier tokens included; nothing is
# skipped.
_base_ = './mask-rcnn_sparsevit-mini_fpn_adaptation_demo-224x448.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='sparsevit_mm.FasterViT',
        dim=32,
        in_dim=16,
        depths=(1, 1, 3, 2),
        num_heads=(1, 2, 4, 8),
        drop_path_rate=0.0,
        out_norm_cfg=dict(type='LN')))
custom_hooks = []
