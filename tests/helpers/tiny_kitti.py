"""A folder like KITTI's with gray images and random objects."""

from __future__ import annotations

import numpy as np
from PIL import Image

CALIBRATION = """\
P0: 720 0 160 0 0 720 30 0 0 0 1 0
P1: 720 0 160 -380 0 720 30 0 0 0 1 0
P2: 720 0 160 45 0 720 30 0.5 0 0 1 0.003
P3: 720 0 160 -340 0 720 30 0.5 0 0 1 0.003
R0_rect: 1 0 0 0 1 0 0 0 1
Tr_velo_to_cam: 0 -1 0 0 0 0 -1 -0.08 1 0 0 -0.27

"""

SIZE = (320, 100)
DONT_CARE = 'DontCare -1 -1 -10 5.00 9.89 14.12 67.61 -1 -1 -1 -1000 -1000 -1000 -10'


def label_line(rng, name='Car'):
    # Near enough to be higher than 40 pixels, the least that KITTI counts as easy.
    z = rng.uniform(8, 20)
    x = rng.uniform(-0.2, 0.2) * z
    left = 160 + 720 * x / z - 20
    box = f'{left:.2f} 20.00 {left + 40:.2f} 65.00'
    size = ' '.join(f'{value:.2f}' for value in rng.uniform(1.4, 2, 3))
    return f'{name} 0.00 0 0.50 {box} {size} {x:.2f} 1.65 {z:.2f} {rng.uniform(-3, 3):.2f}'


def write_kitti(root, splits=None, empty=(), cars=6):
    """Writes frames; those in `empty` have only an area that is not cared for."""
    splits = splits or {'train': range(3), 'val': range(3, 5)}
    folder = root / 'training'
    for name in ('image_2', 'label_2', 'calib'):
        (folder / name).mkdir(parents=True)
    (root / 'ImageSets').mkdir()
    rng = np.random.default_rng(0)
    for split, frames in splits.items():
        names = [f'{frame:06d}' for frame in frames]
        (root / 'ImageSets' / f'{split}.txt').write_text('\n'.join(names) + '\n')
        for frame, name in zip(frames, names):
            Image.new('RGB', SIZE, (frame, 90, 90)).save(folder / 'image_2' / f'{name}.png')
            (folder / 'calib' / f'{name}.txt').write_text(CALIBRATION)
            lines = [label_line(rng) for _ in range(cars)]
            lines += [label_line(rng, other) for other in ('Pedestrian', 'Cyclist', 'Van')]
            lines = [] if frame in empty else lines
            (folder / 'label_2' / f'{name}.txt').write_text('\n'.join([*lines, DONT_CARE]) + '\n')
    return root
