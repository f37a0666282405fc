# Step 1 of the pipeline demo: the dense network, 400 iterations from scratch. A quarter of the
# training scenes is held out for the search of step 3.
_base_ = './sparsevit-mini_upernet_adaptation_demo-224x448.py'

custom_hooks = []
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='sparsevit_mm.ExcludeHeldOut',
        share=0.25,
        dataset=_base_.train_dataloader.dataset))

max_iters = 400
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
param_scheduler = _base_.param_scheduler
param_scheduler[1].end = max_iters
