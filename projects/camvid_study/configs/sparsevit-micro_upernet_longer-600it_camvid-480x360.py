# Finetuning of the dense network at the ratios of the search, for as many iterations as adaptation
# and finetuning have together: whether these iterations are better spent on one schedule.
_base_ = ['./_base_/upernet_micro_camvid.py', './_base_/longer_600it.py']

load_from = 'work_dirs/swin-micro_upernet_2000it_camvid-480x360/iter_2000.pth'
custom_hooks = [
    dict(
        type='sparsevit_mm.WindowPruningHook',
        schedule='work_dirs/sparsevit-micro_upernet_search_camvid-480x360/schedule.json')
]
