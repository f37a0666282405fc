"""Formats a table as Markdown, with published numbers beside our own."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from projects.paper_tables.results import TableResults
from projects.paper_tables.table import Column, PaperTable, Row
from sparsevit_mm.errors import ConfigError

_DIGITS = str.maketrans('0123456789', '⁰¹²³⁴⁵⁶⁷⁸⁹')
_NOTHING = '–'

_Cell = Callable[[Row], str | None]


def markdown(
    table: PaperTable,
    results: TableResults,
    rows: Sequence[Row],
    columns: Sequence[str] | None = None,
) -> str:
    """Formats a table without its empty columns.

    Args:
        table: The table.
        results: Its results so far.
        rows: The rows to show.
        columns: Names of the paper's columns to show; all by default.

    Raises:
        ConfigError: If there is no column of a name.
    """
    unknown = [key for key in columns or () if key not in table.columns]
    if unknown:
        raise ConfigError(
            f'columns hold {unknown[0]}, but {table.name} has {", ".join(table.columns)}.'
        )
    numbers = _number_notes(rows)
    cells: list[tuple[str, _Cell]] = [
        ('', lambda row: row.label + ''.join(f' {numbers[n]}' for n in row.notes)),
        ('input', lambda row: f'{row.height}×{row.width}' if row.height else None),
    ]
    if columns is None and all(column.counted != 'params' for column in table.columns.values()):
        cells.append(('M parameters, *counted*', lambda row: _counted(results, row, 'params')))
    for key, column in table.columns.items():
        if columns is None or key in columns:
            cells += _column(table, results, key, column)
    filled = [(title, [cell(row) for row in rows]) for title, cell in cells]
    shown = [(title, texts) for title, texts in filled if any(texts)]
    lines = [
        f'# {table.title}',
        '',
        '| ' + ' | '.join(title for title, _ in shown) + ' |',
        '|' + '|'.join(['---', *['---:'] * (len(shown) - 1)]) + '|',
    ]
    for line in zip(*(texts for _, texts in shown)):
        lines.append('| ' + ' | '.join(text or _NOTHING for text in line) + ' |')
    lines += ['', *_provenance(table, results)]
    footnotes = [f'{number} {table.footnotes[note]}' for note, number in numbers.items()]
    absent = [f'{row.label}: {row.missing}' for row in rows if row.missing]
    absent += [
        f'{row.label}, accuracy: {reason.rstrip(".")}.'
        for row in rows
        if not row.missing and (reason := results.of(row.name).reason)
    ]
    for entries in (footnotes, table.remarks, [table.missing] if table.missing else [], absent):
        lines += [f'- {entry}' for entry in entries]
    return '\n'.join(lines).rstrip() + '\n'


def _number_notes(rows: Sequence[Row]) -> dict[str, str]:
    notes = dict.fromkeys(note for row in rows for note in row.notes)
    return {note: str(number).translate(_DIGITS) for number, note in enumerate(notes, start=1)}


def _column(
    table: PaperTable, results: TableResults, key: str, column: Column
) -> list[tuple[str, _Cell]]:
    """The columns for one of the paper's: published, ours, and both relative to the dense row."""

    def published(row: Row) -> str | None:
        return _number(row.published.get(key))

    cells: list[tuple[str, _Cell]] = [(f'{column.title}, *paper*', published)]
    counted, measured, metric = column.counted, column.measured, column.metric
    if counted is not None:
        cells.append((f'{column.title}, *counted*', lambda row: _counted(results, row, counted)))
    if measured is not None:
        share = f'time of {table.reference}'
        cells += [
            (f'{column.title}, *measured*', lambda row: _measured(results, row, measured)),
            (
                f'time of {table.reference}, *paper*',
                lambda row: _paper_share(table, row, key, measured),
            ),
            (f'{share}, *measured*', lambda row: _share(table, results, row)),
        ]
    if metric is not None:

        def evaluated(row: Row) -> str | None:
            value = results.of(row.name).accuracy.get(metric)
            return None if value is None else f'{value * column.factor:.1f}'

        cells.append((f'{column.title}, *measured*', evaluated))
    return cells


def _counted(results: TableResults, row: Row, what: str) -> str | None:
    result = results.of(row.name)
    if what == 'params':
        return None if result.params is None else f'{result.params / 1e6:.2f}'
    return None if result.macs is None else f'{result.macs / 1e9:.1f}'


def _measured(results: TableResults, row: Row, what: str) -> str | None:
    latency = results.latency(row.name)
    if latency is None or results.conditions is None:
        return None
    if what == 'img_s':
        return f'{results.conditions.batch * 1e3 / latency.median:.1f}'
    first, third = latency.quartiles
    return f'{latency.median:.1f} ({first:.1f} to {third:.1f})'


def _paper_share(table: PaperTable, row: Row, key: str, what: str) -> str | None:
    dense = table.choose([table.dense])[0].published.get(key)
    own = row.published.get(key)
    if dense is None or own is None:
        return None
    return f'{own / dense if what == "ms" else dense / own:.2f}×'


def _share(table: PaperTable, results: TableResults, row: Row) -> str | None:
    own, dense = results.latency(row.name), results.latency(table.dense)
    return None if own is None or dense is None else f'{own.median / dense.median:.2f}×'


def _provenance(table: PaperTable, results: TableResults) -> list[str]:
    images = _several(table.batch, 'image')
    lines = [
        f'- *paper*: {table.source}; latency: {table.conditions}.',
    ]
    if any(row.params or row.macs for row in results.rows.values()):
        lines.append(
            f'- *counted*: by this package, at the input of the row; MACs of {images}.',
        )
    found = results.conditions
    if found is not None and any(results.runs.values()):
        rounds = min(len(runs) for runs in results.runs.values())
        scaled = '' if found.scale == 1 else f', inputs scaled by {found.scale:g}'
        threads = _several(found.threads, 'thread')
        lines.append(
            f'- *measured*: on {found.device}, {threads}, torch {found.torch}, {found.dtype}, a '
            f'batch of {found.batch}{scaled}; rows took turns, median and '
            f'quartiles of {rounds} rounds; `{results.command}`.'
        )
    return lines


def _several(number: int, noun: str) -> str:
    return f'{number} {noun}' if number == 1 else f'{number} {noun}s'


def _number(value: float | None) -> str | None:
    """A number with the digits of its publication."""
    return None if value is None else str(value)
