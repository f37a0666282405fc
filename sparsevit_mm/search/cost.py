"""What a schedule costs, as a sum over blocks: the one form every budget is checked in.

A cost that is a sum prices ten thousand schedules in a fraction of a second, and its lowest and
highest value over a whole search space can be found exactly.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from sparsevit_mm.models.swin_arch import SwinArch
from sparsevit_mm.profiling.macs import backbone_macs
from sparsevit_mm.pruning.schedule import PruningSchedule, num_kept_windows
from sparsevit_mm.search.space import SearchSpace

MACS = 'MACs'
MILLISECONDS = 'ms'


class AdditiveCost(ABC):
    """Cost of a schedule: a constant and one summand a block.

    Attributes:
        unit: `MACS` or `MILLISECONDS`.
        constant: What does not depend on the schedule.
        num_windows: Windows in the grid of each stage.
    """

    unit: str
    constant: float
    num_windows: tuple[int, ...]

    @abstractmethod
    def block_cost(self, stage: int, block: int, kept: int) -> float:
        """Cost of one block that computes `kept` windows in each image."""

    def price(self, schedule: PruningSchedule) -> float:
        """Cost of a schedule."""
        return self.constant + sum(
            self.block_cost(stage, block, num_kept_windows(self.num_windows[stage], ratio))
            for stage, ratios in enumerate(schedule.ratios)
            for block, ratio in enumerate(ratios)
        )

    def reachable(self, space: SearchSpace) -> tuple[float, float]:
        """Lowest and highest cost of all schedules of a space, exactly.

        A measured table need not fall with every skipped window, so the ends are not simply the
        sparsest and the densest schedule.
        """
        lowest = highest = self.constant
        for stage, genes in enumerate(space.num_genes):
            # Cheapest and dearest way to end a stage's ratios at each choice or below.
            ends = [(0.0, 0.0)] * len(space.choices)
            for gene in range(genes):
                costs = [self._gene_cost(space, stage, gene, ratio) for ratio in space.choices]
                low, high, so_far = float('inf'), -float('inf'), []
                for cost, (before_low, before_high) in zip(costs, ends):
                    low, high = min(low, before_low + cost), max(high, before_high + cost)
                    so_far.append((low, high))
                # The next ratio may be any that is not smaller, hence the running extremes.
                ends = so_far
            lowest, highest = lowest + ends[-1][0], highest + ends[-1][1]
        return lowest, highest

    def show(self, cost: float) -> str:
        """A cost as people write it."""
        return show_cost(cost, self.unit)

    def _gene_cost(self, space: SearchSpace, stage: int, gene: int, ratio: float) -> float:
        kept = num_kept_windows(self.num_windows[stage], ratio)
        blocks = space.blocks_of_gene(stage, gene)
        return sum(self.block_cost(stage, block, kept) for block in blocks)


class MacsCost(AdditiveCost):
    """Multiply-accumulates of the backbone, equal to `backbone_macs` for every schedule.

    Args:
        arch: Sizes of the backbone.
        height: Input height in pixels.
        width: Input width in pixels.
        batch: Images the MACs are summed over.
    """

    unit = MACS

    def __init__(self, arch: SwinArch, height: int, width: int, batch: int = 1) -> None:
        dense = backbone_macs(arch, PruningSchedule.dense(arch.depths), height, width, batch)
        self.constant = dense.patch_embed + sum(dense.merging)
        self.num_windows = tuple(blocks[0].total for blocks in dense.blocks)
        self._per_window = tuple(blocks[0].macs // blocks[0].total for blocks in dense.blocks)

    def block_cost(self, stage: int, block: int, kept: int) -> int:
        """MACs of one block over the batch."""
        return kept * self._per_window[stage]


def show_cost(cost: float, unit: str) -> str:
    """A cost with its unit: '29.08 GMACs', '518.3 MMACs' or '35.2 ms'."""
    if unit != MACS:
        return f'{cost:.2f} {unit}' if cost < 10 else f'{cost:.1f} {unit}'
    return f'{cost / 1e9:.2f} GMACs' if cost >= 1e9 else f'{cost / 1e6:.1f} MMACs'
