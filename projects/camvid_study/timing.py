"""Measures the latency of every variant, backbone and network, interleaved in one process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from mmseg.structures import SegDataSample
from torch import nn

from projects.camvid_study.plan import FULL, Size
from sparsevit_mm.profiling.latency import Latency, measure_latency
from sparsevit_mm.pruning.prunable import find_prunable_backbone
from sparsevit_mm.pruning.schedule import PruningSchedule

Case = tuple[Size, PruningSchedule]
"""Width and height of the input in pixels, and the schedule: all that latency depends on."""


def time_cases(
    model: nn.Module, cases: Mapping[str, Case], runs: int, original: Size = FULL
) -> dict[str, dict[str, Latency]]:
    """Times one random frame on the CPU, all cases interleaved.

    Args:
        model: A segmentor in evaluation mode; its weights do not matter.
        cases: What to time, by name.
        runs: Timed rounds.
        original: Width and height of a frame before resizing, which is the label map's size.

    Returns:
        For each name the latency of 'backbone' and of 'network': the latter from the resized frame
        to the label map of the original size.
    """
    prunable = find_prunable_backbone(model)
    assert isinstance(prunable, nn.Module)
    forwards: dict[str, Callable[[], Any]] = {}
    for name, case in cases.items():
        forwards[f'backbone/{name}'] = _backbone_forward(prunable, case)
        forwards[f'network/{name}'] = _network_forward(model, prunable, case, original)
    with torch.inference_mode():
        timed = measure_latency(forwards, runs=runs, device='cpu')
    return {
        name: {part: timed[f'{part}/{name}'] for part in ('backbone', 'network')} for name in cases
    }


def _backbone_forward(backbone: Any, case: Case) -> Callable[[], Any]:
    (width, height), schedule = case
    image = torch.rand(1, 3, height, width)

    def forward() -> None:
        backbone.pruning_schedule = schedule
        backbone(image)

    return forward


def _network_forward(model: Any, backbone: Any, case: Case, original: Size) -> Callable[[], Any]:
    (width, height), schedule = case
    sample = SegDataSample()
    sample.set_metainfo(
        dict(img_shape=(height, width), pad_shape=(height, width), ori_shape=original[::-1])
    )
    frame = torch.randint(0, 256, (3, height, width), dtype=torch.uint8)

    def forward() -> None:
        backbone.pruning_schedule = schedule
        model.test_step(dict(inputs=[frame], data_samples=[sample]))

    return forward
