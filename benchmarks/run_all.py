"""Measures everything that can be measured on the machine at hand.

A section that is already in the file is left as it is, so an interrupted run goes on where it
stopped; --again measures it anew.

    python -m benchmarks.run_all --out benchmarks/results/performance_cpu.json
"""

from __future__ import annotations

import argparse
import shlex
import traceback
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.peers import declare_torchvision_operators
from benchmarks.plan import sections
from benchmarks.results_file import load


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the plan of the device."""
    default = 'cuda' if torch.cuda.is_available() else 'cpu'
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--device', choices=('cpu', 'cuda'), default=default)
    parser.add_argument('--out', type=Path, help='by default benchmarks/results/performance_*.json')
    parser.add_argument('--only', nargs='+', metavar='SECTION', help='leave the others out')
    parser.add_argument('--again', action='store_true', help='also what the file already has')
    parser.add_argument('--quick', action='store_true', help='small sizes, to see that it runs')
    parser.add_argument('--list', action='store_true', help='print the commands and stop')
    args = parser.parse_args(argv)
    out = args.out or Path(__file__).parent / 'results' / f'performance_{args.device}.json'
    plan = sections(args.device, args.quick)
    unknown = set(args.only or ()) - {section.name for section in plan}
    if unknown:
        parser.error(f'there is no section {", ".join(sorted(unknown))}.')
    declare_torchvision_operators()
    failed = []
    for section in plan:
        words = [*section.arguments, '--device', args.device, '--section', section.name]
        script = section.run.__module__
        if args.list:
            print(f'python -m {script} {shlex.join([*words, "--out", str(out)])}')
        elif (not args.only or section.name in args.only) and (
            args.again or section.name not in load(out)
        ):
            print(f'# {section.name}', flush=True)
            try:
                section.run([*words, '--out', str(out)])
            except Exception:  # one section must not cost the others
                traceback.print_exc()
                failed.append(section.name)
    if failed:
        parser.exit(1, f'These sections failed: {", ".join(failed)}.\n')


if __name__ == '__main__':
    main()
