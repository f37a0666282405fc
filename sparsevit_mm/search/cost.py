"""The cost of a schedule as a sum over blocks.

Such a cost prices ten thousand schedules in a fraction of a second, and its lowest and highest
value over a whole search space can be computed exactly.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sparsevit_mm.profiling.macs import Arch, backbone_macs
from sparsevit_mm.pruning.schedule import PruningSchedule
from sparsevit_mm.pruning.selection import num_kept_windows
from sparsevit_mm.search.space import SearchSpace

MACS = 'MACs'
MILLISECONDS = 'ms'

MODEL = 'model'
BACKBONE = 'backbone'
PARTS = (MODEL, BACKBONE)
"""What a cost can be of."""


@dataclass(frozen=True)
class HeadCost:
    """What skipped windows of a sparse neck and head cost, over computing all of them.

    Attributes:
        coarse: Cost of the coarse pass, if any stage skips windows.
        num_windows: Windows in the grid of each stage; 0 where neck and head skip none.
        stages: For each stage, cost by the number of kept windows, interpolated between them;
            empty where neck and head skip none.
    """

    coarse: float
    num_windows: tuple[int, ...]
    stages: tuple[Mapping[int, float], ...]

    def of_stage(self, stage: int, ratio: float) -> float:
        """Cost of a ratio in a stage; none at 0."""
        if ratio == 0:
            return 0
        return interpolated(self.stages[stage], num_kept_windows(self.num_windows[stage], ratio))

    def price(self, ratios: Sequence[float]) -> float:
        """Cost of the ratios of all stages."""
        if not any(ratios):
            return 0
        return self.coarse + sum(self.of_stage(stage, ratio) for stage, ratio in enumerate(ratios))

    def reachable(
        self, choices: Sequence[float], head_stages: Sequence[bool]
    ) -> tuple[float, float]:
        """Lowest and highest cost of all ratios from a list of choices."""
        stages = [stage for stage, has in enumerate(head_stages) if has]
        ends = []
        for best in (min, max):
            every = {s: best(self.of_stage(s, ratio) for ratio in choices) for s in stages}
            found = [0.0] if 0 in choices else []
            # At least one stage skips windows, or there is no coarse pass.
            for skipping in stages if any(choices) else ():
                of_skipping = best(self.of_stage(skipping, r) for r in choices if r)
                others = sum(cost for stage, cost in every.items() if stage != skipping)
                found.append(self.coarse + of_skipping + others)
            ends.append(best(found))
        return ends[0], ends[1]


def interpolated(entries: Mapping[int, float], kept: int) -> float:
    """A measured cost by the number of kept windows; on a line between, and beyond, two numbers.

    Args:
        entries: Costs by number, ascending; at least one.
        kept: The number.
    """
    if kept in entries:
        return entries[kept]
    measured = list(entries)
    if len(measured) == 1:
        return entries[measured[0]]
    above = min(max(bisect_left(measured, kept), 1), len(measured) - 1)
    low, high = measured[above - 1], measured[above]
    share = (kept - low) / (high - low)
    return entries[low] + share * (entries[high] - entries[low])


class AdditiveCost(ABC):
    """Cost of a schedule: a constant plus one term per block, and others for what is beside them.

    Attributes:
        unit: `MACS` or `MILLISECONDS`.
        constant: Cost that does not depend on the schedule.
        outside: The part of it that is of the model around the backbone.
        num_windows: Windows in the grid of each stage; 0 in stages without windows, whose cost is
            part of the constant.
        scaled: Costs at other input scales than the config's own, by scale.
        heads: Cost of a sparse neck and head; None where they are dense.
    """

    unit: str
    constant: float
    outside: float = 0
    num_windows: tuple[int, ...]
    scaled: Mapping[float, AdditiveCost] = {}
    heads: HeadCost | None = None

    @abstractmethod
    def block_cost(self, stage: int, block: int, kept: int) -> float:
        """Cost of one block.

        Args:
            stage: Index of the stage.
            block: Index of the block in its stage.
            kept: Windows that it computes in each image.
        """

    def ranking_cost(self, stage: int, importance: str | None) -> float:
        """Cost of ranking the windows of a stage, over that of the backbone's own importance.

        Args:
            stage: Index of the stage.
            importance: Name of what they are ranked by; None for the backbone's own.
        """
        return 0

    def proposals_cost(self, number: int | None) -> float:
        """Cost of a number of proposals, over that of the model's own number.

        Args:
            number: Proposals of a two-stage detector; None for the model's own number.
        """
        return 0

    def at(self, scale: float) -> AdditiveCost:
        """The cost at an input scale."""
        return self if scale == 1 else self.scaled[scale]

    def price(self, schedule: PruningSchedule) -> float:
        """Cost of a schedule."""
        if schedule.scale != 1:
            return self.scaled[schedule.scale].price(replace(schedule, scale=1.0))
        total = self.constant + self.proposals_cost(schedule.proposals)
        if self.heads is not None:
            total += self.heads.price(schedule.head_ratios)
        for stage, ratios in enumerate(schedule.ratios):
            if self.num_windows[stage]:
                total += sum(
                    self.block_cost(stage, block, num_kept_windows(self.num_windows[stage], ratio))
                    for block, ratio in enumerate(ratios)
                )
                if any(ratios):
                    total += self.ranking_cost(stage, schedule.importance)
        return total

    def reachable(self, space: SearchSpace) -> tuple[float, float]:
        """Computes the lowest and the highest cost of all schedules of a space.

        They need not belong to the sparsest and the densest schedule: in a measured table, a block
        may take longer with fewer windows.
        """
        ends = []
        for cost in map(self.at, space.scales):
            found = [cost._reachable_by(space, importance) for importance in space.importances]
            proposals = [cost.proposals_cost(number) for number in space.proposals]
            low = min(found)[0] + min(proposals)
            high = max(f[1] for f in found) + max(proposals)
            if cost.heads is not None and any(space.head_stages or ()):
                assert space.head_stages is not None
                heads = cost.heads.reachable(space.choices, space.head_stages)
                low, high = low + heads[0], high + heads[1]
            ends.append((low, high))
        return min(low for low, _ in ends), max(high for _, high in ends)

    def _reachable_by(self, space: SearchSpace, importance: str | None) -> tuple[float, float]:
        lowest = highest = self.constant
        for stage, genes in enumerate(space.num_genes):
            # Lowest and highest cost of the ratios so far that do not exceed each choice.
            ends = [(0.0, 0.0)] * len(space.choices)
            for gene in range(genes):
                costs = [self._gene_cost(space, stage, gene, ratio) for ratio in space.choices]
                if gene == genes - 1 and self.num_windows[stage]:
                    # The last ratio is the largest: if it is 0, nothing is ranked.
                    ranking = self.ranking_cost(stage, importance)
                    costs = [c + ranking if r else c for c, r in zip(costs, space.choices)]
                low, high, so_far = float('inf'), -float('inf'), []
                for cost, (before_low, before_high) in zip(costs, ends):
                    low, high = min(low, before_low + cost), max(high, before_high + cost)
                    so_far.append((low, high))
                # Ratios do not decrease inside a stage, hence the running extremes.
                ends = so_far
            lowest, highest = lowest + ends[-1][0], highest + ends[-1][1]
        return lowest, highest

    def show(self, cost: float) -> str:
        """Formats a cost with its unit, see `show_cost`."""
        return show_cost(cost, self.unit)

    def _gene_cost(self, space: SearchSpace, stage: int, gene: int, ratio: float) -> float:
        if not self.num_windows[stage]:
            return 0.0
        kept = num_kept_windows(self.num_windows[stage], ratio)
        blocks = space.blocks_of_gene(stage, gene)
        return sum(self.block_cost(stage, block, kept) for block in blocks)


class MacsCost(AdditiveCost):
    """Multiply-accumulates of a model or of its backbone, whose are those of `backbone_macs`.

    Args:
        arch: Sizes of the backbone.
        height: Input height in pixels.
        width: Input width in pixels.
        batch: Images the MACs are summed over.
        outside: MACs of the rest of the model, which no ratio changes; 0 for the backbone alone.
        proposals: By number of proposals, MACs over those of the model's own number.
        scaled: Costs at other input scales than the config's own, by scale.
    """

    unit = MACS

    def __init__(
        self,
        arch: Arch,
        height: int,
        width: int,
        batch: int = 1,
        outside: int = 0,
        proposals: Mapping[int, int] | None = None,
        scaled: Mapping[float, MacsCost] | None = None,
    ) -> None:
        self.proposals = dict(proposals or {})
        self.scaled: dict[float, MacsCost] = dict(scaled or {})
        dense = backbone_macs(arch, PruningSchedule.dense(arch.depths), height, width, batch)
        fixed = sum(block.fixed for blocks in dense.blocks for block in blocks)
        self.outside = outside
        self.constant = dense.patch_embed + sum(dense.merging) + fixed + outside
        not_computed = len(arch.depths) - arch.num_computed
        first = [blocks[0] for blocks in dense.blocks]
        self.num_windows = (*(block.total for block in first), *[0] * not_computed)
        self._per_window = tuple(
            (block.macs - block.fixed) // max(block.total, 1) for block in first
        )

    def proposals_cost(self, number: int | None) -> int:
        """MACs, see `AdditiveCost`."""
        return 0 if number is None else self.proposals[number]

    def block_cost(self, stage: int, block: int, kept: int) -> int:
        """MACs of one block over the batch."""
        return kept * self._per_window[stage]


def show_cost(cost: float, unit: str) -> str:
    """Formats a cost with its unit, such as '29.08 GMACs', '518.3 MMACs' or '35.2 ms'."""
    if unit != MACS:
        return f'{cost:.2f} {unit}' if cost < 10 else f'{cost:.1f} {unit}'
    return f'{cost / 1e9:.2f} GMACs' if cost >= 1e9 else f'{cost / 1e6:.1f} MMACs'
