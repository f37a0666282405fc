"""Measures the latency of a table's rows, interleaved in one process."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch

from projects.paper_tables.networks import build_network, inference_form
from projects.paper_tables.results import Conditions, TableResults
from projects.paper_tables.table import Row
from sparsevit_mm.profiling.inputs import DTYPES
from sparsevit_mm.profiling.latency import measure_latency
from sparsevit_mm.search.measure import device_name

_ROUNDS_AT_ONCE = 5
_SIDE_STEP = 16


def scaled_side(pixels: int, scale: float) -> int:
    """Scales a side of the input and rounds it to a multiple of 16 pixels, unless scale is 1."""
    if scale == 1:
        return pixels
    return max(round(pixels * scale / _SIDE_STEP), 1) * _SIDE_STEP


def time_rows(
    rows: Sequence[Row],
    results: TableResults,
    save: Callable[[], None],
    *,
    batch: int,
    runs: int,
    warmup: int,
    scale: float,
    dtype: str,
    device: torch.device,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Times rows on random images and adds to earlier runs under the same conditions.

    Args:
        rows: Rows that have a network; all of them are in memory together.
        results: Gets the runs; runs under other conditions are dropped.
        save: Called after every few rounds, which are the most that an interruption loses.
        batch: Images per batch.
        runs: Total number of timed rounds.
        warmup: Rounds before timing starts.
        scale: Factor on the sides of every input.
        dtype: A key of `DTYPES`.
        device: Device to run on.
        progress: Called with the rounds done and the total, warm-up included.
    """
    conditions = Conditions(
        device=device_name(device),
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        dtype=dtype,
        batch=batch,
        scale=scale,
        warmup=warmup,
        rows=tuple(row.name for row in rows),
    )
    if results.conditions != conditions:
        results.conditions, results.runs = conditions, {row.name: [] for row in rows}
    done = min(len(results.runs[row.name]) for row in rows)
    if done >= runs:
        return
    candidates = {row.name: _forward(row, batch, scale, DTYPES[dtype], device) for row in rows}
    rounds_ended = itertools.count(done + 1)

    def round_ended() -> None:
        if progress is not None:
            progress(next(rounds_ended), warmup + runs)

    first = True
    while done < runs:
        rounds = min(_ROUNDS_AT_ONCE, runs - done)
        with torch.inference_mode():
            timed = measure_latency(
                candidates,
                warmup=warmup if first else 0,
                runs=rounds,
                device=device,
                seed=done,
                progress=round_ended,
            )
        for name, latency in timed.items():
            results.runs[name] += latency.runs
        done, first = done + rounds, False
        save()


def _forward(
    row: Row, batch: int, scale: float, dtype: torch.dtype, device: torch.device
) -> Callable[[], Any]:
    assert row.height is not None
    assert row.width is not None
    network = inference_form(build_network(row)).to(device, dtype)
    height, width = (scaled_side(side, scale) for side in (row.height, row.width))
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch, 3, height, width, generator=generator).to(device, dtype)
    return partial(network, images)
