"""Times whole Mask R-CNN in its inference form, beside MMDetection's own with its own Swin-T.

All have the same random weights, with which all proposals are kept.

    python -m benchmarks.inference_form --out benchmarks/results/performance_cpu.json
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from benchmarks.backbone import parse_device
from benchmarks.conditions import command_of, describe
from benchmarks.end_to_end import Detector, time_detectors
from benchmarks.networks import SCHEDULES
from benchmarks.peers import declare_torchvision_operators
from benchmarks.results_file import save_section
from sparsevit_mm import optimize_for_inference

STOCK = "Mask R-CNN, mmdet's Swin-T"


def with_stock_backbone(model: Any, **sizes: Any) -> None:
    """Puts MMDetection's Swin Transformer in the place of ours, with the same weights."""
    from mmdet.models.backbones import SwinTransformer

    backbone = SwinTransformer(**sizes)
    backbone.load_state_dict(model.backbone.state_dict(), strict=False)
    backbone.eval()
    model.backbone = backbone


FORMS: dict[str, tuple[str, Callable[[nn.Module], Any] | None]] = {
    STOCK: ('dense', with_stock_backbone),
    'Mask R-CNN, SparseViT-T dense': ('dense', None),
    **{
        f'Mask R-CNN, SparseViT-T {schedule}, inference form {dtype}': (
            schedule,
            partial(optimize_for_inference, dtype=dtype),
        )
        for dtype in ('float32', 'bfloat16')
        for schedule in ('dense', 'cfg2')
    },
}
"""Schedule of each detector, and what is done to it."""


def measure(
    shape: tuple[int, int],
    *,
    device: torch.device,
    runs: int,
    options: dict[str, Any] | None = None,
    command: str = '',
) -> dict[str, Any]:
    """Times the detectors of `FORMS` side by side.

    Args:
        shape: Height and width of the image in pixels.
        device: Where.
        runs: Timed rounds.
        options: Fields of the config to replace.
        command: What was typed.

    Returns:
        The conditions and a row for each detector.
    """
    declare_torchvision_operators()
    images = torch.randn(1, 3, *shape, device=device)
    detectors = {
        name: Detector(SCHEDULES[schedule], images, options, prepare)
        for name, (schedule, prepare) in FORMS.items()
    }
    rows = time_detectors(detectors, shape, device=device, runs=runs)
    return dict(**describe(command, device), runs=runs, warmup=1, rows=rows)


def main(argv: Sequence[str] | None = None) -> None:
    """Measures, prints and adds a section to a JSON file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--shape', type=int, nargs=2, default=(672, 672), metavar=('H', 'W'))
    parse_device(parser)
    args = parser.parse_args(argv)
    section = measure(
        tuple(args.shape),
        device=args.device,
        runs=args.runs,
        command=command_of('benchmarks.inference_form', sys.argv[1:] if argv is None else argv),
    )
    for row in section['rows']:
        print(row['network'], f'{row["median"]} ms', f'{row.get("cpu_median")} ms', row['parts'])
    if args.out is not None:
        save_section(args.out, args.section or 'inference form', section)


if __name__ == '__main__':
    main()
