"""Chunk by chunk, token-wise layers give what they give for the whole map."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sparsevit_mm.models.swin import PatchMerging
from sparsevit_mm.ops.tokens import chunks, norm_to_nchw, norm_tokens, to_nchw
from sparsevit_mm.pruning.importance import token_importance


@pytest.mark.parametrize('batch_size', [1, 3])
@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
def test_numbers_and_gradients_stay(batch_size, layout):
    given = torch.randn(batch_size, 5, 6, 7).to(memory_format=layout).requires_grad_()
    made = to_nchw(given)
    assert made.is_contiguous()
    assert torch.equal(made, given)
    weights = torch.randn(made.shape)
    (gradient,) = torch.autograd.grad((made * weights).sum(), given)
    assert torch.equal(gradient, weights)


def test_batch_may_be_empty():
    assert to_nchw(torch.zeros(0, 6, 7, 5).permute(0, 3, 1, 2)).shape == (0, 5, 6, 7)


def normed_merging():
    layer = PatchMerging(6, nn.LayerNorm(24))
    nn.init.normal_(layer.norm.weight)
    nn.init.normal_(layer.norm.bias)
    return layer


MERGING, NORM = normed_merging(), nn.LayerNorm(6)
LAYERS = {
    'norm of tokens': lambda tokens: norm_tokens(tokens.clone(), NORM),
    'norm of a map': lambda tokens: norm_to_nchw(tokens, NORM, 2, 90, 71),
    'merging': lambda tokens: MERGING(tokens, 2, 90, 71),
    'merging without a norm': lambda tokens: PatchMerging.forward(bare(MERGING), tokens, 2, 90, 71),
    'importance': token_importance,
}


def bare(merging):
    """The same without its norm."""
    twin = PatchMerging(6, None)
    twin.load_state_dict(merging.state_dict(), strict=False)
    return twin


@pytest.mark.parametrize('layer', LAYERS.values(), ids=LAYERS)
def test_chunks_make_the_whole(layer, monkeypatch):
    tokens = torch.randn(2 * 90 * 71, 6)
    whole = layer(tokens.clone().requires_grad_())
    monkeypatch.setattr('sparsevit_mm.models.swin._MERGED_BYTES', 2**14)
    before = tokens.clone()
    with torch.no_grad():
        torch.testing.assert_close(layer(tokens), whole.detach())
    assert torch.equal(tokens, before)


def test_chunks_are_as_large_as_asked_for_and_never_empty():
    assert [len(chunk) for chunk in chunks(torch.zeros(10, 8), 4 * 32)] == [4, 4, 2]
    assert [len(chunk) for chunk in chunks(torch.zeros(3, 8), 1)] == [1, 1, 1]
