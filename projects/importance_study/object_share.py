"""Measures, while a network is tested, which share of objects' pixels it computes.

A pixel is computed by a block if the window that holds its token is kept. Objects' pixels lie in
the annotated boxes, or in detection's absence are those of the thin and small classes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from numpy.typing import NDArray

from sparsevit_mm.files import replace_text
from sparsevit_mm.profiling.macs import backbone_macs
from sparsevit_mm.pruning.prunable import find_prunable_backbone
from sparsevit_mm.pruning.selection import WindowSelection
from sparsevit_mm.visualization.kept_windows import KeptWindowsRecord, stage_use


@HOOKS.register_module()
class ObjectShareHook(Hook):
    """Writes, after a test, the shares of computed pixels and the backbone's mean MACs.

    Args:
        out: JSON file with `objects` and `pixels`, each with the share in every `stage` and
            `overall`, and `macs`.
        small_classes: Labels whose pixels are the objects'; None for those in boxes.
    """

    def __init__(self, out: str, small_classes: Sequence[int] | None = None) -> None:
        self.out = Path(out)
        self.small_classes = small_classes
        self._macs: list[int] = []
        self._sums: NDArray[np.float64] | float = 0.0

    def before_test(self, runner: Runner) -> None:
        """Starts to record."""
        self._record = KeptWindowsRecord()
        find_prunable_backbone(runner.model).window_observer = self._record

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Sequence[Any] | None = None,
    ) -> None:
        """Adds an image."""
        assert outputs is not None
        (selections,), self._record.passes = self._record.passes, []
        backbone, (sample,) = find_prunable_backbone(runner.model), outputs
        scale = sample.img_shape[0] / sample.ori_shape[0]
        objects = object_pixels(sample, self.small_classes)
        self._sums = self._sums + computed_pixels(
            selections, objects, scale / backbone.arch.patch_size
        )
        height, width = sample.get('batch_input_shape', sample.img_shape)[:2]
        macs = backbone_macs(backbone.arch, backbone.pruning_schedule, height, width)
        self._macs.append(macs.total)

    def after_test(self, runner: Runner) -> None:
        """Writes the file."""
        backbone = find_prunable_backbone(runner.model)
        backbone.window_observer = None
        found = {**shares(np.asarray(self._sums), backbone.arch.depths)}
        replace_text(self.out, json.dumps({**found, 'macs': round(np.mean(self._macs))}) + '\n')


def object_pixels(sample: Any, small_classes: Sequence[int] | None) -> NDArray[np.bool_]:
    """(H, W) which pixels of the original image are an object's.

    Args:
        sample: A data sample of MMDetection or MMSegmentation with its annotations.
        small_classes: As in `ObjectShareHook`.
    """
    if small_classes is not None:
        return np.isin(sample.gt_sem_seg.data[0].cpu().numpy(), small_classes)
    mask = np.zeros(sample.ori_shape[:2], dtype=bool)
    boxes = sample.gt_instances.bboxes
    boxes = getattr(boxes, 'tensor', boxes).cpu().numpy().astype(int)
    for left, top, right, bottom in np.maximum(boxes, 0):
        mask[top : bottom + 1, left : right + 1] = True
    return mask


def computed_pixels(
    selections: Sequence[WindowSelection], objects: NDArray[np.bool_], tokens_a_pixel: float
) -> NDArray[np.float64]:
    """Counts the computed pixels of an image.

    Args:
        selections: Those of one forward with one image.
        objects: (H, W) which pixels are an object's.
        tokens_a_pixel: Side of a pixel in tokens of the first stage.

    Returns:
        (stages + 1, 2) sums over objects' pixels and all pixels: the share of the stage's blocks
        that compute them; in the last row, their numbers.
    """
    sums = []
    for use in stage_use(selections):
        scale = tokens_a_pixel / 2**use.stage
        rows, cols = (
            np.minimum((np.arange(side) * scale).astype(int), tokens - 1)
            for side, tokens in zip(objects.shape, use.counts.shape)
        )
        share = use.shares[rows[:, None], cols[None, :]]
        sums.append([share[objects].sum(), share.sum()])
    return np.array([*sums, [objects.sum(), objects.size]])


def shares(sums: NDArray[np.float64], depths: Sequence[int]) -> dict[str, dict[str, Any]]:
    """Shares of objects' pixels and of all pixels that are computed.

    Args:
        sums: (stages + 1, 2) from `computed_pixels`, added up over images.
        depths: Blocks in each stage.

    Returns:
        For 'objects' and 'pixels' the share in every stage, and `overall` the mean over blocks.
    """
    found = {}
    for column, name in enumerate(('objects', 'pixels')):
        stages = sums[:-1, column] / max(sums[-1, column], 1)
        overall = np.average(stages, weights=depths[: len(stages)])
        found[name] = {
            'stages': [round(float(share), 4) for share in stages],
            'overall': round(float(overall), 4),
        }
    return found
