"""The learned importance: what it learns, who keeps it, and that it survives every copy."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from mmengine.logging import MMLogger

from sparsevit_mm import FasterViT, SparseViT
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.ops.windows import WindowGrid
from sparsevit_mm.pruning.allocation import build_allocation
from sparsevit_mm.pruning.importance import build_importance
from sparsevit_mm.pruning.learned_importance import LinearProbes
from sparsevit_mm.pruning.prunable import check_learned, find_prunable_backbone
from sparsevit_mm.pruning.schedule import PruningSchedule

GRID = WindowGrid(5, 6, 2)  # 3 x 3 windows, those of the last row half padding
SMALL = dict(embed_dims=8, depths=(2, 2), num_heads=(1, 1), window_size=2, out_indices=(0, 1),
             strides=(4, 2), drop_path_rate=0.0, pruning_ratios=0.5)  # fmt: skip


def importance_of_four_channels():
    importance = build_importance('learned')
    importance.state = LinearProbes({4: 4})
    return importance


def scene():
    """Tokens of two images of 20 x 24 pixels, and their objects: channels of two tokens are turned
    around, which neither their magnitude nor their deviation tells from the others' noise."""
    background = torch.tensor([1.0, -1.0, 0.5, -0.5])
    tokens = background + 0.3 * torch.randn(2, 5, 6, 4)
    tokens[0, 1, 4] = -background
    tokens[1, 4, 0] = -background
    objects = torch.zeros(2, 20, 24, dtype=torch.bool)
    objects[0, 4:8, 16:20] = True
    objects[1, 16:20, 0:4] = True
    return tokens.view(-1, 4), objects


def test_windows_with_objects_have_the_highest_scores():
    importance = importance_of_four_channels()
    for _ in range(3):
        tokens, importance.objects = scene()
        importance.score(importance.summarize(tokens), GRID, 2)
    importance.state.eval()
    tokens, _ = scene()
    scores = importance.score(importance.summarize(tokens), GRID, 2)
    assert scores.shape == (2, 9)
    assert scores.argmax(1).tolist() == [2, 6]
    before = deepcopy(importance.state.state_dict())
    importance.score(importance.summarize(scene()[0]), GRID, 2)
    for name, value in importance.state.state_dict().items():
        assert torch.equal(value, before[name]), 'nothing is learned in evaluation'


def test_the_probe_is_the_weighted_least_squares_fit():
    importance = importance_of_four_channels()
    tokens, importance.objects = scene()
    # Padding on the right and below may be missing, as a batch does not know it.
    importance.objects = importance.objects[:, :20, :21]
    summary = importance.summarize(tokens)
    scores = importance.score(summary, GRID, 2)
    wanted = torch.full((60, 1), -1.0)
    wanted[[10, 54]] = 1.0
    weights = torch.where(wanted > 0, 1 / 2, 1 / 58).sqrt()
    fit = torch.linalg.lstsq(weights * summary, weights * wanted).solution
    torch.testing.assert_close(
        importance.state(summary), (summary @ fit)[:, 0], rtol=0.02, atol=0.02
    )
    values = importance.state(summary).view(2, 5, 6)
    assert float(scores[0, 0]) == float(values[0, :2, :2].max())
    assert float(scores[1, 8]) == float(values[1, 4:, 4:].max()), 'padding takes no part'


def learned(net, size=32):
    """The network after one training step, in evaluation."""
    net.importance.objects = torch.zeros(2, size, size, dtype=torch.bool)
    net.importance.objects[:, 4:9, 4:9] = True
    net.train()(torch.randn(2, 3, size, size))
    return net.eval()


def outputs(net, size=32):
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return net(images)


def test_weights_hold_what_was_learned():
    net = learned(SparseViT(**SMALL, importance='learned'))
    assert {name for name in net.state_dict() if 'importance' in name} == {
        f'importance_state.{kind}_{channels}' for kind in ('weight', 'moments')
        for channels in (8, 16)
    }  # fmt: skip
    other = SparseViT(**SMALL, importance='learned')
    other.load_state_dict(net.state_dict())
    assert other.importance_state.has_learned
    for found, expected in zip(outputs(other.eval()), outputs(net)):
        assert torch.equal(found, expected)
    assert not any(parameter.grad is not None for parameter in net.importance_state.parameters())


@pytest.mark.parametrize('how', ['by a schedule', 'by name', 'copied', 'for a while'])
def test_what_was_learned_outlives_a_change(how):
    net = learned(SparseViT(**SMALL, importance='learned'))
    expected = outputs(net)
    if how == 'by a schedule':
        net.pruning_schedule = PruningSchedule(((0.5, 0.5), (0.5, 0.5)), importance='learned')
    elif how == 'by name':
        net.importance = 'learned'
    elif how == 'copied':
        net = deepcopy(net)
        assert net.importance.state is net.importance_state
    else:
        net.importance = 'contrast'
        assert not torch.equal(outputs(net)[1], expected[1])
        net.importance = 'learned'
    for found, wanted in zip(outputs(net), expected):
        assert torch.equal(found, wanted)


