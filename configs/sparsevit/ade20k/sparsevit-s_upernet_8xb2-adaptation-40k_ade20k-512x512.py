# Sparsity-aware adaptation (section 3.3) of UPerNet with Swin-S: a quarter of its training at a
# tenth of its learning rate, a random schedule in every iteration, from MMSegmentation's dense
# UPerNet, fetched when training starts.
_base_ = '../_base_/swin-t_upernet_8xb2-160k_ade20k-512x512.py'

model = dict(
    backbone=dict(
        _delete_=True, type='sparsevit_mm.SparseViT', arch='small', drop_path_rate=0.3))

load_from = 'https://download.openmmlab.com/mmsegmentation/v0.5/swin/upernet_swin_small_patch4_window7_512x512_160k_ade20k_pretrain_224x224_1K/upernet_swin_small_patch4_window7_512x512_160k_ade20k_pretrain_224x224_1K_20210526_192015-ee2fff1c.pth'  # noqa: E501
custom_hooks = [dict(type='sparsevit_mm.SparsityAdaptationHook')]

max_iters = 40000
train_cfg = dict(max_iters=max_iters)
optim_wrapper = dict(optimizer=dict(lr=6e-6))
param_scheduler = _base_.param_scheduler
param_scheduler[1].end = max_iters
