# The demo's FCOS3D with a FasterViT; nothing is skipped.
_base_ = [
    './fcos3d_sparsevit-mini_fpn_adaptation_demo-224x448.py', './_base_/fastervit_mini.py'
]

model = dict(backbone=_base_.fastervit_mini)
custom_hooks = []
