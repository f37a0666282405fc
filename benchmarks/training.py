"""Times training steps of the backbone: dense, adaptation, and fixed schedules, side by side.

A step is forward, backward and AdamW's update. Adaptation draws a schedule for every step, as
`SparsityAdaptationHook` does.

    python -m benchmarks.training --shape 448 448 --out benchmarks/results/performance_cpu.json
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.backbone import parse_device
from benchmarks.conditions import command_of, describe
from benchmarks.networks import SCHEDULES
from benchmarks.peers import MissingPeer, mmdet_swin
from benchmarks.results_file import save_section
from sparsevit_mm import SparseViT
from sparsevit_mm.engine.hooks.sparsity_adaptation import SparsityAdaptationHook
from sparsevit_mm.profiling.latency import measure_latency

STEPS = ('mmdet Swin-T', 'dense', 'adaptation', 'cfg2', 'uniform 0.6')


class TrainingStep:
    """One step of a backbone on random images, ready to be called.

    Args:
        kind: One of `STEPS`.
        images: (B, 3, H, W).
    """

    def __init__(self, kind: str, images: Tensor) -> None:
        torch.manual_seed(0)
        self._images = images
        self._hook = SparsityAdaptationHook() if kind == 'adaptation' else None
        self._calls = 0
        if kind == 'mmdet Swin-T':
            self.network: nn.Module = mmdet_swin(*images.shape[-2:])
        else:
            self.network = SparseViT(pruning_ratios=SCHEDULES.get(kind, 0.0))
        self.network.to(images.device)
        self.network.train()
        self._optimizer = torch.optim.AdamW(self.network.parameters(), lr=1e-5)

    def __call__(self) -> None:
        """Takes one step."""
        if self._hook is not None:
            schedule = self._hook.draw(self._calls, self.network.arch.depths)
            self.network.pruning_schedule = schedule
            self._calls += 1
        self._optimizer.zero_grad()
        sum(level.square().mean() for level in self.network(self._images)).backward()
        self._optimizer.step()


def saved_bytes(run: Callable[[], Any], parameters: Sequence[Tensor]) -> int:
    """Bytes that a forward keeps for its backward, parameters left out.

    Args:
        run: A forward with gradients, such as a step.
        parameters: Of the network.
    """
    own = {parameter.untyped_storage().data_ptr() for parameter in parameters}
    kept: dict[int, tuple[Tensor, int]] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            # The tensor is held, so that its place is not taken by another before the end.
            kept[storage.data_ptr()] = tensor, storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        run()
    return sum(size for _, size in kept.values())


def measure(
    shape: tuple[int, int],
    batch: int,
    *,
    device: torch.device,
    runs: int,
    warmup: int = 1,
    command: str = '',
) -> dict[str, Any]:
    """Times the steps side by side.

    Args:
        shape: Height and width of the images in pixels.
        batch: Images.
        device: Where.
        runs: Timed rounds; adaptation draws as many schedules.
        warmup: Rounds before.
        command: What was typed.

    Returns:
        The conditions and a row for each step: its times and `activations_mib`, what the forward
        keeps for the backward.
    """
    images = torch.rand(batch, 3, *shape, device=device)
    rows, steps = [], {}
    for kind in STEPS:
        row: dict[str, Any] = dict(network=kind, height=shape[0], width=shape[1], batch=batch)
        try:
            steps[kind] = TrainingStep(kind, images)
        except MissingPeer as error:
            row['skipped'] = str(error)
        rows.append(row)
    timed = measure_latency(steps, warmup=warmup, runs=runs, device=device)
    for row in rows:
        if row['network'] in timed:
            step, latency = steps[row['network']], timed[row['network']]
            row['milliseconds'] = [round(value, 3) for value in latency.runs]
            row['median'] = round(latency.median, 3)
            row['mean'] = round(sum(latency.runs) / len(latency.runs), 3)
            row['quartiles'] = [round(value, 3) for value in latency.quartiles]
            kept = saved_bytes(step, list(step.network.parameters()))
            row['activations_mib'] = round(kept / 2**20, 1)
    return dict(**describe(command, device), runs=runs, warmup=warmup, rows=rows)


def main(argv: Sequence[str] | None = None) -> None:
    """Measures, prints and adds a section to a JSON file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--shape', type=int, nargs=2, default=(448, 448), metavar=('H', 'W'))
    parser.add_argument('--batch', type=int, default=1)
    parse_device(parser)
    args = parser.parse_args(argv)
    words = sys.argv[1:] if argv is None else argv
    section = measure(
        tuple(args.shape),
        args.batch,
        device=args.device,
        runs=args.runs,
        command=command_of('benchmarks.training', words),
    )
    for row in section['rows']:
        print(row['network'], row.get('skipped') or f'{row["median"]} ms, '
              f'{row["activations_mib"]} MiB kept for the backward')  # fmt: skip
    if args.out is not None:
        save_section(args.out, args.section or 'training', section)


if __name__ == '__main__':
    main()
