"""Scores of windows against their definitions, written out."""

from __future__ import annotations

import pytest
import torch

from sparsevit_mm import SparseViT
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.ops.windows import WindowGrid, index_maps
from sparsevit_mm.pruning import importance as module
from sparsevit_mm.pruning.importance import IMPORTANCES, Importance, build_importance
from sparsevit_mm.pruning.prunable import find_prunable_backbone
from sparsevit_mm.pruning.schedule import PruningSchedule

CPU = torch.device('cpu')
GRIDS = [
    WindowGrid(8, 12, 4),
    WindowGrid(9, 14, 4),
    WindowGrid(9, 14, 4, 2),
    WindowGrid(3, 2, 4, 2),
]


def defined(name, tokens, grid):
    """Window by window, from real tokens alone."""
    maps = index_maps(grid, CPU)
    scores = []
    for window, rows in enumerate(maps.token_index):
        if maps.padding is not None:
            rows = rows[~maps.padding[window]]
        own = tokens[rows]
        deviations = (own - own.mean(0)).abs().mean(1)
        scores.append(
            {
                'l2': own.abs().mean(1).norm(),
                'contrast': deviations.norm(),
                'peak': deviations.max(),
            }[name]
        )
    return torch.stack(scores)


@pytest.mark.parametrize('grid', GRIDS, ids=str)
@pytest.mark.parametrize('name', ['l2', 'contrast', 'peak'])
@pytest.mark.parametrize('num_bytes', [1, 2**20])
def test_scores_are_as_defined(name, grid, num_bytes, monkeypatch):
    monkeypatch.setattr(module, '_WINDOWS_BYTES', num_bytes)
    tokens = torch.randn(2, grid.height * grid.width, 6) + 1
    importance = build_importance(name)
    with torch.no_grad():
        flat = tokens.clone().flatten(0, 1)
        summary = importance.summarize(flat)
        flat.zero_()  # as blocks do, which change the map in place
        found = importance.score(summary, grid, 2)
    expected = torch.stack([defined(name, image, grid) for image in tokens])
    torch.testing.assert_close(found, expected)


def test_contrast_ranks_a_small_object_above_bright_ground():
    """Ground twice as bright as everything else, and one dark spot elsewhere."""
    grid = WindowGrid(8, 8, 4)
    tokens = torch.full((8, 8, 3), 1.0)
    tokens[:4, :4] = 2.0
    tokens[5, 6] = 0.2
    scores = {}
    for name in ('l2', 'contrast', 'peak'):
        importance = build_importance(name)
        scores[name] = importance.score(importance.summarize(tokens.view(64, 3)), grid, 1)
    assert scores['l2'].argmax() == 0
    assert scores['contrast'].argmax() == scores['peak'].argmax() == 3


@pytest.mark.parametrize('name', ['l2', 'contrast', 'peak', 'random'])
def test_backbones_take_it_keep_as_many_and_train(name):
    net = SparseViT(
        embed_dims=8,
        depths=(2, 2),
        num_heads=(1, 2),
        out_indices=(0, 1),
        pruning_ratios=0.5,
        importance=name,
    )
    kept = []
    net.window_observer = lambda selection: kept.append(selection.num_kept)
    sum(output.square().mean() for output in net(torch.randn(2, 3, 100, 140))).backward()
    assert kept == [10, 10, 3, 3]
    assert all(parameter.grad is not None for parameter in net.parameters())


@pytest.mark.parametrize('name', ['contrast', 'peak'])
def test_an_image_is_ranked_alike_in_any_batch(name):
    net = SparseViT(
        embed_dims=8, depths=(2,), num_heads=(1,), out_indices=(0,), pruning_ratios=0.6,
        importance=name,
    ).eval()  # fmt: skip
    images = torch.randn(3, 3, 90, 110)
    with torch.no_grad():
        (together,), (alone,) = net(images), net(images[1:2])
    torch.testing.assert_close(together[1:2], alone, rtol=1e-5, atol=1e-5)


def test_an_importance_of_ones_own():
    @IMPORTANCES.register_module(name='left first')
    class LeftFirst(Importance):
        def __init__(self, factor):
            self.factor = factor

        def summarize(self, tokens):
            return tokens[:, :0]

        def score(self, summary, grid, batch_size):
            return -self.factor * (torch.arange(grid.num_windows) % grid.cols).expand(
                batch_size, -1
            )

    try:
        net = SparseViT(
            embed_dims=8, depths=(1,), num_heads=(1,), out_indices=(0,), pruning_ratios=0.5,
            importance=dict(type='left first', factor=2.0),
        )  # fmt: skip
        seen = []
        net.window_observer = seen.append
        net(torch.randn(1, 3, 112, 112))
        assert sorted(seen[0].kept_in(0).tolist()) == [0, 1, 4, 5, 8, 9, 12, 13]
    finally:
        IMPORTANCES.module_dict.pop('left first')


@pytest.mark.parametrize('wrong', ['largest', 3, dict(factor=1), None])
def test_unknown_names_are_one_sentence(wrong):
    known = ', '.join(sorted(IMPORTANCES.module_dict))
    with pytest.raises(ConfigError, match=rf'importance is .*one of {known}\.'):
        SparseViT(importance=wrong)


def test_a_schedule_sets_the_importance_it_names():
    net = SparseViT(
        embed_dims=8, depths=(1,), num_heads=(1,), out_indices=(0,), importance='contrast'
    )
    schedule = PruningSchedule(((0.5,),), importance='peak')
    for assigned, expected in ((0.5, 'contrast'), (schedule, 'peak'), ([[0.2]], 'peak')):
        net.pruning_schedule = assigned
        seen = []
        net.window_observer = seen.append
        net(torch.randn(1, 3, 112, 112))
        assert net.importance.name == seen[0].importance == expected


def test_twins_rank_by_the_same():
    networks = [
        SparseViT(embed_dims=8, depths=(1,), num_heads=(1,), out_indices=(0,)) for _ in range(2)
    ]
    twins = find_prunable_backbone(torch.nn.ModuleList(networks))
    twins.importance = 'contrast'
    assert [network.importance.name for network in networks] == ['contrast'] * 2
    twins.pruning_schedule = PruningSchedule(((0.5,),), importance='peak')
    assert [network.importance.name for network in networks] == ['peak'] * 2
    assert twins.importance.name == 'peak'


def test_with_arguments_an_importance_has_no_name():
    assert build_importance('peak').name == 'peak'
    assert build_importance(dict(type='peak')).name == 'peak'

    @IMPORTANCES.register_module(name='scaled')
    class Scaled(Importance):
        def __init__(self, factor=1.0):
            self.factor = factor

        def summarize(self, tokens):
            return tokens

        def score(self, summary, grid, batch_size):
            raise NotImplementedError

    try:
        assert build_importance(dict(type='scaled', factor=2.0)).name is None
        assert PruningSchedule(((0.5,),), importance='scaled').importance == 'scaled'
    finally:
        IMPORTANCES.module_dict.pop('scaled')