def test_half_precision_leaves_it_alone():
    net = learned(SparseViT(**SMALL, importance='learned'))
    before = deepcopy(net.importance_state.state_dict())
    net.to(torch.bfloat16)
    for name, value in net.importance_state.state_dict().items():
        assert torch.equal(value, before[name])
        assert value.dtype == torch.float32
    images = torch.randn(1, 3, 32, 32, dtype=torch.bfloat16)
    with torch.no_grad():
        assert net(images)[0].isfinite().all()


def test_twins_learn_apart():
    nets = [SparseViT(**SMALL) for _ in range(2)]
    twins = find_prunable_backbone(torch.nn.ModuleList(nets))
    twins.importance = build_importance('learned')
    first, second = (net.importance_state for net in nets)
    assert first is not second
    learned(nets[0])
    assert (first.has_learned, second.has_learned) == (True, False)


def test_every_stage_with_windows_of_a_fastervit_has_a_probe():
    net = FasterViT(
        dim=8, depths=(1, 1, 2, 2), num_heads=(1, 1, 2, 2), window_size=(7, 7, 7, 7),
        ct_size=2, importance='learned', pruning_ratios=[[0], [0], [0.5, 0.5], [0.5, 0.5]],
        drop_path_rate=0.0,
    )  # fmt: skip
    assert set(net.importance_state.sides.items()) == {(32, 16), (64, 32)}
    learned(net, 224)
    assert all(bool(buffer.any()) for buffer in net.importance_state.buffers())


def test_tokens_are_as_large_as_the_arch_says():
    arch = replace(SparseViT('tiny').arch, patch_size=2)
    assert build_importance('learned').new_state(arch).sides == {96: 2, 192: 4, 384: 8, 768: 16}


def test_it_warns_once_while_nothing_was_learned(capsys):
    MMLogger.get_instance('warns')  # writes to this test's output, and is the current one now
    net = SparseViT(**SMALL, importance='learned').eval()
    outputs(net), outputs(net)
    assert capsys.readouterr().out.count('nothing was learned yet') == 1


def test_a_forward_that_is_computed_again_learns_nothing_new():
    """As with activation checkpointing, whose second forward must keep the same windows."""
    net = SparseViT(**SMALL, importance='learned').train()
    net.importance.objects = torch.zeros(1, 32, 32, dtype=torch.bool)
    net.importance.objects[:, 4:9, 4:9] = True
    images = torch.randn(1, 3, 32, 32)
    first = net(images)
    before = deepcopy(net.importance_state.state_dict())
    for again, expected in zip(net(images), first):
        assert torch.equal(again, expected)
    for name, value in net.importance_state.state_dict().items():
        assert torch.equal(value, before[name])
    net.importance.objects = net.importance.objects.clone()  # those of the next batch
    net(images)
    assert not torch.equal(net.importance_state.moments_8, before['moments_8'])


def test_what_is_not_finite_is_not_learned():
    net = learned(SparseViT(**SMALL, importance='learned')).train()
    before = deepcopy(net.importance_state.state_dict())
    net.importance.objects = torch.ones(1, 32, 32, dtype=torch.bool)
    net(torch.full((1, 3, 32, 32), torch.inf))
    for name, value in net.importance_state.state_dict().items():
        assert torch.equal(value, before[name])


def test_images_that_share_windows_compare_what_the_probes_say():
    """Ten windows with objects in one image, none in the other, of which it is unsure."""
    sure, unsure = torch.full((20,), -1.0), torch.linspace(-0.15, 0.15, 20)
    sure[3:13] = 0.9
    scores = torch.stack([sure, unsure])
    shared = build_allocation('batch')
    kept = shared.rank(scores, 5, is_comparable=True)[0, :10]
    assert sorted(kept.tolist()) == [*range(3, 12), 39], 'one window of every image, at least'
    assert int((shared.rank(scores, 5)[0, :10] < 20).sum()) < 6, 'else what stands out counts'


def test_backbones_without_it_load_the_weights_and_the_other_way_round(tmp_path):
    path = tmp_path / 'weights.pth'
    for saved, loading in (('learned', 'l2'), ('l2', 'learned')):
        sizes = {**SMALL, 'strides': (4, 2)}
        torch.save(SparseViT(**sizes, importance=saved).state_dict(), path)
        net = SparseViT(
            **sizes, importance=loading, init_cfg=dict(type='Pretrained', checkpoint=str(path))
        )
        net.init_weights()
        expected = torch.load(path, weights_only=True)['patch_embed.projection.weight']
        assert torch.equal(net.patch_embed.projection.weight, expected)


def test_weights_that_learned_nothing_are_refused_by_name():
    net = SparseViT(**SMALL, importance='learned')
    check_learned(net, ['contrast', None])
    with pytest.raises(ConfigError, match="importance is 'learned', but these weights have"):
        check_learned(net, ['contrast', 'learned'])
    check_learned(learned(net), ['learned'])
    with pytest.raises(ConfigError, match="importance is 'learned', but these weights have"):
        check_learned(SparseViT(**SMALL), ['learned'])
