"""Measures the latency of each block at each number of kept windows, inside the whole network.

A block that is timed alone finds its weights in the cache and an idle device; inside the network it
finds neither. Therefore the whole backbone runs, or the whole model, under schedules that together
show every block all its numbers of windows, and the end of each block is recorded: on a GPU as an
event of the stream, without synchronization. Blocks of a stage with the same ratio share some work
(ranking, indices), so each entry is the median over different schedules. What no ratio changes,
such as a head and its post-processing, is one constant.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import platform
import random
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sparsevit_mm.profiling.head_windows import head_convolutions
from sparsevit_mm.profiling.inputs import check_dtype, check_shape, computing_in
from sparsevit_mm.profiling.latency import Latency, measure_latency
from sparsevit_mm.profiling.model_macs import model_macs
from sparsevit_mm.pruning.proposals import Proposals
from sparsevit_mm.pruning.prunable import find_prunable_backbone, predicting_backbone
from sparsevit_mm.pruning.schedule import PruningSchedule
from sparsevit_mm.pruning.selection import WindowSelection, num_kept_windows
from sparsevit_mm.search.cost import MODEL, HeadCost
from sparsevit_mm.search.latency_table import LatencyConditions, LatencyTable, TableCheck
from sparsevit_mm.search.space import SearchSpace
from sparsevit_mm.versions import __version__

_WARMUP = 3
_TAIL = (-1, -1, -1)  # from the last block to the end of the backbone
_Entry = tuple[int, int, int]  # stage, block, kept windows


class Bench:
    """Times a network under one schedule after another; runs take its inputs in turn.

    Args:
        module: A backbone, or a model with one, in evaluation mode on its device; it is modified.
        inputs: What it is run on.
        run: Runs it on one of them.
        conditions: What its times hold for.
    """

    def __init__(
        self,
        module: nn.Module,
        inputs: Sequence[Any],
        run: Callable[[Any], Any],
        conditions: LatencyConditions,
    ) -> None:
        self.module, self.inputs, self.conditions = module, inputs, conditions
        self.device = next(module.parameters()).device
        self.prunable = find_prunable_backbone(module)
        self.prunable.window_observer = None
        self._proposals = Proposals(module)
        self._run_on, self._round = run, 0
        if conditions.compile is not None:
            for block in self.prunable.attention_blocks():
                block.compile(mode=conditions.compile)

    def time(
        self, schedules: Sequence[PruningSchedule], runs: int = 20, seed: int = 0
    ) -> list[Latency]:
        """Times the whole network under several schedules, which take turns.

        Args:
            schedules: The schedules.
            runs: Number of timed rounds.
            seed: Seed of the order in each round.

        Returns:
            The latency under each schedule.
        """
        own = self.prunable.importance
        timed = self._time_by({str(i): (own, s) for i, s in enumerate(schedules)}, runs, seed)
        return [timed[str(i)] for i in range(len(schedules))]

    def count_macs(self, schedule: PruningSchedule, inputs: int | None = None) -> int:
        """Counts the MACs of a run, summed over the batch; the median over the inputs.

        Args:
            schedule: The schedule.
            inputs: How many of the inputs to run; None runs all. They are of one size, and only
                what depends on their content, such as proposals, differs between them.
        """
        self._use(schedule)
        with self._ready():
            counted = [
                model_macs(self.module, lambda one=one: self._run_on(one)).total  # type: ignore[misc]
                for one in self.inputs[:inputs]
            ]
        return statistics.median_low(counted)

    def measure_table(
        self,
        space: SearchSpace,
        runs: int = 20,
        seed: int = 0,
        check: int = 50,
        tell: Callable[[int, int], None] | None = None,
    ) -> LatencyTable:
        """Measures a table, and how well it predicts schedules that it was not made from.

        Args:
            space: Gives the ratios of each block.
            runs: Number of timed rounds.
            seed: Seed of the schedules and their order in each round.
            check: Number of schedules to predict; 0 omits the check.
            tell: Called after each of most runs with how many there were, and how many there will
                be.

        Returns:
            The table, with its `check`, and with the time of the ranking for each importance of the
            space and of each number of proposals. It is for the input scale of this bench.
        """
        importances, proposals = space.importances, [n for n in space.proposals if n is not None]
        everything, space = space, _ratios_alone(space)
        rng = random.Random(f'latency/{seed}')
        uniform = [space.uniform(choice) for choice in space.choices]
        shown = list(dict.fromkeys(uniform + [space.sample(rng) for _ in 2 * uniform]))
        unseen = _unseen(space, set(shown), check, rng)
        entries: dict[_Entry, list[float]] = defaultdict(list)
        totals: dict[PruningSchedule, list[float]] = defaultdict(list)
        outside: list[float] = []
        # Both kinds take turns, so that they are measured at the same speed of the machine.
        turns = [(schedule, True) for schedule in shown]
        turns += [(schedule, False) for schedule in unseen]
        rounds, done = _WARMUP + max(runs, 2), itertools.count(1)
        with self._ready():
            for round_number in range(rounds):
                self._round = round_number
                for schedule, note_blocks in rng.sample(turns, len(turns)):
                    intervals, total = self._timed_run(schedule, note_blocks)
                    if tell is not None:
                        tell(next(done), rounds * len(turns))
                    if round_number >= _WARMUP:
                        totals[schedule].append(total)
                        if note_blocks:
                            outside.append(total - sum(intervals.values()))
                        intervals.pop(_TAIL, None)
                        for key, milliseconds in intervals.items():
                            entries[key].append(milliseconds)
        whole = {schedule: Latency(tuple(found)) for schedule, found in totals.items()}
        table = self._table(
            space, entries, [(schedule, whole[schedule].median) for schedule in shown]
        )
        if unseen:
            table.check = _check(table, {schedule: whole[schedule] for schedule in unseen})
        if self.conditions.of == MODEL:
            table.outside = statistics.median(outside)
        table.rankings = self._rankings(space, table.lacks(importances), runs)
        table.proposals = self._proposal_times(space, proposals, runs)
        table.heads = self.head_cost(
            everything, lambda schedules: [found.median for found in self.time(schedules, runs)]
        )
        return table

    def head_cost(
        self, space: SearchSpace, measure: Callable[[Sequence[PruningSchedule]], Sequence[float]]
    ) -> HeadCost | None:
        """What skipped windows of the neck and head cost, over computing all of them.

        Args:
            space: Its `head_stages` name the stages, its choices the ratios.
            measure: Gives the cost of each of some schedules.

        Returns:
            The cost; None if the space has no ratios of neck and head.
        """
        stages = [stage for stage, has in enumerate(space.head_stages or ()) if has]
        choices = [choice for choice in space.choices if choice]
        if not stages or not choices:
            return None
        dense = _ratios_alone(space).uniform(0)

        def with_heads(ratio: float, *chosen: int) -> PruningSchedule:
            ratios = tuple(ratio * (stage in chosen) for stage in range(len(space.depths)))
            return replace(dense, head_ratios=ratios)

        keys = [(stage, choice) for stage in stages for choice in choices]
        schedules = [with_heads(choice, stage) for stage, choice in keys]
        own, together, *alone = measure([dense, with_heads(choices[-1], *stages), *schedules])
        costs = {key: cost - own for key, cost in zip(keys, alone)}
        # Each of the stages alone has the coarse pass, all together have it once.
        coarse = 0.0
        if len(stages) > 1:
            apart = sum(costs[stage, choices[-1]] for stage in stages)
            coarse = (apart - (together - own)) / (len(stages) - 1)
        totals = self._head_windows(len(space.depths))
        entries: list[dict[int, float]] = [{} for _ in space.depths]
        for (stage, choice), cost in sorted(costs.items(), key=lambda item: -item[0][1]):
            entries[stage][num_kept_windows(totals[stage], choice)] = cost - coarse
        return HeadCost(coarse, totals, tuple(entries))

    def _head_windows(self, depth: int) -> tuple[int, ...]:
        """Windows in the grid of each stage at which neck and head skip some."""
        found = head_convolutions(self.module, self.conditions.height, self.conditions.width)
        totals = {convolution.stage: convolution.total for convolution in found}
        return tuple(totals.get(stage, 0) for stage in range(depth))

    def _proposal_times(
        self, space: SearchSpace, numbers: Sequence[int], runs: int
    ) -> dict[int, float]:
        """Milliseconds of each number of proposals, over those of the model's own number."""
        if not numbers:
            return {}
        own, *others = self.time([space.uniform(0), *_with_proposals(space, numbers)], runs)
        return {number: found.median - own.median for number, found in zip(numbers, others)}

    def proposal_macs(self, space: SearchSpace) -> dict[int, int]:
        """MACs of each number of proposals, over those of the model's own number."""
        numbers = [number for number in space.proposals if number is not None]
        space = _ratios_alone(space)
        own = self.count_macs(space.uniform(0)) if numbers else 0
        schedules = zip(numbers, _with_proposals(space, numbers))
        return {number: self.count_macs(schedule) - own for number, schedule in schedules}

    def _rankings(
        self, space: SearchSpace, names: Sequence[str], runs: int
    ) -> dict[str, tuple[float, ...]]:
        """Milliseconds that ranking by each name takes more, stage by stage."""
        own, found = self.prunable.importance, {name: [0.0] * len(space.depths) for name in names}
        for stage, genes in enumerate(space.num_genes if names and max(space.choices) else ()):
            if genes:
                ratios = [0.0] * len(space.depths)
                ratios[stage] = max(space.choices)
                schedule = PruningSchedule.parse(ratios, space.depths)
                schedules = {name: replace(schedule, importance=name) for name in names}
                timed = self._time_by(
                    {'': (own, schedule), **{name: (name, schedules[name]) for name in names}}, runs
                )
                for name in names:
                    found[name][stage] = timed[name].median - timed[''].median
        self.prunable.importance = own
        return {name: tuple(of_name) for name, of_name in found.items()}

    def _time_by(
        self, candidates: Mapping[str, tuple[Any, PruningSchedule]], runs: int, seed: int = 0
    ) -> dict[str, Latency]:
        """Latencies by importance and schedule, in turns; each sees the same inputs."""

        def forward(importance: Any, schedule: PruningSchedule) -> Callable[[], Any]:
            inputs = itertools.cycle(self.inputs)

            def run() -> None:
                self.prunable.importance = importance
                self._use(schedule)
                self._run_on(next(inputs))

            return run

        with self._ready():
            return measure_latency(
                {name: forward(*pair) for name, pair in candidates.items()},
                warmup=_WARMUP,
                runs=runs,
                device=self.device,
                seed=seed,
            )

    def _table(
        self,
        space: SearchSpace,
        entries: Mapping[_Entry, Sequence[float]],
        totals: Sequence[tuple[PruningSchedule, float]],
    ) -> LatencyTable:
        arch = self.prunable.arch
        blocks: list[list[dict[int, float]]] = [
            [{} for _ in range(depth if has else 0)]
            for depth, has in zip(arch.depths, arch.has_windows)
        ]
        for (stage, block, kept), found in entries.items():
            blocks[stage][block][kept] = statistics.median(found)
        kept_windows = space.uniform(0).kept_windows(
            self.conditions.height, self.conditions.width, arch.patch_size, arch.window_sizes
        )
        num_windows = [counts[0].total if counts else 0 for counts in kept_windows]
        for of_stage, total in zip(blocks, num_windows):
            for of_block in of_stage:
                if not of_block:  # nothing reads the stage, so it is not computed
                    of_block[total] = 0.0
        bare = LatencyTable(0.0, num_windows, blocks, self.conditions)
        # The time before the first and after the last block, and what medians of blocks miss.
        constant = statistics.median(total - bare.price(schedule) for schedule, total in totals)
        return LatencyTable(constant, num_windows, blocks, self.conditions)

    def _use(self, schedule: PruningSchedule) -> None:
        """Sets a schedule, for the inputs as they are."""
        self.prunable.pruning_schedule = schedule
        self._proposals.use(schedule.proposals)

    def _timed_run(
        self, schedule: PruningSchedule, note_blocks: bool
    ) -> tuple[dict[_Entry, float], float]:
        """Milliseconds of each (stage, block, kept windows) if wanted, and of the whole run.

        Where the backbone sees an image in several crops, each block's time is that of all crops.
        """
        self._use(schedule)
        ends, moments = list[_Entry | None](), _Moments(self.device)

        def note(end: _Entry | None) -> None:
            ends.append(end)
            moments.note()

        with self._noted(note) if note_blocks else contextlib.nullcontext():
            moments.synchronize()
            start = time.perf_counter()
            self._run_on(self.inputs[self._round % len(self.inputs)])
            moments.synchronize()
            total = (time.perf_counter() - start) * 1e3
        intervals: dict[_Entry, float] = defaultdict(float)
        for end, milliseconds in zip(ends[1:], moments.intervals()):
            if end is not None:
                intervals[end] += milliseconds
        return intervals, total

    @contextlib.contextmanager
    def _noted(self, note: Callable[[_Entry | None], None]) -> Iterator[None]:
        """Tells when the backbone begins (None), when each block ends, and when the backbone."""

        def observe(selection: WindowSelection) -> None:
            note((selection.stage, selection.block, selection.num_kept))

        backbone = predicting_backbone(self.module)
        handles = (
            backbone.register_forward_pre_hook(lambda *_: note(None)),
            backbone.register_forward_hook(lambda *_: note(_TAIL)),
        )
        self.prunable.window_observer = observe
        try:
            yield
        finally:
            self.prunable.window_observer = None
            for handle in handles:
                handle.remove()

    @contextlib.contextmanager
    def _ready(self) -> Iterator[None]:
        """Turns gradients off and lets the compiler compile once for each number of windows."""
        settings: Any = contextlib.nullcontext()
        if self.conditions.compile is not None:
            import torch._dynamo.config as dynamo

            limit = 'recompile_limit' if hasattr(dynamo, 'recompile_limit') else 'cache_size_limit'
            settings = dynamo.patch({limit: 4096, f'accumulated_{limit}': 4096})
        with torch.no_grad(), settings:
            yield


