"""Kernels between the map and its windows against their references."""

from __future__ import annotations

import pytest
import torch

from sparsevit_mm.ops.windows import WindowGrid, Windows, index_maps
from tests.helpers.close import DTYPES, assert_same

GRIDS = [
    WindowGrid(6, 9, 3),
    WindowGrid(7, 8, 3, 1),
    WindowGrid(3, 2, 7, 3),
]
PARTS = [(0, None), (1, 2)]


def choose(grid, batch, selection, device):
    """(W,) window indices over the batch, image by image."""
    number = {'all': None, 'full': grid.num_windows, 'one': 1}.get(selection, grid.num_windows // 2)
    if number is None:
        return None
    chosen = [
        image * grid.num_windows + torch.randperm(grid.num_windows)[: max(number, 1)]
        for image in range(batch)
    ]
    return torch.cat(chosen).to(device)


def windows_of(grid, batch, selection, device, part=(0, None)):
    kept = choose(grid, batch, selection, device)
    first, count = part
    if part != PARTS[0]:
        kept = torch.arange(batch * grid.num_windows, device=device) if kept is None else kept
        first = min(first, len(kept) - 1)
        kept = kept[first : first + count]
    return Windows.locate(grid, batch, kept, device)


@pytest.fixture(params=GRIDS, ids=str)
def grid(request):
    return request.param


@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('selection', ['all', 'full', 'half', 'one'])
def test_gather_norm(grid, selection, dtype, triton_device):
    from sparsevit_mm.ops.triton.gather_norm import gather_norm, reference

    for channels, zero_padding, part in ((24, True, PARTS[0]), (33, False, PARTS[1])):
        windows = windows_of(grid, 2, selection, triton_device, part)
        tokens = torch.randn(2 * grid.height * grid.width, channels).to(triton_device, dtype) * 3
        weight, bias = torch.randn(2, channels).to(triton_device, dtype)
        with torch.no_grad():
            arguments = tokens, windows, weight, bias, 1e-5
            found = gather_norm(*arguments, zero_padding=zero_padding)
            assert found.shape == (windows.num_windows, grid.window_size**2, channels)
            assert_same(found, reference(*arguments, zero_padding=zero_padding))


def test_gather_norm_writes_the_dtype_that_is_wanted(triton_device):
    from sparsevit_mm.ops.triton.gather_norm import gather_norm, reference

    windows = windows_of(GRIDS[1], 2, 'half', triton_device)
    tokens = torch.randn(112, 16, device=triton_device)
    weight, bias = torch.randn(2, 16, device=triton_device)
    options = dict(zero_padding=True, dtype=torch.float16)
    found = gather_norm(tokens, windows, weight, bias, 1e-5, **options)
    assert found.dtype == torch.float16
    assert_same(found, reference(tokens, windows, weight, bias, 1e-5, **options))


def test_padding_is_zero_or_the_bias_after_the_norm(triton_device):
    from sparsevit_mm.ops.triton.gather_norm import gather_norm

    windows = windows_of(WindowGrid(3, 2, 7, 3), 1, 'all', triton_device)
    tokens = torch.randn(6, 8, device=triton_device)
    weight, bias = torch.randn(2, 8, device=triton_device)
    padding = index_maps(windows.grid, triton_device).padding
    arguments = tokens, windows, weight, bias, 1e-5
    assert (gather_norm(*arguments, zero_padding=True)[padding] == 0).all()
    torch.testing.assert_close(
        gather_norm(*arguments, zero_padding=False)[padding], bias.expand(int(padding.sum()), 8)
    )


@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('selection', ['all', 'half'])
def test_residual_norm_from_a_map(grid, selection, dtype, triton_device):
    from sparsevit_mm.ops.triton.residual_norm import reference, residual_norm

    for channels, part in ((24, PARTS[0]), (33, PARTS[1])):
        windows = windows_of(grid, 2, selection, triton_device, part)
        tokens = torch.randn(2 * grid.height * grid.width, channels).to(triton_device, dtype)
        branch = torch.randn(windows.num_windows, grid.window_size**2, channels).to(tokens)
        weight, bias = torch.randn(2, channels).to(tokens)
        arguments = tokens, branch, weight, bias, 1e-5
        for found, expected in zip(
            residual_norm(*arguments, windows=windows), reference(*arguments, windows=windows)
        ):
            assert_same(found, expected)


@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('has_factors', [False, True])
@pytest.mark.parametrize('channels', [8, 49, 130])
def test_residual_norm_of_windows(channels, has_factors, dtype, triton_device):
    from sparsevit_mm.ops.triton.residual_norm import reference, residual_norm

    tokens, branch = torch.randn(2, 3, 53, channels).to(triton_device, dtype)
    weight, bias, factors = torch.randn(3, channels).to(tokens)
    arguments = tokens, branch, weight, bias, 1e-6
    options = dict(factors=factors if has_factors else None)
    for found, expected in zip(
        residual_norm(*arguments, **options), reference(*arguments, **options)
    ):
        assert_same(found, expected)


def test_residual_norm_of_mixed_dtypes(triton_device):
    from sparsevit_mm.ops.triton.residual_norm import reference, residual_norm

    tokens = torch.randn(3, 9, 16, device=triton_device)
    branch = torch.randn(3, 9, 16).to(triton_device, torch.float16)
    weight, bias = torch.randn(2, 16, device=triton_device)
    arguments = tokens, branch, weight, bias, 1e-5
    total, normed = residual_norm(*arguments, dtype=torch.float16)
    expected = reference(*arguments, dtype=torch.float16)
    assert (total.dtype, normed.dtype) == (torch.float32, torch.float16)
    assert_same(total, expected[0])
    assert_same(normed, expected[1])


@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('selection', ['all', 'full', 'half', 'one'])
def test_residual_scatter(grid, selection, dtype, triton_device):
    from sparsevit_mm.ops.triton.residual_scatter import reference, residual_scatter_

    for channels, part in ((24, PARTS[0]), (33, PARTS[1])):
        windows = windows_of(grid, 2, selection, triton_device, part)
        target = torch.randn(2 * grid.height * grid.width, channels).to(triton_device, dtype)
        before, expected = target.clone(), target.clone()
        shape = windows.num_windows, grid.window_size**2, channels
        tokens, branch = torch.randn(2, *shape).to(target)
        residual_scatter_(target, tokens, branch, windows)
        reference(expected, tokens, branch, windows)
        assert_same(target, expected)
        # Tokens of other windows are not touched.
        other = torch.ones(len(target), dtype=torch.bool)
        rows, padding, _ = windows.maps
        other[rows if padding is None else rows[~padding.flatten()]] = False
        assert torch.equal(target[other], before[other])
