"""Functions on tensors: windows, attention, norms, products, and what computes them."""
