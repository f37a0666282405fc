# UPerNet with Swin on ADE20K as MMSegmentation trains it, at twice the size: crops of 1024x1024, images
# resized to a short side of 1024 (times 0.5 to 2 in training) and tested with it.
_base_ = 'mmseg::swin/swin-tiny-patch4-window7-in1k-pre_upernet_8xb2-160k_ade20k-512x512.py'

data_source = 'ADE20K (http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip)'
crop_size = (1024, 1024)

model = dict(data_preprocessor=dict(size=crop_size))

train_pipeline = _base_.train_pipeline
train_pipeline[2].scale = (4096, 1024)
train_pipeline[3].crop_size = crop_size
test_pipeline = _base_.test_pipeline
test_pipeline[1].scale = (4096, 1024)
tta_pipeline = _base_.tta_pipeline
tta_pipeline[1].transforms[0] = [
    dict(type='Resize', scale=(int(4096 * ratio), int(1024 * ratio)), keep_ratio=True)
    for ratio in _base_.img_ratios
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
auto_scale_lr = dict(enable=False, base_batch_size=16)
