"""What the schedules of a search cost: MACs or milliseconds, of the model or of its backbone."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from sparsevit_mm.engine.timed_images import TimedImages
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.profiling.latency import Latency
from sparsevit_mm.profiling.macs import backbone_macs
from sparsevit_mm.pruning.prunable import find_prunable_backbone, predicting_backbone
from sparsevit_mm.pruning.schedule import PruningSchedule
from sparsevit_mm.search.budget import Budget
from sparsevit_mm.search.cost import MACS, MILLISECONDS, MODEL, AdditiveCost, MacsCost, show_cost
from sparsevit_mm.search.latency_table import LatencyTable
from sparsevit_mm.search.measure import BackboneBench, Bench, ModelBench
from sparsevit_mm.search.settings import BudgetSettings
from sparsevit_mm.search.space import SearchSpace

_QUICK_ERROR = 1.5  # what a few runs may be off by
_CHECKED, _CHECKED_WHEN_SCALED = 50, 10
_SILENCE = 30.0  # seconds between lines in the log


class SearchCost:
    """Counts or measures what schedules cost, on one process.

    Args:
        model: The model on its device.
        budget: What is bounded, and under which conditions.
        shape: Height and width in pixels that the backbone sees of most images of the search, by
            input scale.
        images: Images that the whole model is measured on, by input scale.
        network: Digest of the model's config.
    """

    def __init__(
        self,
        model: nn.Module,
        budget: BudgetSettings,
        shape: Callable[[float], tuple[int, int]],
        images: Callable[[float], TimedImages],
        network: str,
    ) -> None:
        self._model, self._budget, self._network = model, budget, network
        self._own_shape, self._make_images = shape, images
        self._benches: dict[float, Bench] = {}
        self._timed: dict[float, TimedImages] = {}

    def shape(self, scale: float = 1.0) -> tuple[int, int]:
        """Height and width in pixels of the backbone's input that the cost is for."""
        if self._budget.of == MODEL:
            found = self._images(scale)
            return found.height, found.width
        wanted = self._budget.shape
        if wanted is None:
            return self._own_shape(scale)
        return round(wanted[0] * scale), round(wanted[1] * scale)

    def _images(self, scale: float) -> TimedImages:
        if scale not in self._timed:
            self._timed[scale] = self._make_images(scale)
        return self._timed[scale]

    def bench(self, scale: float = 1.0) -> Bench:
        """Runs the model or its backbone under the budget's conditions."""
        if scale not in self._benches:
            self._benches[scale] = self._new_bench(scale)
        return self._benches[scale]

    def _new_bench(self, scale: float) -> Bench:
        wanted, shape = self._budget, self.shape(scale)
        if wanted.of == MODEL:
            return ModelBench(
                self._model,
                self._images(scale).batches,
                *shape,
                batch=wanted.batch,
                dtype=wanted.dtype,
                compile_mode=wanted.compile,
                network=self._network,
                scale=scale,
            )
        backbone = predicting_backbone(self._model)
        return BackboneBench(backbone, *shape, wanted.batch, wanted.dtype, wanted.compile)

    def time(self, schedules: Sequence[PruningSchedule], runs: int) -> list[Latency]:
        """Times schedules, those of one input scale in turns."""
        found: dict[PruningSchedule, Latency] = {}
        for scale in dict.fromkeys(schedule.scale for schedule in schedules):
            of_scale = [schedule for schedule in schedules if schedule.scale == scale]
            found |= zip(of_scale, self.bench(scale).time(of_scale, runs))
        return [found[schedule] for schedule in schedules]

    def macs(self, space: SearchSpace) -> MacsCost:
        """MACs of every schedule; what the model computes around the backbone is counted once."""
        others = {scale: self._macs_at(scale, space) for scale in space.scales if scale != 1}
        cost = self._macs_at(1.0, space)
        cost.scaled = others
        return cost

    def _macs_at(self, scale: float, space: SearchSpace) -> MacsCost:
        arch, shape = find_prunable_backbone(self._model).arch, self.shape(scale)
        if self._budget.of != MODEL:
            return MacsCost(arch, *shape, self._budget.batch, 0, _no_cost(space))
        bench = self.bench(scale)
        assert isinstance(bench, ModelBench)
        dense, images = PruningSchedule.dense(arch.depths), bench.images_seen()
        outside = bench.count_macs(dense) - backbone_macs(arch, dense, *shape, images).total
        cost = MacsCost(arch, *shape, images, outside, bench.proposal_macs(space))
        cost.heads = bench.head_cost(
            space, lambda schedules: [bench.count_macs(one, inputs=1) for one in schedules]
        )
        return cost

    def table(
        self, space: SearchSpace, own: Path, resume: bool, say: Callable[[str], None]
    ) -> LatencyTable:
        """The latency table of an earlier run under the same conditions, or a new one.

        Args:
            space: Schedules that it must price.
            own: File of the table, unless the budget names another.
            resume: Whether the table there must be for this run.
            say: Takes a line for the log.

        Raises:
            ConfigError: If the table that is named is not for this run, or no schedule can keep the
                budget.
        """
        wanted, path = self._budget, Path(self._budget.table or own)
        if wanted.table is not None or path.exists():
            try:
                table = LatencyTable.load(path)
                differing = self._difference(table, space)
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
        tables: dict[float, LatencyTable] = {}
        for scale in dict.fromkeys([1.0, *space.scales]):
            say(
                f'measuring the latency of the {wanted.of} at input scale {scale:g}, each block at '
                'each number of kept windows'
            )
            bench = self.bench(scale)
            check = _CHECKED if scale == 1 else _CHECKED_WHEN_SCALED
            tell = now_and_then(say)
            tables[scale] = bench.measure_table(space, wanted.runs, check=check, tell=tell)
            if wanted.of != MODEL:
                tables[scale].proposals = _no_cost(space)
            say(f'latency table: {tables[scale].check}')
        table = tables.pop(1.0)
        table.scaled = tables
        table.save(path)
        return table

    def _difference(self, table: LatencyTable, space: SearchSpace) -> str:
        """Why a table is not for this run; empty if it is."""
        for scale in dict.fromkeys([1.0, *space.scales]):
            if scale != 1 and scale not in table.scaled:
                return f'it lacks the input scale {scale:g}'
            one = table if scale == 1 else table.scaled[scale]
            differing = one.differences(self.bench(scale).conditions)
            lacking = one.lacks(space.importances, space.proposals)
            if any(space.head_stages or ()) and any(space.choices) and one.heads is None:
                lacking.append('ratios of neck and head')
            if differing or lacking:
                return differing or f'it lacks {", ".join(lacking)}'
        return ''

    def _check_budget(self, space: SearchSpace) -> None:
        """Times the dense and the cheapest schedule, so that none waits for a hopeless search."""
        schedules = [
            PruningSchedule.dense(space.depths),
            space.uniform(max(space.choices), None, space.scales[0], space.proposals[0]),
        ]
        dense, cheapest = (found.median for found in self.time(schedules, runs=3))
        budget = Budget.parse(self._budget.bounds, MILLISECONDS, dense)
        if budget.upper * _QUICK_ERROR < cheapest or budget.lower > dense * _QUICK_ERROR:
            raise ConfigError(
                f'the budget of {budget} for the {self._budget.of} cannot be met: the cheapest '
                f'schedule takes {show_cost(cheapest, MILLISECONDS)} here, the dense one '
                f'{show_cost(dense, MILLISECONDS)}.'
            )

    def of(
        self, space: SearchSpace, own: Path, resume: bool, say: Callable[[str], None]
    ) -> AdditiveCost:
        """The cost in the budget's unit; see `macs` and `table`."""
        if self._budget.unit == MACS:
            return self.macs(space)
        return self.table(space, own, resume, say)


def now_and_then(say: Callable[[str], None]) -> Callable[[int, int], None]:
    """Says how far measuring is, twice a minute, and how long it will take."""
    start = last = time.monotonic()

    def tell(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last > _SILENCE:
            last = now
            left = (now - start) * (total - done) / done / 60
            say(f'latency table: {done} of {total} runs, about {left:.0f} minutes left')

    return tell


def _no_cost(space: SearchSpace) -> dict[int, Any]:
    """What proposals cost a backbone."""
    return {number: 0 for number in space.proposals if number is not None}
