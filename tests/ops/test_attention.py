"""The one signature of window attention against its definition."""

from __future__ import annotations

import math

import pytest
import torch

from sparsevit_mm.ops.attention import Masks, attend

DEVICES = [
    'cpu',
    pytest.param(
        'cuda', marks=pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
    ),
]


def defined(qkv, heads, bias, mask, scale):
    windows, tokens, packed = qkv.shape
    out = torch.zeros(windows, tokens, packed // 3).to(qkv)
    for window in range(windows):
        queries, keys, values = qkv[window].view(tokens, 3, heads, -1).unbind(1)
        for head in range(heads):
            scores = queries[:, head] @ keys[:, head].t() * scale + bias[head] + mask[window]
            dims = slice(head * values.shape[-1], (head + 1) * values.shape[-1])
            out[window, :, dims] = scores.softmax(-1) @ values[:, head]
    return out


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('head_dims', [8, 49])
@pytest.mark.parametrize('form', ['none', 'by window', 'keys by window', 'one for all'])
def test_attention_is_as_defined(form, head_dims, device):
    qkv = torch.randn(3, 5, 3 * 2 * head_dims, device=device)
    bias = torch.randn(2, 5, 5, device=device)
    masks, ids = torch.randn(2, 5, 5, device=device), torch.tensor([0, 1, 0], device=device)
    masks[0] = 0
    if form == 'none':
        masks = ids = None
    elif form == 'keys by window':
        masks = torch.zeros(2, 1, 5, device=device)
        masks[1, 0, 3:] = -math.inf
    elif form == 'one for all':
        masks, ids = torch.randn(1, 1, 5, device=device), None
    found = attend(qkv, 2, bias, None if masks is None else Masks(masks, ids), scale=0.3)
    each = torch.zeros(3, 1, 1, device=device)
    if masks is not None:
        each = masks.expand(3, -1, -1) if ids is None else masks[ids]
    torch.testing.assert_close(found, defined(qkv, 2, bias, each, 0.3), rtol=1e-5, atol=1e-5)
