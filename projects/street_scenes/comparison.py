"""Compares skipped windows with lower resolution: cost of the whole model, and AP, of each."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, DefaultScope
from rich.table import Table
from torch import nn

from projects.seeds import above_curve
from sparsevit_mm.engine.input_scale import apply_to_config, resized_shape, size_divisor
from sparsevit_mm.models.swin_arch import SwinArch
from sparsevit_mm.profiling.cost_report import cost_report
from sparsevit_mm.profiling.latency import Latency, measure_latency
from sparsevit_mm.profiling.macs import backbone_macs
from sparsevit_mm.pruning.prunable import find_prunable_backbone
from sparsevit_mm.pruning.schedule import PruningSchedule

_SIZE_STEP = 8


@dataclass(frozen=True)
class Candidate:
    """One way to run a trained network.

    Attributes:
        name: Name in the table.
        schedule: Pruning schedule, whose input scale counts, too.
    """

    name: str
    schedule: PruningSchedule

    @property
    def key(self) -> str:
        """Name in files."""
        return '-'.join(''.join(c if c.isalnum() or c == '.' else ' ' for c in self.name).split())


@dataclass(frozen=True)
class Result:
    """What was found for a candidate.

    Attributes:
        candidate: The candidate.
        size: Width and height of the input in pixels.
        gmacs: GMACs of the whole model on one image, counted.
        latency: Latency of the whole model on one image, measured.
        box_ap: Box AP in percent.
        mask_ap: Mask AP in percent.
    """

    candidate: Candidate
    size: tuple[int, int]
    gmacs: float
    latency: Latency
    box_ap: float
    mask_ap: float

    @property
    def dense(self) -> bool:
        """Whether no window is skipped."""
        return self.candidate.schedule.is_dense


def list_candidates(depths: Sequence[int], rows: Mapping[str, Any]) -> list[Candidate]:
    """Makes candidates of plain data.

    Args:
        depths: Blocks in each stage of the backbone.
        rows: For each name a dict with any of the fields `ratios`, `head_ratios` and `scale` of a
            schedule.
    """
    found = []
    for name, fields in rows.items():
        schedule = PruningSchedule.parse(fields.get('ratios', 0.0), depths)
        others = {key: value for key, value in fields.items() if key != 'ratios'}
        found.append(Candidate(name, replace(schedule, **others)))
    return found


def size_at_equal_macs(
    arch: SwinArch, schedule: PruningSchedule, width: int, height: int
) -> tuple[int, int]:
    """Width and height at which the dense backbone costs what the sparse one does.

    Args:
        arch: Sizes of the backbone.
        schedule: Schedule of the sparse backbone.
        width: Width of its input in pixels.
        height: Height of its input in pixels.
    """
    budget, dense = backbone_macs(arch, schedule, height, width).total, PruningSchedule.dense
    sizes = [
        (smaller, round(smaller * height / width))
        for smaller in range(width - _SIZE_STEP, _SIZE_STEP, -_SIZE_STEP)
    ]

    def distance(size: tuple[int, int]) -> int:
        return abs(backbone_macs(arch, dense(arch.depths), *size[::-1]).total - budget)

    return min(sizes, key=distance)


def model_costs(
    model: nn.Module, cfg: Config, candidates: Sequence[Candidate]
) -> list[tuple[tuple[int, int], float]]:
    """Counts what the whole model costs on one image, padded as the model pads it.

    Args:
        model: In evaluation mode.
        cfg: Its config, whose test pipeline resizes to a size.
        candidates: What to count.

    Returns:
        For each candidate the width and height of its input, and GMACs.
    """
    prunable = find_prunable_backbone(model)
    own, found, divisor = prunable.pruning_schedule, [], size_divisor(cfg)
    for candidate in candidates:
        shape = resized_shape(_scaled(cfg, candidate))
        assert shape is not None
        prunable.pruning_schedule = candidate.schedule
        height, width = (-(-side // divisor) * divisor for side in shape)
        report = cost_report(model, cfg, height, width, 1, prunable)
        found.append((shape[::-1], report.macs / 1e9))
    prunable.pruning_schedule = own
    return found


def model_latency(
    model: Any,
    cfg: Config,
    candidates: Sequence[Candidate],
    scenes: Sequence[int],
    runs: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Latency]:
    """Times the whole model on the CPU, from the image to the predictions, candidates interleaved.

    Args:
        model: In evaluation mode; its schedule is restored afterwards.
        cfg: Its config.
        candidates: Candidates to time.
        scenes: Indices of test images, which the runs see in turn.
        runs: Timed rounds.
        progress: Called after every round with the number done and the total.
    """
    prunable = find_prunable_backbone(model)
    own = prunable.pruning_schedule

    def forward(candidate: Candidate) -> Callable[[], None]:
        with DefaultScope.overwrite_default_scope(cfg.default_scope):
            dataset = DATASETS.build(_scaled(cfg, candidate).test_dataloader.dataset)
        batches = itertools.cycle([pseudo_collate([dataset[index]]) for index in scenes])

        def run() -> None:
            prunable.pruning_schedule = candidate.schedule
            model.test_step(next(batches))

        return run

    done = itertools.count(1)
    with torch.inference_mode():
        timed = measure_latency(
            {candidate.name: forward(candidate) for candidate in candidates},
            warmup=len(scenes),
            runs=runs,
            device='cpu',
            progress=lambda: progress(next(done), len(scenes) + runs),
        )
    prunable.pruning_schedule = own
    return [timed[candidate.name] for candidate in candidates]


def above_lower_resolution(result: Result, results: Sequence[Result]) -> float | None:
    """Box AP above that of dense images of the size that takes as long; None if there is none."""
    curve = [(each.latency.median, each.box_ap) for each in results if each.dense]
    return above_curve(curve, result.latency.median, result.box_ap)


def comparison_table(results: Sequence[Result]) -> Table:
    """Makes the table of cost and AP.

    Args:
        results: The rows.
    """
    runs = len(results[0].latency.runs)
    table = Table(
        title='Skipped windows against lower resolution',
        caption=(
            'MACs and time are of the whole model on one image: MACs counted, time measured on '
            f'this machine, the median of {runs} runs that took turns. All rows are the same '
            'weights, which saw all these resolutions in training. The last column compares with '
            'the dense rows at equal time.'
        ),
    )
    table.add_column('')
    for column in ('input', 'GMACs', 'ms', 'box AP', 'mask AP', 'box AP ±'):
        table.add_column(column, justify='right')
    for number, result in enumerate(results):
        difference = None if result.dense else above_lower_resolution(result, results)
        table.add_row(
            result.candidate.name,
            f'{result.size[0]}×{result.size[1]}',
            f'{result.gmacs:.1f}',
            f'{result.latency.median:.0f}',
            f'{result.box_ap:.1f}',
            f'{result.mask_ap:.1f}',
            '' if difference is None else f'{difference:+.1f}',
            end_section=result.dense and not results[min(number + 1, len(results) - 1)].dense,
        )
    return table


def verdict(results: Sequence[Result]) -> str:
    """Says in words whether skipping windows beats lower resolution at equal time, and by what.

    Args:
        results: The rows; the first one is the dense model at full resolution.
    """
    full = results[0]
    found = [(above_lower_resolution(each, results), each) for each in results if not each.dense]
    compared = [(difference, each) for difference, each in found if difference is not None]
    slower = [each for _, each in found if each.latency.median > full.latency.median]
    if not compared:
        why = 'none is faster than the dense model' if slower else 'no dense row is as fast'
        return f'Skipped windows cannot be compared with lower resolution here: {why}.'
    difference, best = max(compared, key=lambda pair: pair[0])
    loss = full.box_ap - best.box_ap
    saved = 1 - best.latency.median / full.latency.median
    pays = 'pay' if difference > 0 else 'do not pay'
    return (
        f'Skipped windows {pays} here at equal time of the model. The best row, '
        f'"{best.candidate.name}", saves {saved:.0%} of the time of the whole model and '
        f'{_loses(loss)}; a smaller image that saves as much {_loses(loss + difference)}. '
        f'{"" if difference > 0 else _why_not(best, results)}'
        'This is one training and few scenes: differences of a point may be chance.'
    )


def _why_not(best: Result, results: Sequence[Result]) -> str:
    """Says what skipping lost by: a resolution that is worth nothing, or time that it takes.

    Args:
        best: The best of the rows that skip windows.
        results: All rows; the first one is the dense model at full resolution.
    """
    full = results[0]
    sharpest = max((each for each in results if each.dense), key=lambda each: each.box_ap)
    if sharpest is not full:
        return (
            f'Why: "{sharpest.candidate.name}" is the best of the dense rows, so the full '
            'resolution, which skipping keeps, is worth nothing to this network: most crops of its '
            'training show objects at smaller sizes. '
        )
    smaller = [each for each in results[1:] if each.dense]
    rival = min(smaller, key=lambda each: abs(each.gmacs - best.gmacs))
    paid = [
        f'{each.gmacs / full.gmacs:.0%} of the MACs in '
        f'{each.latency.median / full.latency.median:.0%} of the time'
        for each in (best, rival)
    ]
    return f'Why: it computes {paid[0]}, and "{rival.candidate.name}" {paid[1]}. '


def _loses(points: float) -> str:
    return f'{"loses" if points >= 0 else "gains"} {abs(points):.1f} points of box AP'


def _scaled(cfg: Config, candidate: Candidate) -> Config:
    scaled = deepcopy(cfg)
    apply_to_config(scaled, candidate.schedule)
    return scaled
