"""The networks: backbones, and a classifier around them."""

from sparsevit_mm.models.ablations import AblatedSparseViT
from sparsevit_mm.models.classifier import ImageClassifier
from sparsevit_mm.models.fastervit import FasterViT
from sparsevit_mm.models.sparsevit import SparseViT
from sparsevit_mm.models.swin_hat import SwinHAT

__all__ = ['AblatedSparseViT', 'FasterViT', 'ImageClassifier', 'SparseViT', 'SwinHAT']
