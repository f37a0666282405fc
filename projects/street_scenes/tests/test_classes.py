"""The configs name the classes of the scenes."""

from __future__ import annotations

from pathlib import Path

from mmengine.config import Config

from projects.street_scenes.classes import PALETTE, SEMANTIC_CLASSES, THING_CLASSES
from projects.street_scenes.nuscenes_infos import NUSCENES_NAMES
from sparsevit_mm.apis.configs import innermost_dataset

CONFIGS = Path(__file__).parents[3] / 'projects/street_scenes/configs'


def test_configs_have_the_same_classes_and_colors():
    # KITTI's frames are real, and so are its classes.
    paths = sorted(path for path in CONFIGS.glob('*.py') if 'kitti' not in path.name)
    assert len(paths) >= 4
    for path in paths:
        cfg = Config.fromfile(path)
        for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
            metainfo = innermost_dataset(loader).metainfo
            if cfg.default_scope == 'mmdet3d':
                assert tuple(metainfo.classes) == tuple(NUSCENES_NAMES.values())
                continue
            classes = SEMANTIC_CLASSES if cfg.default_scope == 'mmseg' else THING_CLASSES
            assert tuple(metainfo.classes) == classes
            colors = [tuple(color) for color in metainfo.palette]
            assert colors == [PALETTE[name] for name in classes]
