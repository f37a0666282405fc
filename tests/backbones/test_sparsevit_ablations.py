"""Ablations differ from SparseViT in the one choice they undo."""

from __future__ import annotations

import pytest
import torch

from sparsevit_mm.backbones import AblatedSparseViT, SparseViT
from sparsevit_mm.errors import ConfigError

TINY = dict(embed_dims=16, depths=(2, 2), num_heads=(2, 2), out_indices=(0, 1))
RATIOS = [[0.5], [0.5]]


def build(cls=AblatedSparseViT, **arguments):
    torch.manual_seed(0)
    backbone = cls(**TINY, pruning_ratios=RATIOS, **arguments).eval()
    backbone.init_weights()
    return backbone


@pytest.fixture
def images():
    return torch.randn(2, 3, 112, 112, generator=torch.Generator().manual_seed(0))


def kept_windows(backbone, images):
    kept = []
    backbone.window_observer = lambda selection: kept.append(selection.kept)
    backbone(images)
    return kept


@torch.no_grad()
def test_with_the_papers_choices_it_is_sparsevit(images):
    for ours, theirs in zip(build()(images), build(SparseViT)(images)):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


@torch.no_grad()
def test_zeroed_windows_hold_nothing(images):
    backbone = build(skipped='zeroed')
    tokens = torch.randn(2 * 28 * 28, 16)
    out = backbone.compute_stage(backbone.stages[0], tokens.clone(), 2, 28, 28)
    # At least what the last, shifted block skipped; what was empty before it may stay so.
    assert ((out == 0).all(1).view(2, -1).sum(1) >= 28 * 28 // 2).all()
    copied = build().compute_stage(backbone.stages[0], tokens.clone(), 2, 28, 28)
    assert not (copied == 0).all(1).any()


@torch.no_grad()
def test_random_ranking_changes_with_the_seed_and_keeps_as_many(images):
    backbone = build(importance='random')
    torch.manual_seed(1)
    first = kept_windows(backbone, images)
    again = kept_windows(backbone, images)
    torch.manual_seed(1)
    same = kept_windows(backbone, images)
    assert [k.shape for k in first] == [k.shape for k in kept_windows(build(), images)]
    assert any(not torch.equal(a, b) for a, b in zip(first, again))
    assert all(torch.equal(a, b) for a, b in zip(first, same))


@pytest.mark.parametrize('argument', ['importance', 'skipped'])
def test_refuses_unknown_choices(argument):
    with pytest.raises(ConfigError, match=f"{argument} is 'other'"):
        build(**{argument: 'other'})
