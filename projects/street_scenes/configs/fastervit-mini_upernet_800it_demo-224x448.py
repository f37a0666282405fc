# The demo's UPerNet with a FasterViT; nothing is skipped.
_base_ = ['./sparsevit-mini_upernet_adaptation_demo-224x448.py', './_base_/fastervit_mini.py']

model = dict(backbone=_base_.fastervit_mini)
custom_hooks = []
