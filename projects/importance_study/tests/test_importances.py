"""The importances on trial against plain formulas."""

from __future__ import annotations

import pytest
import torch

from projects.importance_study import importances  # noqa: F401 -- registers them
from projects.importance_study.importances import ChangeImportance
from sparsevit_mm import SparseViT
from sparsevit_mm.ops.windows import WindowGrid
from sparsevit_mm.pruning.importance import build_importance

GRID = WindowGrid(4, 6, 2)


def scores(importance, tokens, batch=2):
    return importance.score(importance.summarize(tokens), GRID, batch)


def cut(maps):
    """(B, H, W, C) to (B, windows, tokens, C)."""
    batch, _, _, channels = maps.shape
    split = maps.view(batch, 2, 2, 3, 2, channels).transpose(2, 3)
    return split.reshape(batch, 6, 4, channels)


@pytest.fixture
def maps():
    return torch.randn(2, 4, 6, 8)


def test_image_is_the_deviation_from_the_mean_token_of_the_image(maps):
    deviation = (maps - maps.mean((1, 2), keepdim=True)).abs().mean(-1, keepdim=True)
    expected = cut(deviation).squeeze(-1).norm(dim=-1)
    found = scores(build_importance('image'), maps.view(-1, 8))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize('name', ['l2', 'contrast'])
def test_norm_takes_scale_and_offset_of_every_token_away(maps, name):
    changed = maps * (torch.rand(2, 4, 6, 1) + 0.5) + torch.randn(2, 4, 6, 1)
    normed = build_importance(f'{name}-norm')
    expected = scores(normed, maps.view(-1, 8))
    torch.testing.assert_close(scores(normed, changed.view(-1, 8)), expected, rtol=1e-3, atol=1e-3)
    plain = build_importance(name)
    assert not torch.allclose(scores(plain, maps.view(-1, 8)), expected, rtol=0.01)


def test_by_stage_is_one_importance_for_few_channels_and_another_for_more(maps):
    mixed = build_importance(dict(type='by-stage', early='peak', late='l2', most_channels=4))
    for channels, name in ((4, 'peak'), (8, 'l2')):
        tokens = maps[..., :channels].reshape(-1, channels)
        expected = scores(build_importance(name), tokens)
        torch.testing.assert_close(scores(mixed, tokens), expected)


@torch.no_grad()
def test_change_is_what_the_blocks_of_the_stage_do_to_the_tokens():
    net = SparseViT(
        embed_dims=8, depths=(2, 2), num_heads=(1, 1), window_size=2, out_indices=(0, 1),
        strides=(4, 2), drop_path_rate=0.0,
    ).eval()  # fmt: skip
    importance = ChangeImportance()
    importance.backbone = net
    tokens = torch.randn(2 * 4 * 6, 8)
    expected = net.compute_stage(net.stages[0], tokens.clone(), 2, 4, 6) - tokens
    found = scores(importance, tokens)
    want = cut(expected.abs().mean(-1).view(2, 4, 6, 1)).squeeze(-1).norm(dim=-1)
    torch.testing.assert_close(found, want)
