"""Necks for heads that read one fine map."""

from sparsevit_mm.necks.top_down import TopDownNeck

__all__ = ['TopDownNeck']
