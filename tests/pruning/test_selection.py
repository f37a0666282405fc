"""Window scores and the prefixes that blocks take of one ranking."""

from __future__ import annotations

import torch

from sparsevit_mm.ops.windows import WindowGrid
from sparsevit_mm.pruning.importance import L2Importance, token_importance, window_scores
from sparsevit_mm.pruning.selection import WindowRanking


def test_token_importance_is_the_mean_magnitude():
    tokens = torch.tensor([[1.0, -3.0], [0.0, 0.5]])
    assert torch.equal(token_importance(tokens), torch.tensor([2.0, 0.25]))
    assert token_importance(tokens.half()).dtype == torch.float32
    assert token_importance(tokens.double()).dtype == torch.float64


def test_window_scores_are_l2_norms_without_padding():
    importance = torch.tensor([[3.0, 4.0, 12.0, 0.0, 0.0, 5.0]])
    assert torch.equal(window_scores(importance, WindowGrid(2, 3, 2)), torch.tensor([[5.0, 13.0]]))


def test_scores_are_made_once_and_prefixes_are_nested():
    grid = WindowGrid(8, 8, 2)
    ranking = WindowRanking(L2Importance(), batch_size=2)
    tokens = torch.rand(2 * 64, 3)
    assert ranking.select(tokens, grid, 0.0) is None
    first = ranking.select(tokens, grid, 0.25)
    later = ranking.select(torch.rand(2 * 64, 3), grid, 0.5)
    assert first.shape == (2 * 12,)
    assert torch.equal(later.view(2, 8), first.view(2, 12)[:, :8])
    assert torch.equal(first.view(2, 12) // 16, torch.tensor([[0], [1]]).expand(2, 12))


def test_shifted_grid_ranks_the_same_tokens_anew():
    plain, shifted = WindowGrid(4, 4, 2), WindowGrid(4, 4, 2, 1)
    tokens = torch.zeros(16, 1)
    tokens[5] = 1.0  # row 1, column 1: plain window 0, and window 0 of the grid shifted by 1
    tokens[15] = 2.0  # row 3, column 3: plain window 3, shifted window 3
    ranking = WindowRanking(L2Importance(), batch_size=1)
    assert ranking.select(tokens, plain, 0.5).tolist() == [3, 0]
    assert ranking.select(tokens.zero_(), shifted, 0.5).tolist() == [3, 0]


def test_ties_keep_the_order_of_the_grid():
    kept = WindowRanking(L2Importance(), 3).select(torch.ones(3 * 64, 2), WindowGrid(8, 8, 2), 0.75)
    assert kept.tolist() == [0, 1, 2, 3, 16, 17, 18, 19, 32, 33, 34, 35]
