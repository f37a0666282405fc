"""Triton kernels for inference on a GPU, each beside its reference in PyTorch.

`choice` decides whether they run. Every other module here needs Triton and is imported only when
they do; without them the layers compute the same with PyTorch's own operators.
"""

from sparsevit_mm.kernels.choice import KERNELS, run_kernels, use

__all__ = ['KERNELS', 'run_kernels', 'use']
