"""Latency of several candidates, measured side by side.

Candidates take turns in one process, so that a machine that warms up, throttles or is shared slows
all of them alike; what is reported is the median with its spread.
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
        """First and third quartile in milliseconds: the middle half of the runs lies between."""
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
    """Times candidates in turn, in another order every round.

    Args:
        candidates: What to time, by name; each is called without arguments and does one run.
        warmup: Rounds before timing starts.
        runs: Timed rounds.
        device: Where the work is done; a GPU is waited for before and after every run. By default
            the current GPU if there is one.
        seed: Seed of the orders.
        progress: Called after every round, warm-up included; its time is not counted.

    Returns:
        For every name its latency.

    Raises:
        ConfigError: If there is no candidate, or a number of rounds is not allowed.
    """
    if not candidates or warmup < 0 or runs < 1:
        raise ConfigError(
            f'{len(candidates)} candidates, warmup {warmup} and runs {runs} were given, but there '
            'must be a candidate, warmup must be at least 0 and runs at least 1.'
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
