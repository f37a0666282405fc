"""Top-k accuracy on hand-made scores."""

from __future__ import annotations

import pytest
import torch

from sparsevit_mm.engine.top_k_accuracy import TopKAccuracy
from sparsevit_mm.errors import ConfigError


def test_counts_ranks_and_breaks_ties_by_number():
    metric = TopKAccuracy(topk=(1, 2, 5))
    scores = torch.tensor([0.1, 0.4, 0.4, 0.1])
    metric.process(None, [{'scores': scores, 'label': label} for label in range(4)])
    # Ranks are 2, 0, 1, 3; there is no top 5 of 4 classes.
    assert metric.evaluate(4) == {'accuracy/top1': 25.0, 'accuracy/top2': 50.0}


def test_wrong_topk():
    with pytest.raises(ConfigError, match='topk is'):
        TopKAccuracy(topk=(0,))
