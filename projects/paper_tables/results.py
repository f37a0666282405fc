"""The results of a table's rows, kept on disk between runs."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sparsevit_mm.errors import ConfigError
from sparsevit_mm.files import replace_text
from sparsevit_mm.profiling.latency import Latency


@dataclass(frozen=True)
class Conditions:
    """Conditions of a latency measurement; runs under different ones are never mixed.

    Attributes:
        device: Name of the device.
        threads: Threads of a CPU.
        torch: Version of torch.
        dtype: Type of weights and images.
        batch: Images per batch.
        scale: Factor on the sides of every row's input, 1 for the table's own.
        warmup: Rounds before timing starts or resumes.
        rows: Rows that were interleaved.
    """

    device: str
    threads: int
    torch: str
    dtype: str
    batch: int
    scale: float
    warmup: int
    rows: tuple[str, ...]


@dataclass
class RowResult:
    """Results of one row.

    Attributes:
        params: Parameters of the network.
        macs: MACs over the table's batch.
        accuracy: The evaluator's numbers by its names.
        checkpoint: The evaluated checkpoint.
        reason: Why the row could not be evaluated.
    """

    params: int | None = None
    macs: int | None = None
    accuracy: dict[str, float] = field(default_factory=dict)
    checkpoint: str | None = None
    reason: str | None = None


@dataclass
class TableResults:
    """Results of a table.

    Attributes:
        table: Name of the table.
        command: Command that produced them.
        rows: Results by row.
        conditions: Conditions of the latency; None if it was not measured.
        runs: Every timed run of every row in milliseconds.
    """

    table: str
    command: str = ''
    rows: dict[str, RowResult] = field(default_factory=dict)
    conditions: Conditions | None = None
    runs: dict[str, list[float]] = field(default_factory=dict)

    def of(self, row: str) -> RowResult:
        """Returns the results of a row; empty ones if there are none yet."""
        return self.rows.setdefault(row, RowResult())

    def latency(self, row: str) -> Latency | None:
        """Latency of a row, None if it was not measured."""
        runs = self.runs.get(row)
        return Latency(tuple(runs)) if runs else None

    def save(self, path: Path) -> None:
        """Writes a JSON file."""
        replace_text(path, json.dumps(asdict(self), indent=2) + '\n')

    @classmethod
    def load(cls, path: Path, table: str) -> TableResults:
        """Reads the results of an earlier run; empty ones if there is no file.

        Raises:
            ConfigError: If the file holds something else, or another table.
        """
        if not path.exists():
            return cls(table)
        try:
            data: dict[str, Any] = json.loads(path.read_text(encoding='utf-8'))
            conditions = data.pop('conditions')
            rows = {name: RowResult(**row) for name, row in data.pop('rows').items()}
            if conditions is not None:
                conditions = Conditions(**{**conditions, 'rows': tuple(conditions['rows'])})
            results = cls(rows=rows, conditions=conditions, **data)
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            raise ConfigError(
                f'{path} does not hold the results of a table: move it away or choose another '
                'folder.'
            ) from None
        if results.table != table:
            raise ConfigError(f'{path} holds the results of {results.table}, not of {table}.')
        return results
