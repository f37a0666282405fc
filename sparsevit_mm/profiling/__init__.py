"""Counts the MACs and measures the latency of backbones and models."""

from sparsevit_mm.profiling.macs import BackboneMacs, BlockMacs, backbone_macs

__all__ = ['BackboneMacs', 'BlockMacs', 'backbone_macs']
