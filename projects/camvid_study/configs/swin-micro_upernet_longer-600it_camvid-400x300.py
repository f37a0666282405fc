# As the one at 480x360, trained further and tested at 400x300.
_base_ = ['./_base_/upernet_micro_camvid.py', './_base_/longer_600it.py']

load_from = 'work_dirs/swin-micro_upernet_2000it_camvid-480x360/iter_2000.pth'
model = dict(data_preprocessor=dict(size=(300, 400)))
train_pipeline = _base_.train_pipeline
train_pipeline[2].scale = (400, 300)
test_pipeline = _base_.test_pipeline
test_pipeline[1].scale = (400, 300)
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
