"""Which of torch's operators the time of a backbone goes to: what limits it now.

python -m benchmarks.operators --shape 672 672 --out benchmarks/results/performance_cpu.json
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.backbone import parse_device
from benchmarks.conditions import command_of, describe
from benchmarks.networks import NETWORKS
from benchmarks.results_file import save_section

PROFILED = ('mmdet Swin-T', 'SparseViT-T dense', 'SparseViT-T uniform 0.6', 'FasterViT-0 deployed')


def operator_shares(name: str, shape: tuple[int, int], device: torch.device) -> dict[str, float]:
    """Shares of the time that operators take themselves, largest first.

    Args:
        name: A key of `NETWORKS`.
        shape: Height and width of the image in pixels.
        device: Where.
    """
    network = NETWORKS[name](*shape).to(device)
    images = torch.rand(1, 3, *shape, device=device)
    activities = [ProfilerActivity.CPU]
    if device.type == 'cuda':
        activities.append(ProfilerActivity.CUDA)
    with torch.inference_mode():
        network(images)
        with profile(activities=activities) as found:
            network(images)
    spent = {
        event.key: event.self_device_time_total
        if device.type == 'cuda'
        else event.self_cpu_time_total
        for event in found.key_averages()
    }
    total = sum(spent.values())
    ordered = sorted(spent.items(), key=lambda item: -item[1])
    return {key.removeprefix('aten::'): round(time / total, 4) for key, time in ordered[:8]}


def measure(
    shape: tuple[int, int],
    networks: Sequence[str] = PROFILED,
    *,
    device: torch.device,
    command: str = '',
) -> dict[str, Any]:
    """Profiles networks.

    Args:
        shape: Height and width of the image in pixels.
        networks: Keys of `NETWORKS`; what does not import is left out.
        device: Where.
        command: What was typed.

    Returns:
        The conditions, and a row with the `shares` of each network.
    """
    rows = []
    for name in networks:
        row: dict[str, Any] = dict(network=name, height=shape[0], width=shape[1], batch=1)
        try:
            row['shares'] = operator_shares(name, shape, device)
        except ImportError as error:
            row['skipped'] = str(error)
        rows.append(row)
    return dict(**describe(command, device), rows=rows)


def main(argv: Sequence[str] | None = None) -> None:
    """Measures, prints and adds a section to a JSON file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--shape', type=int, nargs=2, default=(672, 672), metavar=('H', 'W'))
    parse_device(parser)
    args = parser.parse_args(argv)
    words = sys.argv[1:] if argv is None else argv
    section = measure(
        tuple(args.shape),
        device=args.device,
        command=command_of('benchmarks.operators', words),
    )
    for row in section['rows']:
        print(row['network'], row.get('skipped') or row['shares'])
    if args.out is not None:
        save_section(args.out, args.section or 'operators', section)


if __name__ == '__main__':
    main()
