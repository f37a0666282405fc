"""3D detectors of the demos on few small scenes."""

from __future__ import annotations

from pathlib import Path

from projects.street_scenes.dataset import DemoSettings, make_dataset
from projects.street_scenes.six_cameras import SixCameraSettings, make_six_camera_dataset

CONFIGS = Path(__file__).parents[2] / 'projects/street_scenes/configs'
KINDS = ('six cameras', 'one camera')


def config_and_options(kind, root, training, validation):
    """Draws scenes; the config of BEVDet or FCOS3D, and the `--cfg-options` that make it use them.

    Args:
        kind: One of `KINDS`.
        root: Where scenes are drawn.
        training: How many to train on.
        validation: How many to validate on.
    """
    infos = root / 'annotations/nuscenes_infos_validation.json'
    options = [f'val_evaluator.ann_file={infos}', f'val_dataloader.dataset.data_root={root}/']
    for loader in ('train', 'val'):
        options += [f'{loader}_dataloader.num_workers=0']
        options += [f'{loader}_dataloader.persistent_workers=False']
    sizes = training, validation, 128, 64
    if kind == 'six cameras':
        config = CONFIGS / 'bevdet_sparsevit-mini_adaptation_demo6-112x336.py'
        make_six_camera_dataset(root, SixCameraSettings(*sizes, seed=5), workers=1)
        return config, [*options, f'train_dataloader.dataset.dataset.data_root={root}/']
    config = CONFIGS / 'fcos3d_sparsevit-mini_fpn_adaptation_demo-224x448.py'
    make_dataset(root, DemoSettings(*sizes, seed=5), workers=1)
    return config, [
        *options,
        f'train_dataloader.dataset.data_root={root}/',
        'train_dataloader.dataset.pipeline.2.scale=(128,64)',
        'val_dataloader.dataset.pipeline.1.scale=(128,64)',
    ]
