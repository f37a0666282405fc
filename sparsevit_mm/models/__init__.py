"""The networks: backbones, a classifier around them, and heads that skip windows."""

from sparsevit_mm.models.ablations import AblatedSparseViT
from sparsevit_mm.models.classifier import ImageClassifier
from sparsevit_mm.models.fastervit import FasterViT
from sparsevit_mm.models.sparse_heads import make_heads_sparse
from sparsevit_mm.models.sparsevit import SparseViT
from sparsevit_mm.models.swin_hat import SwinHAT

__all__ = [
    'AblatedSparseViT',
    'FasterViT',
    'ImageClassifier',
    'SparseViT',
    'SwinHAT',
    'make_heads_sparse',
]
