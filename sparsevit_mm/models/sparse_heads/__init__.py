"""Necks and heads that compute only the windows that matter, at any resolution of the backbone."""

from sparsevit_mm.models.sparse_heads.convolution import SparseConv2d
from sparsevit_mm.models.sparse_heads.making import (
    build_sparse_heads,
    find_two_passes,
    make_heads_sparse,
)
from sparsevit_mm.models.sparse_heads.two_passes import TwoPasses

__all__ = [
    'SparseConv2d',
    'TwoPasses',
    'build_sparse_heads',
    'find_two_passes',
    'make_heads_sparse',
]
