"""The attention kernel against its reference, for the windows and masks of every backbone."""

from __future__ import annotations

import math

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from sparsevit_mm.models.carrier_tokens import padded_keys
from sparsevit_mm.ops.attention import edge_masks, key_mask
from sparsevit_mm.ops.windows import WindowGrid, Windows
from tests.helpers.close import DTYPES, assert_same


def random_attention(device, dtype, num_windows, num_tokens, num_heads, head_dims):
    qkv = torch.randn(num_windows, num_tokens, 3 * num_heads * head_dims).to(device, dtype)
    return qkv, torch.randn(num_heads, num_tokens, num_tokens).to(device, dtype)


def assert_equals_the_reference(qkv, *arguments):
    from sparsevit_mm.ops.triton.window_attention import reference, window_attention

    found = window_attention(qkv, *arguments)
    assert found.shape == (*qkv.shape[:2], qkv.shape[2] // 3)
    assert_same(found, reference(qkv, *arguments))


@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('head_dims', [8, 16, 32, 49, 64, 96, 128])
def test_head_sizes(head_dims, dtype, triton_device):
    qkv, bias = random_attention(triton_device, dtype, 2, 53, 2, head_dims)
    assert_equals_the_reference(qkv, 2, bias)


@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('num_tokens', [1, 17, 49, 64, 65, 144])
def test_windows_of_other_sizes(num_tokens, dtype, triton_device):
    qkv, bias = random_attention(triton_device, dtype, 1, num_tokens, 3, 32)
    assert_equals_the_reference(qkv, 3, bias)


@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('size', [7, 12])
def test_swins_edge_masks(size, dtype, triton_device):
    grid = WindowGrid(2 * size, 2 * size + 3, size, size // 2)
    found = edge_masks(Windows.locate(grid, 1, None, triton_device))
    mask_ids = found.ids
    assert set(mask_ids.tolist()) == {0, 1, 2, 3}
    qkv, bias = random_attention(triton_device, dtype, grid.num_windows, size**2, 2, 16)
    masks = found.values.to(dtype)
    assert_equals_the_reference(qkv, 2, bias, masks, mask_ids)


@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('window_size', [7, 12])
def test_hidden_keys_of_fastervit(window_size, dtype, triton_device):
    grid = WindowGrid(window_size + 1, window_size + 3, window_size)
    hidden, mask_ids = padded_keys(grid, 2, 'authors', triton_device)
    assert hidden.any(1).sum() == 3
    num_tokens = window_size**2 + 4
    qkv, bias = random_attention(triton_device, dtype, grid.num_windows, num_tokens, 2, 32)
    masks = key_mask(hidden, dtype)
    assert masks.shape == (4, 1, num_tokens)
    assert_equals_the_reference(qkv, 2, bias, masks, mask_ids)


def test_a_whole_block_of_padded_keys(triton_device):
    qkv, bias = random_attention(triton_device, torch.float32, 2, 100, 1, 16)
    masks = torch.zeros(2, 1, 100, device=triton_device)
    masks[1, :, :70] = -math.inf
    assert_equals_the_reference(qkv, 1, bias, masks, torch.tensor([1, 0], device=triton_device))


def test_the_first_id_has_no_mask(triton_device):
    from sparsevit_mm.ops.triton.window_attention import window_attention

    qkv, bias = random_attention(triton_device, torch.float32, 2, 9, 1, 16)
    masks = torch.randn(2, 9, 9, device=triton_device)
    mask_ids = torch.zeros(2, dtype=torch.int64, device=triton_device)
    assert_same(window_attention(qkv, 1, bias, masks, mask_ids), window_attention(qkv, 1, bias))


def test_the_scale_that_is_given(triton_device):
    qkv, bias = random_attention(triton_device, torch.float32, 2, 9, 2, 16)
    assert_equals_the_reference(qkv, 2, bias, None, None, 0.7)


def test_large_scores_do_not_overflow(triton_device):
    from sparsevit_mm.ops.triton.window_attention import window_attention

    qkv, bias = random_attention(triton_device, torch.float16, 2, 49, 1, 32)
    out = window_attention(qkv * 60, 1, bias)
    assert out.isfinite().all()


def test_its_operations_are_counted(triton_device):
    from sparsevit_mm.ops.triton.window_attention import reference, window_attention

    qkv, bias = random_attention(triton_device, torch.float32, 2, 9, 2, 16)
    counts = []
    for attention in (window_attention, reference):
        with FlopCounterMode(display=False) as counter:
            attention(qkv, 2, bias)
        counts.append(counter.get_total_flops())
    assert counts[0] == counts[1] > 0
