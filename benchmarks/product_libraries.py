"""Products with weights, by the library that PyTorch takes and by oneDNN.

Where oneDNN computes them without being asked is decided by this measurement.

    python -m benchmarks.product_libraries --out benchmarks/results/performance_cpu.json
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.backbone import measure_and_save
from benchmarks.conditions import describe
from benchmarks.side_by_side import time_forms
from sparsevit_mm.ops.backend import use
from sparsevit_mm.ops.tokens import linear

SHAPES = ((2695, 96, 384), (1323, 192, 768), (1764, 384, 1536), (441, 768, 3072), (196, 768, 3072))
"""Rows, inputs, outputs: the stages of Swin-T at 672 x 672 in chunks, the last one pruned too."""

LIBRARIES = ('pytorch', 'onednn')


def by(library: str, layer: nn.Linear, rows: Tensor) -> Callable[[], Tensor]:
    """A run of `linear` by one of `LIBRARIES`."""

    def run() -> Tensor:
        with use(library):
            return linear(layer, rows)

    return run


def measure(
    shapes: Sequence[tuple[int, int, int]], *, device: torch.device, runs: int, command: str = ''
) -> dict[str, Any]:
    """Times both libraries side by side.

    Args:
        shapes: Rows, inputs and outputs of each case.
        device: The CPU.
        runs: Timed rounds.
        command: What was typed.

    Returns:
        The conditions, and a row for each library and shape.
    """
    found = []
    for rows, inputs, outputs in shapes:
        given = nn.Linear(inputs, outputs), torch.randn(rows, inputs)
        forms = {library: by(library, *given) for library in LIBRARIES}
        about = dict(rows=rows, inputs=inputs, outputs=outputs)
        found += time_forms(forms, about, device=device, runs=runs)
    return dict(**describe(command, device), runs=runs, warmup=3, rows=found)


def main(argv: Sequence[str] | None = None) -> None:
    """Measures, prints and adds a section to a JSON file."""
    measure_and_save('product_libraries', 'products', partial(measure, SHAPES), argv)


if __name__ == '__main__':
    main()
