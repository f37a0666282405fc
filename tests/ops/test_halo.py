"""Convolutions of chosen windows against the dense ones, masked."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sparsevit_mm.ops.halo import convolve_windows
from sparsevit_mm.ops.windows import WindowGrid, Windows
from tests.helpers.masked_convolution import window_mask


def chosen(batch, grid, share, generator):
    total = batch * grid.num_windows
    return torch.randperm(total, generator=generator)[: max(1, int(share * total))]


@settings(max_examples=40, deadline=None)
@given(
    batch=st.integers(1, 3),
    sides=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    window=st.integers(1, 8),
    kernel=st.sampled_from([(1, 1), (3, 3), (5, 3), (1, 7)]),
    dilation=st.sampled_from([(1, 1), (2, 3)]),
    groups=st.sampled_from([1, 2]),
    bias=st.booleans(),
    share=st.floats(0, 1),
    seed=st.integers(0, 2**20),
)
def test_windows_equal_the_dense_convolution(
    batch, sides, window, kernel, dilation, groups, bias, share, seed
):
    generator = torch.Generator().manual_seed(seed)
    grid = WindowGrid(*sides, window)
    padding = tuple(d * (k - 1) // 2 for k, d in zip(kernel, dilation))
    conv = nn.Conv2d(4, 6, kernel, 1, padding, dilation, groups, bias).double()
    x = torch.randn(batch, 4, *sides, generator=generator, dtype=torch.double)
    others = torch.randn(batch, 6, *sides, generator=generator, dtype=torch.double)
    kept = chosen(batch, grid, share, generator)
    windows = Windows.locate(grid, batch, kept, x.device)
    mask = window_mask(kept, batch, *sides, window)
    weights = torch.randn(others.shape, generator=generator, dtype=torch.double)

    def outputs_and_gradients(compute):
        inputs = [part.clone().requires_grad_() for part in (x, others)]
        output = compute(*inputs)
        wanted = [*inputs, *conv.parameters()]
        return [output, *torch.autograd.grad((output * weights).sum(), wanted)]

    found = outputs_and_gradients(
        lambda x, others: convolve_windows(
            x, others.clone(), windows, conv.weight, conv.bias, dilation, groups
        )
    )
    right = outputs_and_gradients(lambda x, others: mask * conv(x) + (1 - mask) * others)
    for one, other in zip(found, right):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize('batch', [1, 2])
def test_windows_of_many_channels_in_inference(batch):
    """They are read in another way; a window in the middle and one at the edge."""
    conv = nn.Conv2d(1024, 3, 3, padding=1)
    x = torch.randn(batch, 1024, 17, 20).contiguous(memory_format=torch.channels_last)
    others, kept = torch.randn(batch, 3, 17, 20), torch.tensor([4, 9 * batch - 1])
    windows = Windows.locate(WindowGrid(17, 20, 7), batch, kept, x.device)
    mask = window_mask(kept, batch, 17, 20, 7)
    with torch.no_grad():
        found = convolve_windows(x, others.clone(), windows, conv.weight, conv.bias)
        right = mask * conv(x) + (1 - mask) * others
    torch.testing.assert_close(found, right.float(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_of_a_low_precision(dtype):
    conv = nn.Conv2d(3, 5, 3, padding=1).to(dtype)
    x = torch.randn(2, 3, 10, 9).to(dtype)
    try:
        dense = conv(x)
    except RuntimeError as error:  # "slow_conv2d_cpu" not implemented for 'Half'
        pytest.skip(f'torch {torch.__version__} on a CPU: {error}')
    grid = WindowGrid(10, 9, 7)
    windows = Windows.locate(grid, 2, torch.tensor([0, 5]), x.device)
    found = convolve_windows(
        x, torch.zeros(2, 5, 10, 9, dtype=dtype), windows, conv.weight, conv.bias
    )
    mask = window_mask(torch.tensor([0, 5]), 2, 10, 9, 7)
    torch.testing.assert_close(found, (mask * dense).to(dtype), rtol=0.02, atol=0.02)
    assert found.is_contiguous(memory_format=torch.channels_last)
