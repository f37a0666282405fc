"""Peak memory of one inference on the CPU, each network in a process of its own.

    python -m benchmarks.memory --side 2688 --out benchmarks/results/performance_cpu.json

On a GPU `benchmarks.backbone` notes the peak of every row.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import subprocess
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.backbone import parse_device
from benchmarks.conditions import command_of, describe
from benchmarks.networks import NETWORKS
from benchmarks.peers import MissingPeer
from benchmarks.results_file import save_section

COMPARED = ('mmdet Swin-T', 'timm Swin-T', 'SparseViT-T dense', 'SparseViT-T uniform 0.6')


def peak_of(network: str, side: int) -> dict[str, Any]:
    """Runs a network once in this process, which must have done nothing else before.

    Args:
        network: A key of `NETWORKS`.
        side: Side of the image in pixels.

    Returns:
        The process's memory in MiB before the inference and at its peak, and the difference.
    """
    built = NETWORKS[network](side, side)
    images = torch.rand(1, 3, side, side)
    before = _peak_so_far()
    with torch.inference_mode():
        built(images)
    peak = _peak_so_far()
    return dict(before_mib=round(before), peak_mib=round(peak), inference_mib=round(peak - before))


def _peak_so_far() -> float:
    """The most memory that this process has had, in MiB."""
    status = Path('/proc/self/status')
    if status.exists():
        # Linux hands getrusage's peak down from the process that started this one, but not this.
        return int(re.search(r'VmHWM:\s+(\d+) kB', status.read_text())[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(side: int, networks: Sequence[str] = COMPARED, command: str = '') -> dict[str, Any]:
    """Measures networks, each in a new process.

    Args:
        side: Side of the image in pixels.
        networks: Keys of `NETWORKS`.
        command: What was typed.

    Returns:
        The conditions, and a row for each network.
    """
    rows = []
    for name in networks:
        row: dict[str, Any] = dict(network=name, height=side, width=side, batch=1)
        done = subprocess.run(
            [sys.executable, '-m', 'benchmarks.memory', '--alone', name, '--side', str(side)],
            capture_output=True,
            text=True,
            cwd=Path(__file__).parents[1],
        )
        if done.returncode:
            row['skipped'] = done.stderr.strip().splitlines()[-1][:200]
        else:
            row |= json.loads(done.stdout.strip().splitlines()[-1])
        rows.append(row)
    return dict(**describe(command, torch.device('cpu')), rows=rows)


def main(argv: Sequence[str] | None = None) -> None:
    """Measures, prints and adds a section to a JSON file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--side', type=int, default=2688, help='side of the image in pixels')
    parser.add_argument('--alone', choices=NETWORKS, metavar='NAME', help=argparse.SUPPRESS)
    parse_device(parser)
    args = parser.parse_args(argv)
    if args.alone is not None:
        warnings.filterwarnings('ignore')
        try:
            print(json.dumps(peak_of(args.alone, args.side)))
        except MissingPeer as error:
            sys.exit(str(error))
        return
    words = sys.argv[1:] if argv is None else argv
    section = measure(args.side, command=command_of('benchmarks.memory', words))
    for row in section['rows']:
        print(row['network'], row.get('skipped') or f'{row["inference_mib"]} MiB')
    if args.out is not None:
        save_section(args.out, args.section or 'memory', section)


if __name__ == '__main__':
    main()
