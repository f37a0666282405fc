# The dense network trained for as many iterations more as the sparse ones are, with the same two
# cycles of the learning rate: what those gain is not longer training.
_base_ = './swin-micro_upernet_1500it_camvid-480x360.py'

load_from = 'work_dirs/swin-micro_upernet_1500it_camvid-480x360/iter_1500.pth'
model = dict(data_preprocessor=dict(size=(360, 480)))
train_dataloader = dict(batch_size=1, dataset=dict(pipeline=_base_.train_pipeline))

max_iters = 600
train_cfg = dict(max_iters=max_iters, val_interval=max_iters)
optim_wrapper = dict(optimizer=dict(lr=5e-4))
param_scheduler = [
    dict(
        type='CosineRestartLR',
        by_epoch=False,
        periods=[400, 200],
        restart_weights=[1.0, 0.6],
        eta_min=1e-5)
]
