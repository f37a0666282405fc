"""What a config names as its backbone."""

from sparsevit_mm.backbones.fastervit import FasterViT
from sparsevit_mm.backbones.sparsevit import SparseViT
from sparsevit_mm.backbones.swin_hat import SwinHAT

__all__ = ['FasterViT', 'SparseViT', 'SwinHAT']
