"""Triton kernels for inference on a GPU, each beside its reference in PyTorch.

`sparsevit_mm.ops.backend` decides whether they run. The modules here need Triton and are imported
only when they do.
"""
