"""Measures, while a network is tested, which share of objects' pixels it computes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from sparsevit_mm.engine.objects import object_pixels
from sparsevit_mm.files import replace_text
from sparsevit_mm.profiling.macs import backbone_macs
from sparsevit_mm.profiling.object_share import ObjectShare
from sparsevit_mm.pruning.prunable import find_prunable_backbone
from sparsevit_mm.visualization.kept_windows import KeptWindowsRecord


@HOOKS.register_module()
class ObjectShareHook(Hook):
    """Writes, after a test, the shares of computed pixels and the backbone's mean MACs.

    Args:
        out: JSON file with `objects` and `pixels`, each with the share in every `stage` and
            `overall`, and `macs`.
        objects: Classes of the data set that count, see `object_pixels`; None for all boxes.
    """

    def __init__(self, out: str, objects: Sequence[str] | None = None) -> None:
        self.out = Path(out)
        self.objects = objects
        self._macs: list[int] = []

    def before_test(self, runner: Runner) -> None:
        """Starts to record."""
        backbone = find_prunable_backbone(runner.model)
        self._share = ObjectShare(backbone.arch.patch_size)
        self._record = backbone.window_observer = KeptWindowsRecord()

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
        dataset: Any = runner.test_dataloader.dataset
        found = object_pixels(
            sample, dataset.get_data_info(batch_idx), dataset.metainfo['classes'], self.objects
        )
        self._share.add(selections, None if found is None else found[0])
        height, width = sample.get('batch_input_shape', sample.img_shape)[:2]
        macs = backbone_macs(backbone.arch, backbone.pruning_schedule, height, width)
        self._macs.append(macs.total)

    def after_test(self, runner: Runner) -> None:
        """Writes the file."""
        backbone = find_prunable_backbone(runner.model)
        backbone.window_observer = None
        stages = [self._share.of_stage(stage) for stage in range(len(backbone.arch.depths))]
        overall = (self._share.objects, self._share.all)
        found = {
            name: {'stages': [_rounded(each[kind]) for each in stages],
                   'overall': _rounded(overall[kind])}
            for kind, name in enumerate(('objects', 'pixels'))
        }  # fmt: skip
        replace_text(self.out, json.dumps({**found, 'macs': round(np.mean(self._macs))}) + '\n')


def _rounded(share: float | None) -> float:
    """Rounds a share; where no block skips anything, all is computed."""
    return 1.0 if share is None else round(share, 4)
