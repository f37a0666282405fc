"""Tests a network with several importances, and counts which share of objects it computes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.runner import Runner
from torch import nn

from sparsevit_mm.engine.held_out import SearchData, evaluator_for, judges_parts, search_data
from sparsevit_mm.engine.objects import check_objects, object_pixels
from sparsevit_mm.engine.schedule_evaluator import without_reports
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.profiling.object_share import ObjectShare
from sparsevit_mm.pruning.prunable import PrunableBackbone
from sparsevit_mm.pruning.schedule import PruningSchedule
from sparsevit_mm.search.split import SplitSettings
from sparsevit_mm.visualization.kept_windows import record_kept_windows

_PARTS = 4
_USUAL_METRICS = ('segm_mAP', 'bbox_mAP', 'mIoU', 'NDS', 'mAP')


@dataclass(frozen=True)
class Row:
    """One importance at one ratio; the first row is the dense network.

    Attributes:
        importance: Its name; None for the dense network.
        ratio: Pruning ratio of every block.
        metric: The metric on all images.
        parts: The metric on each of several parts of the images.
        objects: Share of the object pixels that blocks computed; None if objects are not known.
        pixels: Share of all pixels that blocks computed.
    """

    importance: str | None
    ratio: float
    metric: float
    parts: tuple[float, ...]
    objects: float | None
    pixels: float


class ImportanceComparison:
    """A network with the images it is tested on; measures what each importance brings.

    Args:
        cfg: The whole config.
        model: Its model, with weights.
        backbone: The model's backbone that skips windows; its schedule and importance are changed.
        num_images: Images of the validation set to look at.
        folder: Where files for the metric may be written.
        metric: Key of the metric; None for the usual one of the config's evaluator.
        objects: Classes that count as objects, see `object_pixels`; None for all but background.

    Attributes:
        data: The images and their evaluator.
        metric: Key of the metric, known once a row was measured.
    """

    def __init__(
        self,
        cfg: Config,
        model: nn.Module,
        backbone: PrunableBackbone,
        num_images: int,
        folder: Path,
        metric: str | None,
        objects: Sequence[str] | None,
    ) -> None:
        self.data = compared_images(cfg, num_images, folder)
        self.metric = metric or ''
        self._model: Any = model
        self._backbone, self._objects = backbone, objects
        self._loader = Runner.build_dataloader(self.data.dataloader, seed=0)
        self._dataset: Any = self._loader.dataset
        self._classes = tuple(self._dataset.metainfo.get('classes') or ())
        check_objects(objects, self._classes)
        whole = cfg.val_evaluator
        parts = min(_PARTS, len(self.data.names) // 2)
        self._parts = parts if parts > 1 and judges_parts(whole, self._dataset) else 0
        infos = [self._dataset.get_data_info(i) for i in range(len(self.data.names))]
        self._evaluators = [self.data.evaluator]
        for part in range(self._parts):
            own = infos[part :: self._parts]
            path = folder / f'part{part}.json'
            self._evaluators.append(evaluator_for(deepcopy(whole), self._dataset, own, path))

    def rows(
        self, importances: Mapping[str, Any], ratios: Sequence[float], say: Callable[[str], None]
    ) -> Iterator[Row]:
        """Measures the dense network, then every importance at every ratio.

        Args:
            importances: By name, in any form that a backbone's `importance` takes.
            ratios: Uniform pruning ratios.
            say: Takes a line of progress.
        """
        arch = self._backbone.arch
        wanted = [(None, 0.0)] + [(name, ratio) for name in importances for ratio in ratios]
        for number, (name, ratio) in enumerate(wanted, start=1):
            start = time.monotonic()
            if name is not None:
                self._backbone.importance = importances[name]
            self._backbone.pruning_schedule = PruningSchedule.parse(
                ratio, arch.depths, arch.has_windows
            )
            row = self._row(name, ratio)
            yield row
            say(
                f'{number}/{len(wanted)}: {name or "dense"} at {ratio:g}: {self.metric} '
                f'{row.metric:.4g}, {time.monotonic() - start:.1f} s'
            )

    def _row(self, name: str | None, ratio: float) -> Row:
        evaluators = [Evaluator(deepcopy(cfg)) for cfg in self._evaluators]
        for evaluator in evaluators:
            evaluator.dataset_meta = getattr(self._dataset, 'metainfo', None)
        share = ObjectShare(self._backbone.arch.patch_size)
        is_known, classes = True, self._classes
        torch.manual_seed(0)  # of random windows
        with without_reports():
            for number, batch in enumerate(self._loader):
                with record_kept_windows(self._backbone) as record:
                    (output,) = self._model.test_step(batch)
                for evaluator in (
                    evaluators[0],
                    *evaluators[1:][number % max(1, self._parts) :][:1],
                ):
                    evaluator.process(data_samples=[output], data_batch=batch)
                info = self._dataset.get_data_info(number)
                found = object_pixels(output, info, classes, self._objects)
                if len(record.passes) != 1:  # crops, whose places are not known
                    found = None
                is_known &= found is not None
                for selections in record.passes:
                    for image in range(selections[0].windows.batch_size):
                        share.add(selections, None if found is None else found[image], image)
            sizes = [len(self.data.names[part :: self._parts]) for part in range(self._parts)]
            metrics = [
                evaluator.evaluate(size)
                for evaluator, size in zip(evaluators, [len(self.data.names), *sizes])
            ]
        self._choose_metric(metrics[0])
        whole, *parts = [float(found[self.metric]) for found in metrics]
        objects = share.objects if is_known else None
        pixels = 1.0 if share.all is None else share.all
        if name is None:
            objects = None if not is_known else 1.0
        return Row(name, ratio, whole, tuple(parts), objects, pixels)

    def _choose_metric(self, found: Mapping[str, Any]) -> None:
        """The metric that was asked for, or the usual one."""
        if not self.metric:
            usual = [key for name in _USUAL_METRICS for key in found if key.endswith(name)]
            self.metric = (usual or sorted(found))[0]
        if self.metric not in found:
            raise ConfigError(
                f'metric is {self.metric!r}, but must be one of {", ".join(sorted(found))}.'
            )


def compared_images(cfg: Config, number: int, folder: Path) -> SearchData:
    """The images of the validation set that a search would look at, one at a time.

    Args:
        cfg: The whole config.
        number: How many.
        folder: Where files for the metric may be written.
    """
    data = search_data(cfg, SplitSettings(part='val', images=number), folder)
    data.dataloader.batch_size = 1
    return data
