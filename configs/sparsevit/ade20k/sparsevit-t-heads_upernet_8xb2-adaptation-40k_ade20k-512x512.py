# Sparsity-aware adaptation (section 3.3) of a UPerNet with Swin-T whose decode head skips windows, too: a
# quarter of its training at a tenth of its learning rate, from MMSegmentation's dense UPerNet, fetched
# when training starts. Every iteration draws ratios of the blocks and of the head.
_base_ = '../_base_/swin-t_upernet_8xb2-160k_ade20k-512x512.py'

max_iters = 40000
train_cfg = dict(max_iters=max_iters)
optim_wrapper = dict(optimizer=dict(lr=6e-6))
param_scheduler = _base_.param_scheduler
param_scheduler[1].end = max_iters
custom_hooks = [dict(type='sparsevit_mm.SparsityAdaptationHook')]

model = dict(
    type='sparsevit_mm.SparseHeads',
    of='EncoderDecoder',
    backbone=dict(
        _delete_=True, type='sparsevit_mm.SparseViT', arch='tiny', drop_path_rate=0.3))

load_from = 'https://download.openmmlab.com/mmsegmentation/v0.5/swin/upernet_swin_tiny_patch4_window7_512x512_160k_ade20k_pretrain_224x224_1K/upernet_swin_tiny_patch4_window7_512x512_160k_ade20k_pretrain_224x224_1K_20210531_112542-e380ad3e.pth'  # noqa: E501
