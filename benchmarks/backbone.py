"""Times backbones side by side, each beside its floors.

Ours at several ratios, mmdet's and timm's Swin, the plain gather, compute, scatter, and the
FasterViT package; what does not import here is left out.

    python -m benchmarks.backbone --shape 672 672 --out benchmarks/results/performance_cpu.json
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.conditions import command_of, describe
from benchmarks.floors import measure_rates
from benchmarks.networks import NETWORKS
from benchmarks.results_file import save_section
from benchmarks.side_by_side import DTYPES, MODES, Case, compare, using_threads

SWINS = (
    'mmdet Swin-T',
    'timm Swin-T',
    'SparseViT-T dense',
    'SparseViT-T cfg1',
    'SparseViT-T cfg2',
    'SparseViT-T cfg3',
    'SparseViT-T uniform 0.6',
)


def measure(
    networks: Sequence[str],
    cases: Sequence[Case],
    *,
    device: torch.device,
    runs: int,
    warmup: int = 3,
    command: str = '',
) -> dict[str, Any]:
    """Compares networks under one case after the other.

    Args:
        networks: Keys of `NETWORKS`.
        cases: The circumstances.
        device: Where.
        runs: Timed rounds.
        warmup: Rounds before.
        command: What was typed.

    Returns:
        The conditions, the `rates` of each dtype and the `rows`.
    """
    rates = {}
    for case in cases:
        if rate_of(case) not in rates:
            with using_threads(case.threads):
                rates[rate_of(case)] = measure_rates(DTYPES[case.dtype], device)
    rows = []
    for case in cases:
        rate = rates[rate_of(case)]
        rows += compare(networks, case, rate, device=device, runs=runs, warmup=warmup)
        torch.compiler.reset()
    found = {name: rate.as_dict() for name, rate in rates.items()}
    return dict(**describe(command, device), runs=runs, warmup=warmup, rates=found, rows=rows)


def rate_of(case: Case) -> str:
    """Which rate of the machine bounds a case: that of its dtype and threads."""
    return case.dtype if case.threads is None else f'{case.dtype}, {case.threads} threads'


def print_rows(rows: Sequence[dict[str, Any]]) -> None:
    """One line a row."""
    for row in rows:
        case = f'{row["height"]}x{row["width"]} b{row["batch"]} {row["dtype"]} {row["mode"]}'
        case += f' {row["threads"]} threads' if 'threads' in row else ''
        if 'skipped' in row:
            print(f'{case}  {row["network"]:32} skipped: {row["skipped"]}')
            continue
        first, third = row['quartiles']
        print(
            f'{case}  {row["network"]:32} {row["median"]:9.1f} ms ({first:.1f} to {third:.1f})'
            f'  {row["over_floor"]:.2f} x floor'
        )


def parse_device(parser: argparse.ArgumentParser) -> None:
    """Adds what all benchmarks take."""
    default = 'cuda' if torch.cuda.is_available() else 'cpu'
    parser.add_argument('--device', type=torch.device, default=default)
    parser.add_argument('--out', type=Path, help='JSON file that gets the section')
    parser.add_argument('--section', help='name of the section; by default made of the arguments')
    parser.add_argument('--runs', type=int, default=10)


def measure_and_save(
    module: str,
    name: str,
    measure: Callable[..., dict[str, Any]],
    argv: Sequence[str] | None,
) -> None:
    """The command line of a benchmark that needs no other arguments.

    Args:
        module: Its module in `benchmarks`.
        name: Its section, if the command gives none.
        measure: Takes `device`, `runs` and `command`, and returns the section.
        argv: What was typed, or None for the process's arguments.
    """
    parser = argparse.ArgumentParser(prog=f'python -m benchmarks.{module}')
    parse_device(parser)
    args = parser.parse_args(argv)
    command = command_of(f'benchmarks.{module}', sys.argv[1:] if argv is None else argv)
    section = measure(device=args.device, runs=args.runs, command=command)
    for row in section['rows']:
        print(row)
    if args.out is not None:
        save_section(args.out, args.section or name, section)


def main(argv: Sequence[str] | None = None) -> None:
    """Measures, prints and adds a section to a JSON file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--networks', nargs='+', choices=NETWORKS, default=SWINS, metavar='NAME')
    parser.add_argument('--shape', type=int, nargs=2, action='append', metavar=('H', 'W'))
    parser.add_argument('--batch', type=int, nargs='+', default=[1])
    parser.add_argument('--dtype', choices=DTYPES, nargs='+', default=['fp32'])
    parser.add_argument('--mode', choices=MODES, nargs='+', default=['eager'])
    parser.add_argument('--threads', type=int, nargs='+', default=[None])
    parser.add_argument('--warmup', type=int, default=3)
    parse_device(parser)
    args = parser.parse_args(argv)
    cases = [
        Case(*shape, batch, dtype, mode, threads)
        for shape, batch, dtype, mode, threads in itertools.product(
            args.shape or [(672, 672)], args.batch, args.dtype, args.mode, args.threads
        )
    ]
    words = sys.argv[1:] if argv is None else argv
    section = measure(
        args.networks,
        cases,
        device=args.device,
        runs=args.runs,
        warmup=args.warmup,
        command=command_of('benchmarks.backbone', words),
    )
    print_rows(section['rows'])
    if args.out is not None:
        save_section(args.out, args.section or 'backbone', section)


if __name__ == '__main__':
    main()
