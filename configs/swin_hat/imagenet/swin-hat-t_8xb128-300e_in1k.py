# Swin-T with carrier tokens in the third stage, trained as FasterViT is here. Swin norms its output
# itself.
_base_ = '../../fastervit/_base_/fastervit_8xb128-300e_in1k.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='sparsevit_mm.SwinHAT',
        arch='tiny',
        hat=(False, False, True, False),
        drop_path_rate=0.2,
        out_indices=(3, )),
    in_channels=768,
    final_norm='none')
