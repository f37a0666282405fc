"""When two results of a kernel are the same in a dtype."""

from __future__ import annotations

import pytest
import torch

# Triton's interpreter multiplies bfloat16 wrongly.
DTYPES = [
    torch.float32,
    torch.float16,
    pytest.param(
        torch.bfloat16,
        marks=pytest.mark.skipif(not torch.cuda.is_available(), reason='bfloat16 needs a GPU'),
    ),
]
TOLERANCE = {torch.float32: 2e-6, torch.float16: 2e-3, torch.bfloat16: 2e-2}


def assert_same(found, expected):
    tolerance = TOLERANCE[expected.dtype]
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
