"""The study on made-up frames."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from projects.importance_study.plan import DATA_SETS
from projects.importance_study.run import StudyRun

ONE_ITERATION = {
    'train_cfg.max_iters': 1,
    'train_dataloader.batch_size': 1,
    'default_hooks.checkpoint.interval': 1,
    'train_dataloader.dataset.pipeline.2.scale': [(1000, 96), (1000, 128)],
    'train_dataloader.dataset.pipeline.3.crop_size': (96, 96),
}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """The study on two gray frames with a car each, and trainings of one iteration."""
    root = tmp_path / 'data' / 'aerial_cars'
    for split in ('train', 'val', 'test'):
        (root / 'images' / split).mkdir(parents=True)
        images, boxes = [], []
        for number in range(2):
            name = f'{number}.png'
            cv2.imwrite(str(root / 'images' / split / name), np.full((96, 128, 3), 90, np.uint8))
            scene = 'kit_a' if number else 'square'
            images.append(dict(id=number, file_name=name, height=96, width=128, scene=scene))
            box = dict(bbox=[20, 20, 24, 12], area=288, iscrowd=0, category_id=1)
            boxes.append(dict(id=number + 1, image_id=number, **box))
        path = root / 'annotations' / f'{split}.json'
        path.parent.mkdir(exist_ok=True)
        classes = [dict(id=1, name='vehicle')]
        path.write_text(json.dumps(dict(images=images, annotations=boxes, categories=classes)))
    monkeypatch.setenv('SPARSEVIT_MM_DATA', str(tmp_path / 'data'))
    run = StudyRun(DATA_SETS['aerial_cars'], 0, tmp_path / 'work', ONE_ITERATION)
    run.prepare()
    return run
