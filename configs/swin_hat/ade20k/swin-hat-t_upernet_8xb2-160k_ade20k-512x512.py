# MMSegmentation's UPerNet with Swin-T and its recipe; the third stage has carrier tokens.
_base_ = 'mmseg::swin/swin-tiny-patch4-window7-in1k-pre_upernet_8xb2-160k_ade20k-512x512.py'

data_source = 'ADE20K (http://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip)'

model = dict(
    backbone=dict(type='sparsevit_mm.SwinHAT', hat=(False, False, True, False)))
