"""What every test starts from, whichever tests ran before it."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch


@pytest.fixture(autouse=True)
def seeded():
    """The same random numbers for a test alone and for the same test in the whole suite."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 -- the transforms of the frameworks use it
    torch.manual_seed(0)
