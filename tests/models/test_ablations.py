"""Ablations differ from SparseViT in the one choice they undo."""

from __future__ import annotations

import pytest
import torch

from sparsevit_mm.errors import ConfigError
from sparsevit_mm.models import AblatedSparseViT, SparseViT
from sparsevit_mm.ops.attention import edge_masks, relative_position_bias
from sparsevit_mm.ops.windows import WindowGrid, Windows, index_maps

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
    backbone.window_observer = lambda selection: kept.append(selection.windows.kept)
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


@pytest.mark.parametrize('argument', ['importance', 'skipped', 'granularity'])
def test_refuses_unknown_choices(argument):
    with pytest.raises(ConfigError, match=f"{argument} is 'other'"):
        build(**{argument: 'other'})


class TestTokens:
    @torch.no_grad()
    def test_at_ratio_0_it_is_swin(self, images):
        tokens, windows = build(granularity='tokens'), build(SparseViT)
        tokens.pruning_schedule = windows.pruning_schedule = 0
        for ours, theirs in zip(tokens(images), windows(images)):
            torch.testing.assert_close(ours, theirs)

    @torch.no_grad()
    @pytest.mark.parametrize('shift', [0, 3], ids=['plain', 'shifted'])
    @pytest.mark.parametrize('side', [28, 25], ids=['even', 'padded'])
    def test_kept_tokens_attend_to_each_other_alone(self, shift, side):
        """Against a loop over windows that computes the kept tokens and nothing else."""
        backbone = build(granularity='tokens')
        stage = backbone.stages[0]
        block = stage.blocks[1 if shift else 0]
        stage.blocks = torch.nn.ModuleList([block])
        tokens = torch.randn(side * side, 16)
        out = backbone.compute_stage(stage, tokens.clone(), 1, side, side)

        size, attention = backbone.arch.window_size, block.attn['w_msa']
        kept = torch.zeros(side * side, dtype=torch.bool)
        kept[tokens.abs().sum(1).argsort(descending=True)[: side * side // 2]] = True
        expected = tokens.clone()
        grid = WindowGrid(side, side, size, shift)
        maps = index_maps(grid, torch.device('cpu'))
        index, padding = maps.token_index, maps.padding
        padding = torch.zeros_like(index, dtype=torch.bool) if padding is None else padding
        bias = relative_position_bias(attention.relative_position_bias_table, size)
        masks = edge_masks(Windows.locate(grid, 1, None, torch.device('cpu')))
        for number, (rows, pads) in enumerate(zip(index, padding)):
            seen = (kept[rows] | pads).nonzero().flatten()
            normed = block.norm1(tokens[rows[seen]])
            normed[pads[seen]] = 0
            query, key, value = attention.qkv(normed).view(len(seen), 3, 2, 8).permute(1, 2, 0, 3)
            scores = query @ key.mT / 8**0.5 + bias[:, seen][:, :, seen]
            if shift:
                mask = masks.values[masks.ids[number]]
                scores = scores + mask[seen][:, seen]
            mixed = (scores.softmax(-1) @ value).transpose(0, 1).reshape(len(seen), 16)
            x = tokens[rows[seen]] + attention.proj(mixed)
            x = x + block.ffn['layers'](block.norm2(x))
            real = ~pads[seen]
            expected[rows[seen][real]] = x[real]
        torch.testing.assert_close(out, expected)

    @torch.no_grad()
    def test_skips_as_large_a_share_of_tokens_and_copies_or_zeroes_them(self):
        tokens = torch.randn(2 * 28 * 28, 16)
        for skipped in ('copied', 'zeroed'):
            backbone = build(granularity='tokens', skipped=skipped)
            out = backbone.compute_stage(backbone.stages[0], tokens.clone(), 2, 28, 28)
            left = (out == (tokens if skipped == 'copied' else 0)).all(1)
            assert (left.view(2, -1).sum(1) == 28 * 28 // 2).all()

    def test_trains(self, images):
        """Also where a window keeps no token at all."""
        backbone = build(granularity='tokens').train()
        backbone.pruning_schedule = 0.9
        sum(level.square().mean() for level in backbone(images)).backward()
        gradients = [p.grad for p in backbone.parameters() if p.grad is not None]
        assert gradients and all(torch.isfinite(gradient).all() for gradient in gradients)

    @torch.no_grad()
    def test_random_tokens_are_others(self, images):
        largest, drawn = (
            build(granularity='tokens'),
            build(granularity='tokens', importance='random'),
        )
        assert not torch.equal(largest(images)[0], drawn(images)[0])
