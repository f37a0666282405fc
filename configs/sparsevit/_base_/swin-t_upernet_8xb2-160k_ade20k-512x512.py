# MMSegmentation's UPerNet with Swin and its recipe on ADE20K (160k iterations, AdamW, 8 GPUs x 2
# images), crops of 512x512, images tested with a short side of 512. `--tta` of tools/test.py tests at
# six scales of that size and mirrored.
_base_ = 'mmseg::swin/swin-tiny-patch4-window7-in1k-pre_upernet_8xb2-160k_ade20k-512x512.py'

# What the tools say when data/ade is missing.
data_source = 'ADE20K (http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip)'

# MMSegmentation scales the image as it is on disk; this is six scales of the test size.
tta_pipeline = _base_.tta_pipeline
tta_pipeline[1].transforms[0] = [
    dict(type='Resize', scale=(int(2048 * ratio), int(512 * ratio)), keep_ratio=True)
    for ratio in _base_.img_ratios
]
auto_scale_lr = dict(enable=False, base_batch_size=16)
