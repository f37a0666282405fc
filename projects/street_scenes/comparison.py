"""Compares skipping windows with lowering the resolution: cost and AP of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from rich.table import Table
from torch import nn

from sparsevit_mm.models.swin_arch import SwinArch
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
        width: Width in pixels to which images are resized.
        height: Height in pixels.
        schedule: Pruning schedule.
    """

    name: str
    width: int
    height: int
    schedule: PruningSchedule

    @property
    def key(self) -> str:
        """Name in files."""
        return f'{self.name.replace(" ", "-")}-{self.width}x{self.height}'

    def macs(self, arch: SwinArch) -> int:
        """MACs of the backbone for one image, counted."""
        return backbone_macs(arch, self.schedule, self.height, self.width).total

    def kept_share(self, arch: SwinArch) -> float:
        """Share of the windows of all blocks that are computed, in (0, 1]."""
        stages = self.schedule.kept_windows(
            self.height, self.width, arch.patch_size, arch.window_size
        )
        counts = [count for stage in stages for count in stage]
        return sum(count.kept for count in counts) / sum(count.total for count in counts)


def list_candidates(
    arch: SwinArch, width: int, height: int, sparse: Mapping[str, Any]
) -> list[Candidate]:
    """Lists the dense network, sparse ones, and for each of these a dense one of equal MACs.

    Args:
        arch: Sizes of the backbone.
        width: Full image width in pixels.
        height: Full image height in pixels.
        sparse: Pruning schedules by name, in any form `pruning_ratios` takes.
    """
    dense = PruningSchedule.dense(arch.depths)
    found = [Candidate('dense', width, height, dense)]
    for name, ratios in sparse.items():
        schedule = PruningSchedule.parse(ratios, arch.depths)
        found.append(Candidate(name, width, height, schedule))
        found.append(_at_equal_macs(arch, found[-1], dense))
    return found


def _at_equal_macs(arch: SwinArch, sparse: Candidate, dense: PruningSchedule) -> Candidate:
    """The dense network at the resolution whose MACs are nearest to those of a sparse one."""
    budget, aspect = sparse.macs(arch), sparse.height / sparse.width
    smaller = [
        Candidate('dense', width, round(width * aspect), dense)
        for width in range(sparse.width - _SIZE_STEP, _SIZE_STEP, -_SIZE_STEP)
    ]
    return min(smaller, key=lambda candidate: abs(candidate.macs(arch) - budget))


def backbone_latency(
    backbone: nn.Module, candidates: Sequence[Candidate], runs: int
) -> list[Latency]:
    """Times the backbone on one image on the CPU, with the candidates interleaved.

    Args:
        backbone: In evaluation mode; its schedule is restored afterwards.
        candidates: Candidates to time.
        runs: Timed rounds.
    """
    prunable = find_prunable_backbone(backbone)
    own = prunable.pruning_schedule

    def forward(candidate: Candidate) -> Callable[[], None]:
        image = torch.rand(1, 3, candidate.height, candidate.width)

        def run() -> None:
            prunable.pruning_schedule = candidate.schedule
            backbone(image)

        return run

    with torch.inference_mode():
        timed = measure_latency(
            {str(number): forward(candidate) for number, candidate in enumerate(candidates)},
            runs=runs,
            device='cpu',
        )
    prunable.pruning_schedule = own
    return [timed[str(number)] for number in range(len(candidates))]


def comparison_table(
    candidates: Sequence[Candidate],
    arch: SwinArch,
    metrics: Sequence[Mapping[str, float]],
    latencies: Sequence[Latency],
) -> Table:
    """Makes the table of cost and AP.

    Args:
        candidates: The rows; those from the second on come in pairs of equal MACs.
        arch: Sizes of the backbone.
        metrics: For each row what `CocoMetric` returned.
        latencies: For each row the backbone's latency.
    """
    runs = len(latencies[0].runs)
    table = Table(
        title='Skipped windows against lower resolution',
        caption=(
            'Windows, MACs and latency are of the backbone on one image: MACs counted, latency '
            f'measured on this machine, the median of {runs} runs that took turns. Rows below '
            'each other have equal MACs; all rows are the same weights.'
        ),
    )
    table.add_column('')
    for column in ('input', 'windows', 'MMACs', 'ms', 'box AP', 'mask AP'):
        table.add_column(column, justify='right')
    for number, (candidate, scores, latency) in enumerate(zip(candidates, metrics, latencies)):
        table.add_row(
            candidate.name,
            f'{candidate.width}×{candidate.height}',
            f'{candidate.kept_share(arch):.0%}',
            f'{candidate.macs(arch) / 1e6:.0f}',
            f'{latency.median:.1f}',
            f'{100 * scores["coco/bbox_mAP"]:.1f}',
            f'{100 * scores["coco/segm_mAP"]:.1f}',
            end_section=number % 2 == 0,
        )
    return table
