"""What a config names as its backbone."""

from sparsevit_mm.backbones.fastervit import FasterViT
from sparsevit_mm.backbones.sparsevit import SparseViT

__all__ = ['FasterViT', 'SparseViT']
