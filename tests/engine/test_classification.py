"""Random crops stay inside the image and have the wanted shape; top-k accuracy is counted."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from sparsevit_mm.engine.classification import PackImage, RandomResizedCrop, TopKAccuracy
from sparsevit_mm.errors import ConfigError


@pytest.mark.parametrize('height, width', [(60, 40), (5, 200), (1, 1)])
def test_crops_are_parts_of_the_image(height, width):
    random.seed(0)
    rows, cols = np.mgrid[:height, :width]
    image = np.stack([rows, cols, rows], -1).astype(np.float32)
    crop, boxes = RandomResizedCrop(16), set()
    for _ in range(20):
        results = crop({'img': image.copy()})
        assert results['img'].shape == (16, 16, 3)
        assert results['img_shape'] == (16, 16)
        top, left, box_height, box_width = crop._choose(height, width)
        assert 0 <= top <= top + box_height <= height
        assert 0 <= left <= left + box_width <= width
        assert box_height > 0 and box_width > 0
        boxes.add((top, left))
    assert len(boxes) > 1 or height * width == 1 or height == 5


def test_packing():
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    packed = PackImage()({'img': image, 'label': 3})
    assert packed['inputs'].shape == (3, 2, 4)
    assert packed['inputs'][2, 1, 3] == 23
    assert packed['data_samples'] == 3
    assert 'data_samples' not in PackImage()({'img': image})


def test_counts_ranks_and_breaks_ties_by_number():
    metric = TopKAccuracy(topk=(1, 2, 5))
    scores = torch.tensor([0.1, 0.4, 0.4, 0.1])
    metric.process(None, [{'scores': scores, 'label': label} for label in range(4)])
    # Ranks are 2, 0, 1, 3; there is no top 5 of 4 classes.
    assert metric.evaluate(4) == {'accuracy/top1': 25.0, 'accuracy/top2': 50.0}


def test_wrong_topk():
    with pytest.raises(ConfigError, match='topk is'):
        TopKAccuracy(topk=(0,))
