"""Shares of computed pixels against a count pixel by pixel."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from projects.importance_study.object_share import computed_pixels, object_pixels, shares
from sparsevit_mm import SparseViT
from sparsevit_mm.visualization.kept_windows import record_kept_windows


def test_shares_are_those_of_a_count_pixel_by_pixel():
    """Windows of 2 tokens of 4 pixels; the image is half as large as the original."""
    net = SparseViT(
        embed_dims=8, depths=(2, 1), num_heads=(1, 1), window_size=2, out_indices=(0, 1),
        pruning_ratios=[[0.5], [0.75]], strides=(4, 2),
    ).eval()  # fmt: skip
    with record_kept_windows(net) as record, torch.no_grad():
        net(torch.rand(1, 3, 32, 48))
    (selections,) = record.passes
    objects = np.zeros((64, 96), dtype=bool)
    objects[10:30, 5:70] = True
    found = shares(computed_pixels(selections, objects, 0.5 / 4), net.arch.depths)

    kept = {(0, 0): [], (0, 1): [], (1, 0): []}
    for selection in selections:
        grid, blocks = selection.grid, set(selection.kept_in(0).tolist())
        for y in range(64):
            for x in range(96):
                row, col = (int(place * 0.5 / 4 / 2**selection.stage) for place in (y, x))
                row, col = (
                    (row - grid.shift) % (grid.rows * 2),
                    (col - grid.shift) % (grid.cols * 2),
                )
                window = row // 2 * grid.cols + col // 2
                kept[selection.stage, selection.block].append(window in blocks)
    by_block = {key: np.array(values).reshape(64, 96) for key, values in kept.items()}
    for name, where in (('objects', objects), ('pixels', np.ones_like(objects))):
        of = {key: computed[where].mean() for key, computed in by_block.items()}
        stages = [(of[0, 0] + of[0, 1]) / 2, of[1, 0]]
        assert found[name]['stages'] == pytest.approx(stages, abs=1e-4)
        assert found[name]['overall'] == pytest.approx(np.mean(list(of.values())), abs=1e-4)


def test_objects_are_inside_boxes_or_of_small_classes():
    boxes = InstanceData(bboxes=torch.tensor([[2.0, 1.0, 4.0, 3.0], [-2.0, 5.0, 1.0, 20.0]]))
    mask = object_pixels(SimpleNamespace(ori_shape=(8, 8), gt_instances=boxes), None)
    assert mask.sum() == 9 + 2 * 3 and mask[1:4, 2:5].all() and mask[5:, :2].all()
    labels = torch.tensor([[[0, 3], [255, 7]]])
    sample = SimpleNamespace(gt_sem_seg=SimpleNamespace(data=labels))
    assert object_pixels(sample, (3, 7)).tolist() == [[False, True], [False, True]]
