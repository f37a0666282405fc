# Step 2 of the pipeline demo: sparsity-aware adaptation of the dense network, a random schedule in
# every iteration. Every block draws a ratio of its own: in a network of two blocks a stage, whether
# the first one sees every window matters most.
_base_ = './sparsevit-mini_upernet_adaptation_demo-224x448.py'

load_from = 'work_dirs/swin-mini_upernet_400it_demo-224x448/iter_400.pth'
custom_hooks = [dict(type='sparsevit_mm.SparsityAdaptationHook', per='block')]
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='sparsevit_mm.ExcludeHeldOut',
        share=0.25,
        dataset=_base_.train_dataloader.dataset))

max_iters = 300
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
optim_wrapper = dict(optimizer=dict(lr=5e-4))
param_scheduler = _base_.param_scheduler
param_scheduler[1].end = max_iters
