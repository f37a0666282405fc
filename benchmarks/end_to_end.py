"""Times whole Mask R-CNN, dense and at the authors' ratios, and says where the rest goes.

The detectors are built from the shipped configs with random weights. Random weights fill the
detector's heads: all proposals are kept, so their share is what a busy image costs.

    python -m benchmarks.end_to_end --out benchmarks/results/performance_cpu.json
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor, nn

from benchmarks.backbone import parse_device
from benchmarks.conditions import command_of, describe
from benchmarks.networks import SCHEDULES
from benchmarks.peers import declare_torchvision_operators
from benchmarks.results_file import save_section
from benchmarks.side_by_side import Clocked
from sparsevit_mm.apis.configs import register_framework
from sparsevit_mm.checks.configs import build_model
from sparsevit_mm.profiling.latency import measure_latency

CONFIG = Path('configs/sparsevit/coco/mask-rcnn_sparsevit-t_fpn_amp-adaptation-1x_coco-672x672.py')
PARTS = ('backbone', 'neck', 'rpn_head', 'roi_head')


class Detector:
    """A detector whose parts note how long they take.

    Args:
        schedule: Of the backbone.
        images: (1, 3, H, W), normalized.
        options: Fields of the config to replace.
        prepare: Changes the model, in place, before its parts are timed.
    """

    def __init__(
        self,
        schedule: Any,
        images: Tensor,
        options: dict[str, Any] | None = None,
        prepare: Callable[[nn.Module], Any] | None = None,
    ) -> None:
        from mmdet.structures import DetDataSample

        torch.manual_seed(0)
        cfg = Config.fromfile(Path(__file__).parents[1] / CONFIG)
        cfg.merge_from_dict({**(options or {}), 'model.backbone.pruning_ratios': schedule})
        register_framework(cfg)
        model = build_model(cfg)
        self.model: nn.Module = model.to(images.device)
        self.model.eval()
        if prepare is not None:
            prepare(self.model)
        self._images = images
        side = tuple(images.shape[-2:])
        shapes = dict(img_shape=side, ori_shape=side, batch_input_shape=side, pad_shape=side)
        self._samples = [
            DetDataSample(metainfo=dict(**shapes, scale_factor=(1.0, 1.0))) for _ in images
        ]
        self.parts: dict[str, list[float]] = defaultdict(list)
        for part in PARTS:
            module = getattr(self.model, part)
            name = 'predict' if part.endswith('head') else 'forward'
            setattr(module, name, self._timed(part, getattr(module, name)))

    def __call__(self) -> None:
        """Detects once."""
        with torch.inference_mode():
            self.model(self._images, self._samples, mode='predict')

    def _timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            self._wait()
            start = time.perf_counter()
            found = function(*args, **kwargs)
            self._wait()
            self.parts[part].append((time.perf_counter() - start) * 1e3)
            return found

        return run

    def _wait(self) -> None:
        if self._images.is_cuda:
            torch.cuda.synchronize()


def measure(
    shape: tuple[int, int],
    *,
    device: torch.device,
    runs: int,
    schedules: Sequence[str] = ('dense', 'cfg1', 'cfg2', 'cfg3'),
    options: dict[str, Any] | None = None,
    command: str = '',
) -> dict[str, Any]:
    """Times detectors side by side.

    Args:
        shape: Height and width of the image in pixels.
        device: Where.
        runs: Timed rounds.
        schedules: Keys of `SCHEDULES`.
        options: Fields of the config to replace.
        command: What was typed.

    Returns:
        The conditions, and for each schedule a row with the times of the whole and the medians of
        its `parts`.
    """
    declare_torchvision_operators()
    images = torch.randn(1, 3, *shape, device=device)
    detectors = {
        f'Mask R-CNN, SparseViT-T {name}': Detector(SCHEDULES[name], images, options)
        for name in schedules
    }
    rows = time_detectors(detectors, shape, device=device, runs=runs)
    return dict(**describe(command, device), runs=runs, warmup=1, rows=rows)


def time_detectors(
    detectors: Mapping[str, Detector],
    shape: tuple[int, int],
    *,
    device: torch.device,
    runs: int,
) -> list[dict[str, Any]]:
    """Times detectors that take turns.

    Args:
        detectors: By name.
        shape: Height and width of their image in pixels.
        device: Where.
        runs: Timed rounds, after one that is not.

    Returns:
        For each a row with the times of the whole and the medians of its `parts`; on a CPU
        `cpu_median`, the processor time, which other processes do not lengthen.
    """
    clocks = {name: Clocked(detector) for name, detector in detectors.items()}
    timed = measure_latency(clocks, warmup=1, runs=runs, device=device)
    rows = []
    for name, latency in timed.items():
        parts = detectors[name].parts
        row = dict(
            network=name,
            height=shape[0],
            width=shape[1],
            batch=1,
            milliseconds=[round(value, 3) for value in latency.runs],
            median=round(latency.median, 3),
            quartiles=[round(value, 3) for value in latency.quartiles],
            parts={part: round(statistics.median(parts[part][-runs:]), 3) for part in PARTS},
        )
        if device.type == 'cpu':
            row['cpu_median'] = round(clocks[name].median(runs), 3)
        rows.append(row)
    return rows


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
        runs=args.runs,
        command=command_of('benchmarks.end_to_end', words),
    )
    for row in section['rows']:
        print(row['network'], f'{row["median"]} ms', row['parts'])
    if args.out is not None:
        save_section(args.out, args.section or 'end to end', section)


if __name__ == '__main__':
    main()
