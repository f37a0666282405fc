"""Draws the kept windows of every stage for images of the validation or test set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner

from sparsevit_mm.errors import ConfigError
from sparsevit_mm.pruning.prunable import PrunableBackbone, find_prunable_backbone
from sparsevit_mm.pruning.selection import WindowSelection
from sparsevit_mm.registry import HOOKS

if TYPE_CHECKING:
    from sparsevit_mm.visualization.kept_windows import KeptWindowsRecord

# What draws is imported when something is drawn: importing the package needs no plotting library.


@HOOKS.register_module()
class KeptWindowsVisualizer(Hook):
    """Draws the kept windows of the first images of every validation and test run.

    The images go to the runner's visualizer, and so to whatever back ends the config has: the
    local folder `vis_data/vis_image`, TensorBoard and others. Networks that cut an image into crops
    do not report where these lie: nothing is drawn, and the log says so.

    Args:
        images: How many images are drawn, the first of every batch.

    Raises:
        ConfigError: If `images` is not positive, or the model has no pruning schedule.
    """

    priority = 'LOW'

    def __init__(self, images: int = 4) -> None:
        if images < 1:
            raise ConfigError(f'images is {images}, but must be positive.')
        self.images = images
        self._record: KeptWindowsRecord | None = None
        self._previous: Callable[[WindowSelection], None] | None = None

    def before_val_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Starts to record."""
        self._begin(runner, batch_idx)

    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Sequence[Any] | None = None,
    ) -> None:
        """Draws the first image of the batch."""
        self._end(runner, 'val', batch_idx, outputs)

    def before_test_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Starts to record."""
        self._begin(runner, batch_idx)

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Sequence[Any] | None = None,
    ) -> None:
        """Draws the first image of the batch."""
        self._end(runner, 'test', batch_idx, outputs)

    def _begin(self, runner: Runner, batch_idx: int) -> None:
        if batch_idx >= self.images:
            return
        from sparsevit_mm.visualization.kept_windows import KeptWindowsRecord

        backbone = find_prunable_backbone(runner.model)
        record, previous = KeptWindowsRecord(), backbone.window_observer

        def observe(selection: WindowSelection) -> None:
            record(selection)
            if previous is not None:
                previous(selection)

        self._record, self._previous = record, previous
        backbone.window_observer = observe

    def _end(
        self, runner: Runner, mode: str, batch_idx: int, outputs: Sequence[Any] | None
    ) -> None:
        record, self._record = self._record, None
        if record is None or not outputs:
            return
        backbone = find_prunable_backbone(runner.model)
        backbone.window_observer = self._previous
        if len(record.passes) != 1:
            print_log(
                'KeptWindowsVisualizer: the network sees each image in several crops, whose places '
                'it does not tell: nothing is drawn.',
                logger='current',
            )
            return
        self._draw(runner, backbone, mode, batch_idx, outputs[0], record.passes[0])

    def _draw(
        self,
        runner: Runner,
        backbone: PrunableBackbone,
        mode: str,
        batch_idx: int,
        sample: Any,
        selections: list[WindowSelection],
    ) -> None:
        from sparsevit_mm.visualization.images import read_image
        from sparsevit_mm.visualization.kept_windows import draw_kept_windows

        path = sample.img_path[0] if isinstance(sample.img_path, list) else sample.img_path
        image = draw_kept_windows(
            read_image(path),
            selections,
            resized=tuple(sample.img_shape[:2]),
            patch_size=backbone.arch.patch_size,
            schedule=backbone.pruning_schedule,
        )
        name = f'{mode}_kept_windows_{batch_idx}_{Path(path).stem}'
        runner.visualizer.add_image(name, image, step=runner.iter)
