"""Measures the latency of several candidates side by side.

The candidates take turns in one process, so that a change in the speed of the machine affects all
of them alike. Median and quartiles are reported.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from sparsevit_mm.errors import ConfigError


@dataclass(frozen=True)
class Latency:
    """Latency of one candidate in milliseconds.

    Attributes:
        runs: Every timed run, in order.
    """

    runs: tuple[float, ...]

    @property
    def median(self) -> float:
        """Median in milliseconds."""
        return statistics.median(self.runs)

    @property
    def quartiles(self) -> tuple[float, float]:
        """First and third quartile in milliseconds."""
        if len(self.runs) == 1:
            return self.runs * 2
        first, _, third = statistics.quantiles(self.runs, n=4, method='inclusive')
        return first, third

    @property
    def spread(self) -> float:
        """Distance between the quartiles in milliseconds."""
        first, third = self.quartiles
        return third - first

    def __str__(self) -> str:
        first, third = self.quartiles
        return f'{self.median:.1f} ms ({first:.1f} to {third:.1f})'


def measure_latency(
    candidates: Mapping[str, Callable[[], Any]],
    *,
    warmup: int = 3,
    runs: int = 20,
    device: torch.device | str | None = None,
    seed: int = 0,
    progress: Callable[[], None] | None = None,
) -> dict[str, Latency]:
    """Times candidates in turn, in a new random order each round.

    Args:
        candidates: Functions without arguments by name; each call is one run.
        warmup: Number of rounds before timing starts.
        runs: Number of timed rounds.
        device: Where the candidates run; a GPU is synchronized before and after each run. By
            default the current GPU if there is one.
        seed: Seed of the orders.
        progress: Called after each round, including warm-up; its time is not counted.

    Returns:
        The latency of each candidate by name.

    Raises:
        ConfigError: If there is no candidate, or a number of rounds is out of range.
    """
    if not candidates or warmup < 0 or runs < 1:
        raise ConfigError(
            f'candidates has {len(candidates)} entries, warmup is {warmup} and runs is {runs}, but '
            'they must be at least 1, 0 and 1.'
        )
    synchronize = _synchronizer(device)
    order, rng = list(candidates), random.Random(seed)
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for round_number in range(warmup + runs):
        rng.shuffle(order)
        for name in order:
            synchronize()
            start = time.perf_counter()
            candidates[name]()
            synchronize()
            if round_number >= warmup:
                times[name].append((time.perf_counter() - start) * 1e3)
        if progress is not None:
            progress()
    return {name: Latency(tuple(of_name)) for name, of_name in times.items()}


def _synchronizer(device: torch.device | str | None) -> Callable[[], None]:
    chosen = torch.device(device or ('cuda' if torch.cuda.is_available() else 'cpu'))
    if chosen.type == 'cuda':
        return lambda: torch.cuda.synchronize(chosen)
    return lambda: None
