"""Evaluates a network under one schedule after another, by metrics or by its loss."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Callable, Iterator, Mapping
from numbers import Real
from typing import Any

import torch
from mmengine.dist import broadcast_object_list, collect_results, is_main_process
from mmengine.evaluator import Evaluator
from mmengine.logging import MMLogger
from mmengine.model import is_model_wrapper
from torch import nn
from torch.utils.data import DataLoader

from sparsevit_mm.errors import ConfigError
from sparsevit_mm.profiling.inputs import backbone_input_shape
from sparsevit_mm.pruning.proposals import Proposals
from sparsevit_mm.pruning.prunable import find_prunable_backbone
from sparsevit_mm.pruning.schedule import PruningSchedule
from sparsevit_mm.search.settings import is_loss


class ScheduleEvaluator:
    """Evaluates a model under one schedule after another, the images shared among processes.

    Args:
        model: The model on its device, wrapped or not.
        dataloader: The images; one at a time if the metric is a loss.
        evaluator: Computes metrics of predictions.
        metric: Key of the metric to optimize; a key with 'loss' in it names a loss of the network.
        fp16: Whether to run in mixed precision.
        scaled: Gives the images at another input scale; None if no schedule has one.
    """

    def __init__(
        self,
        model: nn.Module,
        dataloader: DataLoader,
        evaluator: Evaluator,
        metric: str,
        fp16: bool = False,
        scaled: Callable[[float], DataLoader] | None = None,
    ) -> None:
        self._scaled, self._proposals = scaled, Proposals(unwrapped(model))
        self._model, self._dataloader, self._evaluator = model, dataloader, evaluator
        self._network = unwrapped(model)
        self._backbone = find_prunable_backbone(self._network)
        self._metric, self._fp16 = metric, fp16

    @torch.no_grad()
    def measure(self, schedule: PruningSchedule) -> dict[str, float]:
        """Evaluates a schedule; returns all metrics, the same on every process.

        Raises:
            ConfigError: If the metric is not among them.
        """
        self._backbone.pruning_schedule = schedule
        self._proposals.use(schedule.proposals)
        self._model.eval()
        loader = self._loader(schedule.scale)
        with without_reports():
            found = self._losses(loader) if is_loss(self._metric) else self._evaluate(loader)
        self._proposals.use(None)
        metrics = {
            key: float(value)
            for key, value in found.items()
            if isinstance(value, Real) and not isinstance(value, bool)
        }
        if self._metric not in metrics:
            raise ConfigError(
                f'metric is {self._metric!r}, but must be one of {", ".join(sorted(metrics))}'
                + ('.' if is_loss(self._metric) else ', or the name of a loss.')
            )
        return metrics

    def input_shape(self, scale: float = 1.0, images: int = 16) -> tuple[int, int]:
        """The most frequent height and width, in pixels, that the backbone sees.

        Args:
            scale: Input scale.
            images: How many images are looked at.
        """
        loader = self._loader(scale)
        dataset, collate = loader.dataset, loader.collate_fn
        self._model.eval()
        shapes = [
            backbone_input_shape(self._network, collate([dataset[number]]))
            for number in range(min(images, len(dataset)))  # type: ignore[arg-type]
        ]
        return max(sorted(set(shapes), reverse=True), key=shapes.count)

    def _loader(self, scale: float) -> DataLoader:
        if scale == 1:
            return self._dataloader
        assert self._scaled is not None, 'only a search with scales has schedules with scales'
        return self._scaled(scale)

    def _evaluate(self, loader: DataLoader) -> Mapping[str, Any]:
        for batch in loader:
            with torch.autocast(_device_type(self._network), enabled=self._fp16):
                outputs = self._model.test_step(batch)  # type: ignore[operator]
            self._evaluator.process(data_samples=outputs, data_batch=batch)
        return self._evaluator.evaluate(len(loader.dataset))  # type: ignore[arg-type]

    def _losses(self, loader: DataLoader) -> Mapping[str, Any]:
        """Losses averaged over images, in an order that does not depend on the processes."""
        found = []
        for batch in loader:
            # Some detectors draw boxes at random for their loss.
            with (
                torch.random.fork_rng(),
                torch.autocast(_device_type(self._network), enabled=self._fp16),
            ):
                torch.manual_seed(0)
                data = self._network.data_preprocessor(batch, False)
                losses = self._network(**data, mode='loss')
                _, parts = self._network.parse_losses(losses)
            found.append({key: float(value) for key, value in parts.items()})
        size = len(loader.dataset)  # type: ignore[arg-type]
        together = collect_results(found, size, 'cpu')
        means: list[Any] = [None]
        if is_main_process():
            assert together
            means = [{k: sum(part[k] for part in together) / len(together) for k in together[0]}]
        broadcast_object_list(means)
        assert means[0] is not None
        return means[0]


@contextlib.contextmanager
def without_reports() -> Iterator[None]:
    """Keeps what evaluators say of every single evaluation out of the log and the console."""
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)


def unwrapped(model: nn.Module) -> Any:
    """The model inside a wrapper for several processes; otherwise the model."""
    return model.module if is_model_wrapper(model) else model


def _device_type(model: nn.Module) -> str:
    return next(model.parameters()).device.type
