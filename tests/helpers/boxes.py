"""Made-up boxes."""

from __future__ import annotations

import numpy as np
import torch
from mmdet3d.structures import LiDARInstance3DBoxes


def boxes_at(middles, rng, velocity=True):
    """Boxes of random sizes and headings, (N, 3) middles in the LiDAR's frame."""
    middles = np.asarray(middles, dtype=np.float64).reshape(-1, 3)
    count = len(middles)
    columns = [middles, rng.uniform(0.5, 4, (count, 3)), rng.uniform(-3, 3, (count, 1))]
    if velocity:
        columns.append(rng.normal(0, 3, (count, 2)))
    table = torch.as_tensor(np.concatenate(columns, axis=1), dtype=torch.float32)
    return LiDARInstance3DBoxes(table, box_dim=table.shape[1], origin=(0.5, 0.5, 0.5))
