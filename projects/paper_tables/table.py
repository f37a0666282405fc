"""The tables of the papers as data: rows, columns, published numbers and their source.

Each table is one YAML file in `tables/`, with the fields of the classes here. It holds published
numbers only; illegible ones are left out, and rows that cannot be reproduced say why.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from sparsevit_mm.errors import ConfigError

_ROOT = Path(__file__).parents[2]  # of the sources, or what `mim` installs
_FOLDER = resources.files('projects.paper_tables') / 'tables'

COUNTED = ('params', 'macs')
MEASURED = ('ms', 'img_s')


@dataclass(frozen=True)
class Column:
    """A column of published numbers.

    Attributes:
        title: Title in the paper, with its unit.
        counted: 'params' (millions) or 'macs' (billions over the table's batch), if this package
            counts it.
        measured: 'ms' (of a batch) or 'img_s' (images a second), if this package measures it.
        metric: Name in the results of the config's evaluator, if this package evaluates it.
        factor: Factor from the evaluator's number to the paper's.
    """

    title: str
    counted: str | None = None
    measured: str | None = None
    metric: str | None = None
    factor: float = 1

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ('counted', self.counted, COUNTED),
            ('measured', self.measured, MEASURED),
        ):
            if value is not None and value not in allowed:
                raise ConfigError(f'{name} is {value!r}, but must be one of {", ".join(allowed)}.')


@dataclass(frozen=True)
class Row:
    """One network of a table.

    Attributes:
        name: Name on the command line.
        label: Name in the paper.
        family: Rows of one family are joined by a line in plots.
        config: Path of the config that trains and tests it, from the root of the repository.
        checkpoint: Address of published weights.
        network: Config of the network that is counted and timed.
        ratios: Pruning ratios to test the checkpoint at, if not the config's.
        cfg_options: Fields of the config to replace in the test.
        height: Height of the input in pixels.
        width: Width of the input in pixels.
        published: Published numbers by column.
        notes: Keys of the table's footnotes.
        missing: Why the row cannot be reproduced, if it cannot.
    """

    name: str
    label: str
    family: str
    config: str | None = None
    checkpoint: str | None = None
    network: Mapping[str, Any] | None = None
    ratios: Any = None
    cfg_options: Mapping[str, Any] = field(default_factory=dict)
    height: int | None = None
    width: int | None = None
    published: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    missing: str | None = None

    @property
    def config_path(self) -> Path | None:
        """Path of the config in the repository, or in the installed package's copy of it."""
        if self.config is None:
            return None
        return _ROOT / self.config

    @property
    def command(self) -> str | None:
        """Command that evaluates the row."""
        if self.config is None:
            return None
        words = ['python', 'tools/test.py', self.config, self.checkpoint or 'CHECKPOINT']
        if self.ratios is not None:
            words += ['--ratios', str(self.ratios)]
        if self.cfg_options:
            words += ['--cfg-options', *(f'{key}={v}' for key, v in self.cfg_options.items())]
        return shlex.join(words)


@dataclass(frozen=True)
class PaperTable:
    """A table of a paper.

    Attributes:
        name: Name on the command line.
        title: What it compares, and its authors.
        source: Source of the published numbers.
        conditions: Conditions of the published latency, as far as known.
        batch: Number of images that MACs and latency refer to.
        dense: Row relative to which latency is given.
        columns: Its columns by name.
        headline: Column that plots show.
        rows: Its rows.
        footnotes: Remarks on single rows, by key.
        remarks: Remarks on all rows.
        missing: What cannot be reproduced, and why.

    Raises:
        ConfigError: If rows, columns and footnotes do not fit together.
    """

    name: str
    title: str
    source: str
    conditions: str
    batch: int
    dense: str
    columns: Mapping[str, Column]
    headline: str
    rows: tuple[Row, ...]
    footnotes: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    missing: str | None = None

    def __post_init__(self) -> None:
        names = [row.name for row in self.rows]
        if len(set(names)) != len(names) or self.dense not in names:
            raise ConfigError(f'rows of {self.name} must differ in name and hold {self.dense}.')
        if self.headline not in self.columns:
            raise ConfigError(f'headline of {self.name} is {self.headline}, which is no column.')
        for row in self.rows:
            unknown = [key for key in row.published if key not in self.columns]
            unknown += [note for note in row.notes if note not in self.footnotes]
            if unknown:
                raise ConfigError(
                    f'row {row.name} of {self.name} names {unknown[0]}, but the table has no such '
                    'column or footnote.'
                )
            if row.network is None and row.missing is None:
                raise ConfigError(
                    f'row {row.name} of {self.name} has no network, so it must say what is missing.'
                )
            if row.network is not None and not (row.height and row.width):
                raise ConfigError(f'row {row.name} of {self.name} has a network but no size.')

    @property
    def reference(self) -> str:
        """Reference of relative latency: 'dense' among schedules, otherwise the label of a row."""
        schedules = any('pruning_ratios' in (row.network or {}) for row in self.rows)
        return 'dense' if schedules else self.choose([self.dense])[0].label

    def choose(self, names: Iterable[str] | None) -> list[Row]:
        """Returns the rows of these names in the table's order; all rows for None.

        Raises:
            ConfigError: If there is no row of a name.
        """
        if names is None:
            return list(self.rows)
        wanted, known = set(names), [row.name for row in self.rows]
        if not wanted <= set(known):
            raise ConfigError(
                f'rows hold {sorted(wanted - set(known))[0]}, but {self.name} has '
                f'{", ".join(known)}.'
            )
        return [row for row in self.rows if row.name in wanted]


def table_names() -> list[str]:
    """Names of all tables."""
    return sorted(
        file.name.removesuffix('.yml') for file in _FOLDER.iterdir() if file.name.endswith('.yml')
    )


def load_table(name: str) -> PaperTable:
    """Reads a table.

    Args:
        name: One of `table_names`.

    Raises:
        ConfigError: If there is no such table, or its file is wrong.
    """
    if name not in table_names():
        raise ConfigError(f'table is {name!r}, but must be one of {", ".join(table_names())}.')
    data = yaml.safe_load((_FOLDER / f'{name}.yml').read_text(encoding='utf-8'))
    columns = {key: Column(**column) for key, column in data.pop('columns').items()}
    rows = tuple(Row(**{**row, 'notes': tuple(row.get('notes', ()))}) for row in data.pop('rows'))
    remarks = tuple(data.pop('remarks', ()))
    return PaperTable(name=name, columns=columns, rows=rows, remarks=remarks, **data)
