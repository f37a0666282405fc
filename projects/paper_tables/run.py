"""Fills a table with counts, latency and accuracy, and saves each as soon as it is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from projects.paper_tables.accuracy import evaluate_row
from projects.paper_tables.networks import count_macs, count_parameters
from projects.paper_tables.plot import draw_table
from projects.paper_tables.report import markdown
from projects.paper_tables.results import TableResults
from projects.paper_tables.table import load_table
from projects.paper_tables.timing import time_rows
from sparsevit_mm.checks.configs import check_writable_folder
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.files import replace_text, written_whole
from sparsevit_mm.profiling.inputs import check_device, check_dtype

WHAT = ('params', 'macs', 'latency', 'accuracy')


def run_table(
    name: str,
    out_dir: str | Path,
    *,
    rows: Sequence[str] | None = None,
    what: Sequence[str] = ('params', 'macs', 'latency'),
    checkpoints: Mapping[str, str] | None = None,
    batch: int | None = None,
    runs: int = 20,
    warmup: int = 3,
    scale: float = 1.0,
    dtype: str = 'float32',
    device: str | None = None,
    command: str = '',
    progress: Callable[[str, int, int], None] | None = None,
) -> TableResults:
    """Fills a table and resumes an earlier run into the same folder.

    Writes `<name>.json`, `<name>.md` and, if there is something to plot, `<name>.png`.

    Args:
        name: Name of the table.
        out_dir: Folder of the results.
        rows: Names of rows; all by default. Rows that are timed are in memory together.
        what: What to compute, any of `WHAT`.
        checkpoints: Paths or addresses of weights by row.
        batch: Images per batch in timing; the table's by default.
        runs: Timed rounds.
        warmup: Rounds before timing starts.
        scale: Factor on the sides of the timed inputs, for machines that are too slow for the
            table's; MACs are always counted at the table's size.
        dtype: A key of `sparsevit_mm.profiling.inputs.DTYPES`, for timing.
        device: Device for timing; by default a GPU if there is one.
        command: Command line to record.
        progress: Called with the step, the number done and the total.

    Returns:
        All results so far.

    Raises:
        SparseVitError: If an argument is invalid.
    """
    table = load_table(name)
    chosen = table.choose(rows)
    _check(what, batch, runs, warmup, scale, dtype)
    unknown = set(checkpoints or {}) - {row.name for row in table.rows}
    if unknown:
        raise ConfigError(f'checkpoint names {sorted(unknown)[0]}, which is no row of {name}.')
    place = check_device(device)
    folder = Path(out_dir)
    check_writable_folder(folder, 'out_dir')
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f'{name}.json'
    results = TableResults.load(path, name)

    def save() -> None:
        results.save(path)

    def report(step: str, done: int, total: int) -> None:
        if progress is not None:
            progress(step, done, total)

    results.command = command
    networks = [row for row in chosen if row.network is not None]
    if {'params', 'macs'} & set(what):
        for number, row in enumerate(networks, start=1):
            if 'params' in what:
                results.of(row.name).params = count_parameters(row)
            if 'macs' in what:
                results.of(row.name).macs = count_macs(row, table.batch)
            report('Counting', number, len(networks))
    save()
    if 'latency' in what and networks:
        time_rows(
            networks,
            results,
            save,
            batch=batch or table.batch,
            runs=runs,
            warmup=warmup,
            scale=scale,
            dtype=dtype,
            device=place,
            progress=lambda done, total: report('Timing rounds', done, total),
        )
    if 'accuracy' in what:
        for row in chosen:
            evaluate_row(row, results.of(row.name), checkpoints or {}, folder / row.name)
            save()
    replace_text(folder / f'{name}.md', markdown(table, results, chosen))
    figure = draw_table(table, results, chosen)
    if figure is not None:
        with written_whole(folder / f'{name}.png') as file:
            figure.savefig(file)
    return results


def _check(
    what: Sequence[str], batch: int | None, runs: int, warmup: int, scale: float, dtype: str
) -> None:
    for item in what:
        if item not in WHAT:
            raise ConfigError(f'what holds {item!r}, but must be some of {", ".join(WHAT)}.')
    if not what or runs < 1 or warmup < 0 or scale <= 0 or (batch is not None and batch < 1):
        raise ConfigError(
            f'runs {runs}, warmup {warmup}, scale {scale} and batch {batch} were given, but there '
            'must be a run, no negative warm-up, and a positive scale and batch.'
        )
    check_dtype(dtype)
