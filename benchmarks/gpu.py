"""Tells the truth about a GPU in a few minutes: correctness first, then the rows that matter most.

Every result is written when it is there; a step that was done is not done again, so the same
command goes on where it stopped. Nothing is fetched. --small rehearses it on a CPU, but for
compilation.

    python -m benchmarks.gpu --minutes 8
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks import backbone, end_to_end, training
from benchmarks.conditions import command_of, describe
from benchmarks.networks import NETWORKS
from benchmarks.peers import declare_torchvision_operators
from benchmarks.results_file import load, save_section
from benchmarks.side_by_side import DTYPES, Case
from sparsevit_mm.env import check_kernels
from sparsevit_mm.ops import backend

DONE = 'gpu steps'
"""Section that remembers which steps were done, and how long each took."""

SWINS = ('SparseViT-T dense', 'SparseViT-T cfg2', 'SparseViT-T uniform 0.6')
MORE_SWINS = ('SparseViT-T dense', 'SparseViT-T cfg1', 'SparseViT-T cfg3')
PEERS = ('SparseViT-T dense', 'mmdet Swin-T', 'timm Swin-T', 'plain SparseViT-T cfg2')
FASTERVITS = (
    'fastervit package 0',
    'FasterViT-0',
    'FasterViT-0 deployed',
    'FasterViT-0 deployed, 0.6',
)
LARGE = ('SparseViT-T dense', 'mmdet Swin-T')


@dataclass(frozen=True)
class Step:
    """Something to measure.

    Attributes:
        name: What it is called in messages and in `DONE`.
        section: Section of the results file that gets its rows.
        seconds: About how long it takes on a GPU; it is not begun with less time left.
        measure: Returns the conditions and rows, as the other benchmarks do.
    """

    name: str
    section: str
    seconds: float
    measure: Callable[[], dict[str, Any]]


def steps(device: torch.device, small: bool, command: str) -> list[Step]:
    """Everything, what matters most first.

    Args:
        device: Where.
        small: Whether sizes are such that a CPU is done in a minute.
        command: What was typed.
    """
    side, runs = (64, 1) if small else (672, 30)

    def swin(names: Sequence[str], batch: int, *modes: str, seconds: float) -> Step:
        cases = [Case(side, side, 1 if small else batch, 'fp16', mode) for mode in modes]
        return Step(
            f'{", ".join(names)}, batch {batch}, {" and ".join(modes)}',
            'swin 672',
            seconds,
            lambda: _backbones(names, cases, device, runs, command),
        )

    fastervit = [Case(224, 224, 1 if small else 128, 'fp16', mode) for mode in ('eager', 'graph')]
    large = [Case(*(2 * (128 if small else 2688,)), 1, 'fp16', 'eager')]
    few = {'model.test_cfg.rpn.max_per_img': 10} if small else None
    found = [
        Step('kernels', 'kernels', 60, lambda: _kernels(device, small, command)),
        swin(SWINS, 4, 'eager', 'graph', seconds=30),
        swin(SWINS, 1, 'eager', 'graph', seconds=20),
        swin(SWINS, 4, 'compiled', seconds=120),
        swin(MORE_SWINS, 4, 'graph', seconds=20),
        swin(PEERS, 4, 'eager', seconds=30),
        Step(
            'FasterViT-0',
            'fastervit 0',
            40,
            lambda: _backbones(
                FASTERVITS[2:] if small else FASTERVITS, fastervit, device, runs, command
            ),
        ),
        Step(
            'training',
            'training',
            40,
            lambda: training.measure(
                (side, side), 1 if small else 2, device=device, runs=runs, command=command
            ),
        ),
        Step(
            'memory',
            'swin 2688',
            40,
            lambda: _backbones(LARGE[:1] if small else LARGE, large, device, min(runs, 5), command),
        ),
        Step(
            'a whole detector',
            'end to end',
            60,
            lambda: end_to_end.measure(
                (side, side), device=device, runs=runs, command=command, options=few
            ),
        ),
        swin(PEERS[:3], 4, 'compiled', seconds=150),
        swin(SWINS, 1, 'compiled', seconds=120),
    ]
    return [step for step in found if not (small and 'compiled' in step.name)]


def _backbones(
    names: Sequence[str], cases: Sequence[Case], device: torch.device, runs: int, command: str
) -> dict[str, Any]:
    warmup = 3 if device.type == 'cuda' else 0
    return backbone.measure(names, cases, device=device, runs=runs, warmup=warmup, command=command)


def _kernels(device: torch.device, small: bool, command: str) -> dict[str, Any]:
    """Whether each kernel agrees with PyTorch, and how far backbones with kernels are from it."""
    rows: list[dict[str, Any]] = []
    can_run = backend.HAS_TRITON and (device.type == 'cuda' or backend.interprets())
    for name, dtype in DTYPES.items():
        if can_run and (device.type == 'cuda' or dtype != torch.bfloat16):
            states = check_kernels(device, dtype)
            rows += [
                dict(network=kernel, dtype=name, state=state) for kernel, state in states.items()
            ]
        if not can_run:
            rows.append(dict(network='kernels', dtype=name, skipped='neither a GPU nor Triton'))
    for name in SWINS[1:] if small else (*SWINS, 'FasterViT-0', 'FasterViT-3'):
        side = 64 if small else 224
        torch.manual_seed(0)
        network = NETWORKS[name](side, side).to(device, torch.float16)
        images = torch.rand(1, 3, side, side).to(device, torch.float16)
        outputs = []
        for kernels in ('auto', 'pytorch'):
            with torch.no_grad(), backend.use(kernels):
                found = network(images)
                outputs.append([found] if isinstance(found, torch.Tensor) else found)
        largest = max(
            float((mine - theirs).float().abs().max() / theirs.float().abs().max())
            for mine, theirs in zip(*outputs)
        )
        rows.append(dict(network=name, dtype='fp16', relative_difference=largest))
    return dict(**describe(command, device), rows=rows)


def main(argv: Sequence[str] | None = None) -> None:
    """Does what is not done yet, as long as the time allows."""
    default = 'cuda' if torch.cuda.is_available() else 'cpu'
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--minutes', type=float, default=8.0, help='stop beginning steps in time')
    parser.add_argument('--small', action='store_true', help='tiny sizes, to rehearse on a CPU')
    parser.add_argument('--device', type=torch.device, default=default)
    parser.add_argument('--out', type=Path, help='by default benchmarks/results/performance_*.json')
    args = parser.parse_args(argv)
    if args.device.type == 'cpu' and not args.small:
        parser.error('--device is cpu, but must be cuda without --small.')
    if args.small and args.out is None:
        parser.error('--out is missing, but must be given with --small: its rows mean nothing.')
    out = args.out or Path(__file__).parent / 'results' / f'performance_{args.device.type}.json'
    words = sys.argv[1:] if argv is None else argv
    start, failed = time.monotonic(), []
    declare_torchvision_operators()
    for step in steps(args.device, args.small, command_of('benchmarks.gpu', words)):
        done = load(out).get(DONE, {}).get('steps', {})
        left = args.minutes * 60 - (time.monotonic() - start)
        if step.name in done:
            print(f'# {step.name}: done before')
            continue
        if left < (0 if args.small else step.seconds):
            print(f'# {step.name}: left out, {left:.0f} s are left and it takes {step.seconds:.0f}')
            continue
        print(f'# {step.name}', flush=True)
        begun = time.monotonic()
        try:
            section = step.measure()
        except Exception:  # one step must not cost the others
            traceback.print_exc()
            failed.append(step.name)
            continue
        for row in section['rows']:
            print(
                ' ', {key: value for key, value in row.items() if key != 'milliseconds'}, flush=True
            )
        save_section(out, step.section, _joined(load(out).get(step.section), section))
        done[step.name] = round(time.monotonic() - begun, 1)
        save_section(
            out, DONE, dict(**describe(section['command'], args.device), rows=[], steps=done)
        )
    if failed:
        parser.exit(1, f'These steps failed: {", ".join(failed)}.\n')


def _joined(before: dict[str, Any] | None, section: dict[str, Any]) -> dict[str, Any]:
    """A section with the rows of one that is there, and its own."""
    if before is None:
        return section
    rates = {**before.get('rates', {}), **section.get('rates', {})}
    own = dict(section, rows=[*before['rows'], *section['rows']])
    return dict(own, rates=rates) if rates else own


if __name__ == '__main__':
    main()
