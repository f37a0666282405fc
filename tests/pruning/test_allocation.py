"""How images share budgets of windows: totals, nesting, fairness, groups."""

from __future__ import annotations

import pytest
import torch

from sparsevit_mm.errors import ConfigError
from sparsevit_mm.ops.windows import WindowGrid
from sparsevit_mm.pruning.allocation import Allocation, build_allocation
from sparsevit_mm.pruning.importance import L2Importance
from sparsevit_mm.pruning.selection import WindowRanking, num_kept_windows

GRID = WindowGrid(12, 10, 2)
RATIOS = (0.2, 0.5, 0.5, 0.8, 0.99)


def kept_of(tokens, allocation, batch, ratios=RATIOS):
    """For every ratio and image, its kept windows in the order of the ranking."""
    ranking = WindowRanking(L2Importance(), batch, build_allocation(allocation))
    kept = [ranking.select(tokens, GRID, ratio) for ratio in ratios]
    count = GRID.num_windows
    return [[(own[own // count == n] % count).tolist() for n in range(batch)] for own in kept]


def random_tokens(batch, seed=0):
    """Images of different brightness and with different shares of bright windows."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.rand(batch, GRID.height * GRID.width, 3, generator=generator) ** 3
    return (tokens * torch.arange(1, batch + 1)[:, None, None]).flatten(0, 1)


@pytest.mark.parametrize('allocation', ['image', 'batch', dict(type='batch', group_size=2)])
def test_totals_are_those_of_the_ratio_and_sets_are_nested(allocation):
    tokens = random_tokens(4)
    found, alone = kept_of(tokens, allocation, 4), kept_of(tokens, 'image', 4, [0.0001])[0]
    group = build_allocation(allocation).group_in(4)
    for ratio, images in zip(RATIOS, found):
        num_kept = num_kept_windows(GRID.num_windows, ratio)
        for first in range(0, 4, group):
            assert sum(map(len, images[first : first + group])) == group * num_kept
        for own, ranked in zip(images, alone):
            assert own  # no image is left out
            assert own == ranked[: len(own)]  # and in every image the best stay


def test_one_image_has_its_own_budget():
    tokens = random_tokens(1)
    assert kept_of(tokens, 'batch', 1) == kept_of(tokens, 'image', 1)


def test_an_image_of_its_own_budget_does_not_see_its_batch():
    tokens = random_tokens(3)
    together, alone = kept_of(tokens, 'image', 3), kept_of(tokens[120:240], 'image', 1)
    assert [images[1] for images in together] == [images[0] for images in alone]


def test_groups_do_not_see_each_other():
    tokens = random_tokens(6)
    grouped = kept_of(tokens, dict(type='batch', group_size=3), 6)
    for first in (0, 3):
        own = kept_of(tokens.view(6, -1)[first : first + 3].reshape(-1, 3), 'batch', 3)
        assert [images[first : first + 3] for images in grouped] == own


def test_an_image_with_more_to_see_gets_more():
    tokens = torch.full((2, 12, 10, 3), 0.1)
    tokens[0, :2, :2] = 1.0  # one window stands out
    tokens[1, :4] = 1.0  # ten of thirty do
    (images,) = kept_of(tokens.view(-1, 3), 'batch', 2, [0.79])
    assert [len(own) for own in images] == [2, 10]


def test_brightness_gives_no_image_an_advantage():
    tokens = random_tokens(3).view(3, -1, 3)
    brighter = tokens * torch.tensor([1.0, 32.0, 0.25])[:, None, None]
    assert kept_of(tokens.flatten(0, 1), 'batch', 3) == kept_of(brighter.flatten(0, 1), 'batch', 3)


@pytest.mark.parametrize('value', [0.0, 1.0])
def test_equal_images_share_evenly(value):
    tokens = torch.full((4 * GRID.height * GRID.width, 2), value)
    for images in kept_of(tokens, 'batch', 4):
        assert all(own == images[0] for own in images)


def test_scores_of_any_sign_keep_the_order_of_their_image():
    scores = torch.randn(3, 20)
    order = Allocation(None).rank(scores, 20).squeeze(0)
    for image in range(3):
        own = order[order // 20 == image] % 20
        assert own.tolist() == scores[image].argsort(descending=True).tolist()


def test_configs_and_back():
    for config in ('image', 'batch', dict(type='batch', group_size=6)):
        assert build_allocation(config).to_config() == config
    assert build_allocation(dict(type='batch')).to_config() == 'batch'


@pytest.mark.parametrize('wrong', ['frame', None, 3, ['batch'], dict(group_size=2)])
def test_unknown_allocations_are_one_sentence(wrong):
    with pytest.raises(ConfigError, match=r"allocation is .*must be 'image' or 'batch'\."):
        build_allocation(wrong)


@pytest.mark.parametrize(
    'wrong',
    [
        dict(type='batch', group_size=0),
        dict(type='batch', group_size=True),
        dict(type='image', group_size=2),
        dict(type='batch', size=2),
    ],
)
def test_other_arguments_are_one_sentence(wrong):
    with pytest.raises(ConfigError, match='takes only group_size'):
        build_allocation(wrong)


def test_a_batch_of_no_whole_groups_is_one_sentence():
    with pytest.raises(ConfigError, match='group_size of the allocation is 3, but a batch has 4'):
        kept_of(random_tokens(4), dict(type='batch', group_size=3), 4)


def test_a_smaller_batch_is_one_group():
    tokens = random_tokens(4)
    assert kept_of(tokens, dict(type='batch', group_size=6), 4) == kept_of(tokens, 'batch', 4)
