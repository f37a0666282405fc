# The demo's UPerNet with a FasterViT, dense for the first half and then adapted to skipping windows.
_base_ = ['./sparsevit-mini_upernet_adaptation_demo-224x448.py', './_base_/fastervit_mini.py']

model = dict(backbone=_base_.fastervit_mini)
