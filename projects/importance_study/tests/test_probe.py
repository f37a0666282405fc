"""The learned importance: what it learns, from which labels, and that weights keep it."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import nn

from projects.importance_study.probe import ProbeLabelsHook
from sparsevit_mm import SparseViT
from sparsevit_mm.ops.windows import WindowGrid
from sparsevit_mm.pruning.importance import build_importance

GRID = WindowGrid(5, 6, 2)  # 3 x 3 windows, the last row half padding


def scene():
    """Tokens of two images of 20 x 24 pixels, and their objects: two tokens have channels turned
    around, which neither their magnitude nor their deviation tells from the others' noise."""
    background = torch.tensor([1.0, -1.0, 0.5, -0.5])
    tokens = background + 0.3 * torch.randn(2, 5, 6, 4)
    tokens[0, 1, 4] = -background
    tokens[1, 4, 0] = -background
    objects = torch.zeros(2, 20, 24, dtype=torch.bool)
    objects[0, 4:8, 16:20] = True
    objects[1, 16:20, 0:4] = True
    return tokens.view(-1, 4), objects


def trained(times=3):
    importance = build_importance('probe')
    for _ in range(times):
        tokens, importance.objects = scene()
        importance.score(importance.summarize(tokens), GRID, 2)
    return importance.eval()


def test_windows_with_objects_have_the_highest_scores():
    importance = trained()
    tokens, _ = scene()
    scores = importance.score(importance.summarize(tokens), GRID, 2)
    assert scores.shape == (2, 9)
    assert scores.argmax(1).tolist() == [2, 6]


def test_the_probe_is_the_weighted_least_squares_fit():
    importance = build_importance('probe')
    tokens, importance.objects = scene()
    summary = importance.summarize(tokens)
    importance.score(summary, GRID, 2)
    wanted = torch.full((60, 1), -1.0)
    wanted[[10, 54]] = 1.0
    weights = torch.where(wanted > 0, 1 / 2, 1 / 58).sqrt()
    fit = torch.linalg.lstsq(weights * summary, weights * wanted).solution
    found = importance._probe(5)
    torch.testing.assert_close(summary @ found, (summary @ fit)[:, 0], rtol=0.02, atol=0.02)


def test_nothing_is_learned_in_evaluation():
    importance = trained()
    before = importance.moments_4.clone()
    tokens, importance.objects = scene()
    importance.score(importance.summarize(tokens), GRID, 2)
    assert torch.equal(importance.moments_4, before)


def test_it_is_saved_with_the_weights_of_the_network():
    def network():
        return SparseViT(
            embed_dims=8, depths=(2, 2), num_heads=(1, 1), window_size=2, out_indices=(0, 1),
            strides=(4, 2), drop_path_rate=0.0, importance='probe', pruning_ratios=0.5,
        )  # fmt: skip

    learned, fresh = network(), network()
    learned.importance.objects = torch.zeros(2, 32, 32, dtype=torch.bool)
    learned.importance.objects[:, 4:9, 4:9] = True
    images = torch.randn(2, 3, 32, 32)
    learned(images)
    fresh.load_state_dict(learned.state_dict())
    for out, expected in zip(fresh.eval()(images), learned.eval()(images)):
        torch.testing.assert_close(out, expected)
    assert fresh.importance.moments_8.any() and fresh.importance.moments_16.any()


def test_the_hook_pads_labels_as_images_are_padded():
    backbone = SparseViT(embed_dims=8, depths=(2,), num_heads=(1,), strides=(4,), out_indices=(0,),
                         importance='probe')  # fmt: skip
    model = nn.Module()
    model.backbone = backbone
    model.data_preprocessor = SimpleNamespace(pad_size_divisor=32)
    samples = [DetDataSample(gt_instances=InstanceData(bboxes=boxes)) for boxes in (
        torch.tensor([[2.5, 3.0, 5.0, 9.2]]), torch.zeros(0, 4))]  # fmt: skip
    images = [torch.zeros(3, 40, 33), torch.zeros(3, 30, 50)]
    dataset = SimpleNamespace(metainfo={'classes': ('car',)})
    runner = SimpleNamespace(model=model, train_dataloader=SimpleNamespace(dataset=dataset))
    ProbeLabelsHook().before_train_iter(runner, 0, {'inputs': images, 'data_samples': samples})
    expected = torch.zeros(2, 64, 64, dtype=torch.bool)
    expected[0, 3:10, 2:5] = True
    assert torch.equal(backbone.importance.objects, expected)
