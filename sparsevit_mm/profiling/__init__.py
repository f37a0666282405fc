"""What a schedule costs: MACs counted, latency measured."""

from sparsevit_mm.profiling.macs import BackboneMacs, BlockMacs, backbone_macs

__all__ = ['BackboneMacs', 'BlockMacs', 'backbone_macs']
