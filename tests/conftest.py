"""What every test starts from, whichever tests ran before it."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from sparsevit_mm import SparseViT


@pytest.fixture(autouse=True)
def seeded():
    """The same random numbers for a test alone and for the same test in the whole suite."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 -- the transforms of the frameworks use it
    torch.manual_seed(0)


@pytest.fixture
def clock_of_windows(monkeypatch):
    """A clock that only forward passes of SparseViT move, by the share of windows they compute."""
    now, forward = [0.0], SparseViT.forward

    def timed_forward(self, images):
        kept = [1 - ratio for stage in self.pruning_schedule.ratios for ratio in stage]
        now[0] += sum(kept) / len(kept)
        return forward(self, images)

    monkeypatch.setattr(SparseViT, 'forward', timed_forward)
    monkeypatch.setattr('time.perf_counter', lambda: now[0])
