"""Random crops stay inside the image and have the wanted shape."""

from __future__ import annotations

import random

import numpy as np
import pytest

from sparsevit_mm.engine.image_transforms import PackImage, RandomResizedCrop


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
