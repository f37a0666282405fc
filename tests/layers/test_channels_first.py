"""Maps come out as they went in, contiguous, with their gradients."""

from __future__ import annotations

import pytest
import torch

from sparsevit_mm.layers.channels_first import channels_first


@pytest.mark.parametrize('batch_size', [1, 3])
@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
def test_numbers_and_gradients_stay(batch_size, layout):
    given = torch.randn(batch_size, 5, 6, 7).to(memory_format=layout).requires_grad_()
    made = channels_first(given)
    assert made.is_contiguous()
    assert torch.equal(made, given)
    weights = torch.randn(made.shape)
    (gradient,) = torch.autograd.grad((made * weights).sum(), given)
    assert torch.equal(gradient, weights)


def test_batch_may_be_empty():
    assert channels_first(torch.zeros(0, 6, 7, 5).permute(0, 3, 1, 2)).shape == (0, 5, 6, 7)
