"""What a config names as its backbone."""

from sparsevit_mm.backbones.fastervit import FasterViT
from sparsevit_mm.backbones.sparsevit import SparseViT
from sparsevit_mm.backbones.sparsevit_ablations import AblatedSparseViT
from sparsevit_mm.backbones.swin_hat import SwinHAT

__all__ = ['AblatedSparseViT', 'FasterViT', 'SparseViT', 'SwinHAT']
