"""Exports models as graphs that run without this package (`torch.export`, ONNX), and runs them.

`OnnxDetector` needs neither torch nor mmengine.
"""

from sparsevit_mm.deployment.onnx_detector import OnnxDetector

__all__ = ['OnnxDetector']
