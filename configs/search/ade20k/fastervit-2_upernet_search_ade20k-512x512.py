# Search for the ratios of the adapted UPerNet with FasterViT-2, under 0.85 of the dense backbone's
# latency on the device it runs on. Another budget: --latency 35ms, or --macs 0.8x; convolutional
# stages cost the same at any ratio.
#   python tools/search.py THIS_FILE \
#       work_dirs/fastervit-2_upernet_8xb2-adaptation-40k_ade20k-512x512/iter_40000.pth
# The candidates are compared on 500 images of the training set, which the adaptation has seen, so the
# metric itself says little; training sets in sparsevit_mm.ExcludeHeldOut leave them out.
_base_ = '../../fastervit/_base_/fastervit_upernet_8xb2-160k_ade20k-512x512.py'

model = dict(
    backbone=dict(arch='2'),
    decode_head=dict(in_channels=[96, 192, 384, 768]),
    auxiliary_head=dict(in_channels=384))

load_from = 'work_dirs/fastervit-2_upernet_8xb2-adaptation-40k_ade20k-512x512/iter_40000.pth'
test_cfg = dict(
    _delete_=True,
    type='sparsevit_mm.ScheduleSearchLoop',
    metric='mIoU',
    budget=dict(latency='0.85x', of='backbone'),
    split=dict(share=0.05, images=500))