class BackboneBench(Bench):
    """Times a copy of a backbone on noise, under given conditions.

    Args:
        backbone: A backbone with a schedule; it is not modified.
        height: Height of the network's input in pixels.
        width: Width of the network's input in pixels.
        batch: Number of images.
        dtype: Type of weights and images, a key of `profiling.inputs.DTYPES`.
        compile_mode: Mode of `torch.compile` for each block ('default', 'reduce-overhead', …); None
            runs eagerly.
        device: Where to run; by default the device of the backbone.

    Raises:
        ConfigError: If a number is not positive or the type is unknown.
    """

    def __init__(
        self,
        backbone: nn.Module,
        height: int,
        width: int,
        batch: int = 1,
        dtype: str = 'float32',
        compile_mode: str | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        check_shape(height, width, batch)
        torch_dtype = check_dtype(dtype)
        place = torch.device(device or next(backbone.parameters()).device)
        module = deepcopy(backbone).to(place, torch_dtype).eval()
        channels = find_prunable_backbone(module).arch.in_channels
        images = torch.rand(batch, channels, height, width, device=place, dtype=torch_dtype)
        conditions = _conditions(module, height, width, batch, dtype, compile_mode)
        super().__init__(module, [images], module, conditions)


class ModelBench(Bench):
    """Times a copy of a whole model on real batches: from the batch to the predictions.

    Normalization, neck, heads and post-processing are included, reading and resizing images is not.

    Args:
        model: A model with a prunable backbone, on its device; it is not modified.
        batches: What its `test_step` takes, each with images of the same size.
        height: Height in pixels of what the backbone sees of them.
        width: Width in pixels.
        batch: Number of images in each.
        dtype: 'float32', or the type that autocast computes in.
        compile_mode: Mode of `torch.compile` for each block; None runs eagerly.
        network: Digest of the model's config.
        scale: Input scale of the batches, over that of the config.

    Raises:
        ConfigError: If the type is unknown.
    """

    def __init__(
        self,
        model: nn.Module,
        batches: Sequence[Any],
        height: int,
        width: int,
        *,
        batch: int = 1,
        dtype: str = 'float32',
        compile_mode: str | None = None,
        network: str | None = None,
        scale: float = 1.0,
    ) -> None:
        module: Any = deepcopy(model).eval()
        device = next(module.parameters()).device.type
        computing_in(dtype, device)  # now, so that what is wrong is said before anything runs

        def run(batch: Any) -> None:
            with computing_in(dtype, device):
                module.test_step(batch)

        conditions = replace(
            _conditions(module, height, width, batch, dtype, compile_mode),
            of=MODEL,
            network=network,
            scale=scale,
        )
        super().__init__(module, batches, run, conditions)

    def images_seen(self) -> int:
        """Number of images that the backbone sees of a batch, with every crop counted."""
        seen: list[int] = []
        hook = predicting_backbone(self.module).register_forward_pre_hook(
            lambda _, inputs: seen.append(len(inputs[0]))
        )
        with torch.no_grad():
            self._run_on(self.inputs[0])
        hook.remove()
        return sum(seen)


def _ratios_alone(space: SearchSpace) -> SearchSpace:
    """The space without what is chosen beside the ratios of the backbone."""
    return SearchSpace(space.depths, space.choices, space.per, space.has_windows)


def _with_proposals(space: SearchSpace, numbers: Sequence[int]) -> list[PruningSchedule]:
    """The dense schedule with each number of proposals."""
    return [replace(space.uniform(0), proposals=number) for number in numbers]


def _conditions(
    module: nn.Module, height: int, width: int, batch: int, dtype: str, compile_mode: str | None
) -> LatencyConditions:
    backbone = find_prunable_backbone(module)
    return LatencyConditions(
        device=device_name(next(module.parameters()).device),
        threads=torch.get_num_threads(),
        dtype=dtype,
        batch=batch,
        height=height,
        width=width,
        compile=compile_mode,
        arch=str(backbone.arch),
        versions={'torch': torch.__version__, 'sparsevit_mm': __version__},
        importance=backbone.importance.name,
    )


class _Moments:
    """Points in time of a run: clock readings on a CPU, events of the stream on a GPU."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._found: list[Any] = []

    def note(self) -> None:
        if self._device.type == 'cuda':
            event = torch.cuda.Event(enable_timing=True)
            event.record(torch.cuda.current_stream(self._device))
            self._found.append(event)
        else:
            self._found.append(time.perf_counter())

    def synchronize(self) -> None:
        if self._device.type == 'cuda':
            torch.cuda.synchronize(self._device)

    def intervals(self) -> list[float]:
        """Milliseconds between each point in time and the next."""
        pairs = zip(self._found, self._found[1:])
        if self._device.type == 'cuda':
            return [first.elapsed_time(second) for first, second in pairs]
        return [(second - first) * 1e3 for first, second in pairs]


def _check(table: LatencyTable, measured: Mapping[PruningSchedule, Latency]) -> TableCheck:
    halves = [(Latency(found.runs[::2]), Latency(found.runs[1::2])) for found in measured.values()]
    return TableCheck(
        predicted=tuple(table.price(schedule) for schedule in measured),
        measured=tuple(found.median for found in measured.values()),
        noise=tuple(
            abs(odd.median - even.median) / 2 / found.median
            for (odd, even), found in zip(halves, measured.values())
        ),
    )


def device_name(device: torch.device) -> str:
    """Name of a GPU or CPU, such as the model of the processor with its number of cores."""
    if device.type == 'cuda':
        return torch.cuda.get_device_name(device)
    with contextlib.suppress(OSError):
        for line in Path('/proc/cpuinfo').read_text().splitlines():
            if line.startswith('model name'):
                return f'{line.partition(":")[2].strip()}, {os.cpu_count()} cores'
    return platform.processor() or platform.machine()


def _unseen(
    space: SearchSpace, seen: set[PruningSchedule], number: int, rng: random.Random
) -> list[PruningSchedule]:
    """Draws different random schedules that are not in `seen`; fewer if the space is small."""
    found: dict[PruningSchedule, None] = {}
    for _ in range(20 * number):
        schedule = space.sample(rng)
        if schedule not in seen and len(found) < number:
            found[schedule] = None
    return list(found)
