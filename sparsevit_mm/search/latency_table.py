"""Latency of a backbone or model as a table: an entry for each block and number of kept windows.

The table is measured once on the target device (`sparsevit_mm.search.measure`), kept in a file, and
summed for any schedule.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sparsevit_mm.errors import ConfigError
from sparsevit_mm.files import read_json, replace_text
from sparsevit_mm.search.cost import BACKBONE, MILLISECONDS, AdditiveCost, HeadCost, interpolated

_FORMAT = 'sparsevit_mm.LatencyTable'


@dataclass(frozen=True)
class LatencyConditions:
    """Conditions of a latency measurement; a table is valid only under its own.

    Attributes:
        device: Name of the GPU or CPU.
        threads: Number of CPU threads.
        dtype: 'float32', 'float16' or 'bfloat16'.
        batch: Number of images.
        height: Height of the network's input in pixels.
        width: Width of the network's input in pixels.
        compile: Mode of `torch.compile` for the blocks, None for eager.
        arch: Sizes of the backbone as text.
        versions: Versions of torch and of this package.
        importance: Name of what ranked the windows.
        of: 'backbone', which ran on noise, or 'model', which ran on real images.
        network: Digest of the model's config; None for a backbone.
        scale: Input scale, over that of the config.
    """

    device: str
    threads: int
    dtype: str
    batch: int
    height: int
    width: int
    compile: str | None
    arch: str
    versions: Mapping[str, str]
    importance: str | None = 'l2'
    of: str = BACKBONE
    network: str | None = None
    scale: float = 1.0


@dataclass(frozen=True)
class TableCheck:
    """How well a table predicts the latency of schedules it was not made from.

    Attributes:
        predicted: Latency of each schedule according to the table, in milliseconds.
        measured: Median latency of each schedule, in milliseconds.
        noise: Uncertainty of each median as a share of it: half the difference between the medians
            of the odd and the even runs.
    """

    predicted: tuple[float, ...]
    measured: tuple[float, ...]
    noise: tuple[float, ...]

    @property
    def errors(self) -> tuple[float, ...]:
        """|predicted - measured| / measured of each schedule."""
        return tuple(abs(p - m) / m for p, m in zip(self.predicted, self.measured))

    def __str__(self) -> str:
        return (
            f'{len(self.measured)} schedules that the table was not made from: error '
            f'{_median_and_p95(self.errors)}; noise of this machine {_median_and_p95(self.noise)}'
        )


class LatencyTable(AdditiveCost):
    """Prices schedules by measured entries, interpolated between measured numbers of windows.

    Args:
        constant: Milliseconds outside the blocks.
        num_windows: Windows in the grid of each stage.
        blocks: For each stage and block, milliseconds by the number of kept windows.
        conditions: Conditions of the measurement.
        check: How well it predicts, if that was measured.
        rankings: Of other importances than that of the conditions, by name, the milliseconds that
            ranking takes more in each stage.
        outside: Milliseconds of the constant that the model takes outside its backbone.
        proposals: By number of proposals, the milliseconds over those of the model's own number.
        scaled: Tables at other input scales than the config's own, by scale.
        heads: Milliseconds of a sparse neck and head; None where they are dense.
    """

    unit = MILLISECONDS
    scaled: dict[float, LatencyTable]

    def __init__(
        self,
        constant: float,
        num_windows: Sequence[int],
        blocks: Sequence[Sequence[Mapping[int, float]]],
        conditions: LatencyConditions,
        check: TableCheck | None = None,
        rankings: Mapping[str, Sequence[float]] | None = None,
        outside: float = 0.0,
        proposals: Mapping[int, float] | None = None,
        scaled: Mapping[float, LatencyTable] | None = None,
        heads: HeadCost | None = None,
    ) -> None:
        self.heads = heads
        self.proposals = dict(proposals or {})
        self.scaled: dict[float, LatencyTable] = dict(scaled or {})
        self.constant, self.outside = constant, outside
        self.num_windows = tuple(num_windows)
        self.blocks = tuple(
            tuple(dict(sorted(block.items())) for block in stage) for stage in blocks
        )
        self.conditions = conditions
        self.check = check
        self.rankings = {name: tuple(of_name) for name, of_name in (rankings or {}).items()}

    def ranking_cost(self, stage: int, importance: str | None) -> float:
        """Milliseconds, see `AdditiveCost`."""
        if importance is None or importance == self.conditions.importance:
            return 0.0
        return self.rankings[importance][stage]

    def lacks(
        self, importances: Sequence[str | None], proposals: Sequence[int | None] = ()
    ) -> list[str]:
        """Importances whose ranking, and numbers of proposals whose time, was not measured."""
        known = {None, self.conditions.importance, *self.rankings}
        lacking = [name for name in importances if name is not None and name not in known]
        numbers = [n for n in proposals if n is not None and n not in self.proposals]
        return lacking + [f'{number} proposals' for number in numbers]

    def proposals_cost(self, number: int | None) -> float:
        """Milliseconds, see `AdditiveCost`."""
        return 0.0 if number is None else self.proposals[number]

    def block_cost(self, stage: int, block: int, kept: int) -> float:
        """Milliseconds of one block, including the merging or norms before it."""
        return interpolated(self.blocks[stage][block], kept)

    def differences(self, conditions: LatencyConditions) -> str:
        """Describes how the conditions differ from others; empty if they are the same."""
        ours, theirs = asdict(self.conditions), asdict(conditions)
        return ', '.join(
            f'its {name} is {ours[name]} instead of {theirs[name]}'
            for name in ours
            if ours[name] != theirs[name]
        )

    def to_dict(self) -> dict[str, Any]:
        """The table as JSON-ready data."""
        return {
            'format': _FORMAT,
            'version': 1,
            'unit': self.unit,
            'conditions': asdict(self.conditions),
            'check': None
            if self.check is None
            else {'text': str(self.check), **asdict(self.check)},
            'constant': self.constant,
            'outside': self.outside,
            'num_windows': list(self.num_windows),
            'proposals': {str(number): ms for number, ms in self.proposals.items()},
            'heads': None if self.heads is None else _head_dict(self.heads),
            'scaled': {str(scale): table.to_dict() for scale, table in self.scaled.items()},
            'rankings': {name: list(of_name) for name, of_name in self.rankings.items()},
            'blocks': [[{str(k): ms for k, ms in b.items()} for b in s] for s in self.blocks],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> LatencyTable:
        """Reads `to_dict`'s data."""
        check = dict(data['check'] or {})
        check.pop('text', None)
        return cls(
            data['constant'],
            data['num_windows'],
            [[{int(k): ms for k, ms in b.items()} for b in s] for s in data['blocks']],
            LatencyConditions(**data['conditions']),
            TableCheck(**{key: tuple(of_key) for key, of_key in check.items()}) if check else None,
            data.get('rankings'),
            data['outside'],
            {int(number): ms for number, ms in data['proposals'].items()},
            {float(scale): cls.from_dict(one) for scale, one in data['scaled'].items()},
            None if data['heads'] is None else _head_cost(data['heads']),
        )

    def save(self, path: str | Path) -> None:
        """Writes the table as JSON.

        Raises:
            ConfigError: If the file cannot be written.
        """
        replace_text(path, json.dumps(self.to_dict(), indent=1) + '\n')

    @classmethod
    def load(cls, path: str | Path) -> LatencyTable:
        """Reads a table from JSON.

        Raises:
            ConfigError: If the file is missing or holds no table.
        """
        data = read_json(path, 'the latency table')
        try:
            table = cls.from_dict(data)
            table.check_whole()
            str(table.check)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            raise ConfigError(
                f'the latency table {path} cannot be read: it was not written by a search.'
            ) from None
        return table

    def check_whole(self) -> None:
        """Checks that every block has a latency.

        Raises:
            ValueError: If there is no block, or an entry is no number of milliseconds.
        """
        entries = [ms for stage in self.blocks for block in stage for ms in block.values()]
        blocks = [block for stage in self.blocks for block in stage]
        rankings = self.rankings.values()
        for table in self.scaled.values():
            table.check_whole()
        constants = [self.constant, self.outside, *self.proposals.values()]
        if self.heads is not None:
            constants += [self.heads.coarse, *self.heads.num_windows]
            constants += [ms for stage in self.heads.stages for ms in stage.values()]
        numbers = [*constants, *entries, *self.num_windows, *(ms for r in rankings for ms in r)]
        if any(len(of_name) != len(self.num_windows) for of_name in rankings):
            raise ValueError('a stage has no latency of its ranking.')
        if not blocks or not all(blocks) or len(self.num_windows) != len(self.blocks):
            raise ValueError('a block has no latency.')
        if not all(_is_number(number) for number in numbers):
            raise ValueError('a latency is no number.')


def _head_dict(heads: HeadCost) -> dict[str, Any]:
    stages = [{str(kept): ms for kept, ms in stage.items()} for stage in heads.stages]
    return {'coarse': heads.coarse, 'num_windows': list(heads.num_windows), 'stages': stages}


def _head_cost(data: Mapping[str, Any]) -> HeadCost:
    stages = tuple({int(kept): ms for kept, ms in stage.items()} for stage in data['stages'])
    return HeadCost(data['coarse'], tuple(data['num_windows']), stages)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < float('inf')


def _median_and_p95(shares: Sequence[float]) -> str:
    ranked = sorted(shares)
    p95 = ranked[min(int(0.95 * len(ranked)), len(ranked) - 1)]
    return f'median {statistics.median(ranked):.1%}, 95th percentile {p95:.1%}'
