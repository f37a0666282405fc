"""The tables of both papers: listed, shown, and counted, measured and evaluated here."""

from __future__ import annotations

import argparse
import contextlib
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import _projects  # noqa: F401
from _arguments import say_written, tool_parser
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from projects.paper_tables.report import markdown
from projects.paper_tables.results import TableResults
from projects.paper_tables.run import WHAT, run_table
from projects.paper_tables.table import load_table, table_names
from sparsevit_mm.apis.progress import LoggedProgress
from sparsevit_mm.apis.user_errors import user_errors_exit

OUT_DIR = 'work_dirs/paper_tables'
SHIPPED = Path(__file__).parents[1] / 'projects' / 'paper_tables' / 'results'
"""What was found before, for tables that were not run here."""


def words(text: str) -> list[str]:
    """Reads 'a,b'."""
    return [word for word in text.split(',') if word]


def checkpoint(text: str) -> tuple[str, str]:
    """Reads 'row=path'."""
    row, found, path = text.partition('=')
    if not found:
        raise argparse.ArgumentTypeError(f'{text!r} is not ROW=PATH')
    return row, path


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = tool_parser(__doc__)
    actions = parser.add_subparsers(dest='action', required=True)
    actions.add_parser('list', help='names of the tables', formatter_class=parser.formatter_class)

    show = actions.add_parser(
        'show',
        help='a table with what was found so far, and its commands',
        formatter_class=parser.formatter_class,
    )
    show.add_argument('table', help='name of a table')
    show.add_argument('--rows', type=words, metavar='ROW,…', help='rows; all by default')
    show.add_argument('--columns', type=words, metavar='COLUMN,…', help='columns; all by default')
    show.add_argument(
        '--out-dir',
        default=OUT_DIR,
        help="folder of earlier runs; for a table that is not in it the project's own is shown",
    )

    run = actions.add_parser(
        'run',
        help='count, measure and evaluate; goes on where it ended',
        formatter_class=parser.formatter_class,
    )
    run.add_argument('table', help='name of a table')
    run.add_argument('--rows', type=words, metavar='ROW,…', help='rows; all by default')
    run.add_argument(
        '--what',
        type=words,
        default=['params', 'macs', 'latency'],
        metavar='WHAT,…',
        help=f'some of {",".join(WHAT)}',
    )
    run.add_argument('--out-dir', default=OUT_DIR, help='folder for JSON, Markdown and plot')
    run.add_argument(
        '--checkpoint',
        type=checkpoint,
        action='append',
        default=[],
        metavar='ROW=PATH',
        help='weights of a row; can be repeated',
    )
    run.add_argument('--batch', type=int, help="images at once; the table's by default")
    run.add_argument('--runs', type=int, default=20, help='timed rounds')
    run.add_argument('--warmup', type=int, default=3, help='rounds before timing')
    run.add_argument('--scale', type=float, default=1.0, help='factor on sides of timed inputs')
    run.add_argument('--dtype', default='float32', help='type of weights and images in timing')
    run.add_argument('--device', help='such as cpu or cuda:0; default: a GPU if there is one')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Lists, shows or runs."""
    args = parse_args(argv)
    with user_errors_exit():
        if args.action == 'list':
            for name in table_names():
                print(f'{name:26} {load_table(name).title}')
        elif args.action == 'show':
            _show(args.table, args.rows, Path(args.out_dir), args.columns)
        else:
            given = sys.argv[1:] if argv is None else argv
            with _bars() as progress:
                run_table(
                    args.table,
                    args.out_dir,
                    rows=args.rows,
                    what=args.what,
                    checkpoints=dict(args.checkpoint),
                    batch=args.batch,
                    runs=args.runs,
                    warmup=args.warmup,
                    scale=args.scale,
                    dtype=args.dtype,
                    device=args.device,
                    command=shlex.join(['python', 'tools/paper_tables.py', *given]),
                    progress=progress,
                )
            _show(args.table, args.rows, Path(args.out_dir))
            say_written('table, results and plot', args.out_dir)


@contextlib.contextmanager
def _bars() -> Iterator[Callable[[str, int, int], None]]:
    """A bar a step, on standard error, so that standard output holds the table alone."""
    tasks: dict[str, TaskID] = {}
    with LoggedProgress(
        TextColumn('{task.description}'),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
    ) as bars:

        def show(step: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = bars.add_task(step, total=total)
            bars.update(tasks[step], completed=done)

        yield show


def _show(
    name: str, rows: Sequence[str] | None, folder: Path, columns: Sequence[str] | None = None
) -> None:
    table = load_table(name)
    chosen = table.choose(rows)
    file = f'{name}.json'
    path = folder / file if (folder / file).exists() else SHIPPED / file
    print(markdown(table, TableResults.load(path, name), chosen, columns))
    for row in chosen:
        print(f'{row.name}: {row.command or row.missing or "counted and timed only"}')


if __name__ == '__main__':
    main()
