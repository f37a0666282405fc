"""What a config names as its backbone."""

from sparsevit_mm.backbones.sparsevit import SparseViT

__all__ = ['SparseViT']
