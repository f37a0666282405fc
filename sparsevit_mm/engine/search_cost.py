"""What the schedules of a search cost: MACs or milliseconds, of the model or of its backbone."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path

from torch import nn

from sparsevit_mm.engine.timed_images import TimedImages
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.profiling.macs import backbone_macs
from sparsevit_mm.pruning.prunable import find_prunable_backbone, predicting_backbone
from sparsevit_mm.search.budget import Budget
from sparsevit_mm.search.cost import MACS, MILLISECONDS, MODEL, AdditiveCost, MacsCost, show_cost
from sparsevit_mm.search.latency_table import LatencyTable
from sparsevit_mm.search.measure import BackboneBench, Bench, ModelBench
from sparsevit_mm.search.settings import BudgetSettings
from sparsevit_mm.search.space import SearchSpace

_QUICK_ERROR = 1.5  # what a few runs may be off by


class SearchCost:
    """Counts or measures what schedules cost, on one process.

    Args:
        model: The model on its device.
        budget: What is bounded, and under which conditions.
        shape: Height and width in pixels that the backbone sees of most images of the search.
        images: Images that the whole model is measured on.
        network: Digest of the model's config.
    """

    def __init__(
        self,
        model: nn.Module,
        budget: BudgetSettings,
        shape: Callable[[], tuple[int, int]],
        images: Callable[[], TimedImages],
        network: str,
    ) -> None:
        self._model, self._budget, self._network = model, budget, network
        self._own_shape, self._make_images = shape, images

    @cached_property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels of the backbone's input that the cost is for."""
        if self._budget.of == MODEL:
            return self._images.height, self._images.width
        return self._budget.shape or self._own_shape()

    @cached_property
    def _images(self) -> TimedImages:
        return self._make_images()

    @cached_property
    def bench(self) -> Bench:
        """Runs the model or its backbone under the budget's conditions."""
        wanted = self._budget
        if wanted.of == MODEL:
            return ModelBench(
                self._model,
                self._images.batches,
                *self.shape,
                batch=wanted.batch,
                dtype=wanted.dtype,
                compile_mode=wanted.compile,
                network=self._network,
            )
        backbone = predicting_backbone(self._model)
        return BackboneBench(backbone, *self.shape, wanted.batch, wanted.dtype, wanted.compile)

    def macs(self, space: SearchSpace) -> MacsCost:
        """MACs of every schedule; what the model computes around the backbone is counted once."""
        arch = find_prunable_backbone(self._model).arch
        if self._budget.of != MODEL:
            return MacsCost(arch, *self.shape, self._budget.batch)
        assert isinstance(self.bench, ModelBench)
        dense, images = space.uniform(0), self.bench.images_seen()
        inside = backbone_macs(arch, dense, *self.shape, images).total
        return MacsCost(arch, *self.shape, images, self.bench.count_macs(dense) - inside)

    def table(
        self, space: SearchSpace, folder: Path, resume: bool, say: Callable[[str], None]
    ) -> LatencyTable:
        """The latency table of an earlier run under the same conditions, or a new one.

        Args:
            space: Schedules that it must price.
            folder: File of the table, unless the budget names another.
            resume: Whether the table there must be for this run.
            say: Takes a line for the log.

        Raises:
            ConfigError: If the table that is named is not for this run, or no schedule can keep the
                budget.
        """
        wanted, path = self._budget, Path(self._budget.table or folder)
        if wanted.table is not None or path.exists():
            try:
                table = LatencyTable.load(path)
                differing = table.differences(self.bench.conditions)
                if table.lacks(space.importances):
                    differing = f'it lacks {", ".join(table.lacks(space.importances))}'
            except ConfigError as error:
                if wanted.table is not None:
                    raise
                say(f'{error} It is measured again.')
                differing = 'unreadable'
            if not differing:
                say(f'latency table of {path}: {table.check}')
                return table
            if wanted.table is not None or (resume and differing != 'unreadable'):
                raise ConfigError(f'the latency table {path} is not for this run: {differing}.')
        self._check_budget(space)
        say(f'measuring the latency of the {wanted.of}, each block at each number of kept windows')
        table = self.bench.measure_table(space, wanted.runs)
        table.save(path)
        say(f'latency table: {table.check}')
        return table

    def _check_budget(self, space: SearchSpace) -> None:
        """Times the dense and the cheapest schedule, so that none waits for a hopeless search."""
        schedules = [space.uniform(ratio) for ratio in (min(space.choices), max(space.choices))]
        dense, cheapest = (found.median for found in self.bench.time(schedules, runs=3))
        budget = Budget.parse(self._budget.bounds, MILLISECONDS, dense)
        if budget.upper * _QUICK_ERROR < cheapest or budget.lower > dense * _QUICK_ERROR:
            raise ConfigError(
                f'the budget of {budget} for the {self._budget.of} cannot be met: the cheapest '
                f'schedule takes {show_cost(cheapest, MILLISECONDS)} here, the dense one '
                f'{show_cost(dense, MILLISECONDS)}.'
            )

    def of(
        self, space: SearchSpace, folder: Path, resume: bool, say: Callable[[str], None]
    ) -> AdditiveCost:
        """The cost in the budget's unit; see `macs` and `table`."""
        if self._budget.unit == MACS:
            return self.macs(space)
        return self.table(space, folder, resume, say)
