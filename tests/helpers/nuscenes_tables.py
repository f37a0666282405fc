"""The tables of nuScenes that its own evaluation reads, made from infos of MMDetection3D."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

VERSION = 'v1.0-trainval'
VALIDATION_SCENE = 'scene-0003'
ATTRIBUTES = ('vehicle.parked', 'vehicle.moving')
_CATEGORY = 'vehicle.car'


def write_nuscenes_tables(root: Path, frames: Sequence[dict[str, Any]], classes) -> None:
    """Writes the tables of one validation scene.

    Args:
        root: The folder that `v1.0-trainval` and `maps` go into.
        frames: Infos with `token`, `ego2global` and `instances`.
        classes: Names of the classes that the instances count; only cars are written.
    """
    samples, poses, sensor_data, annotations, instances = [], [], [], [], []
    for number, frame in enumerate(frames):
        token, place = frame['token'], np.asarray(frame['ego2global'])[:3, 3].tolist()
        samples.append(dict(token=token, timestamp=number, prev='', next='', scene_token='scene'))
        poses.append(
            dict(token=token, timestamp=number, translation=place, rotation=[1.0, 0.0, 0.0, 0.0])
        )
        sensor_data.append(
            dict(
                token=token,
                sample_token=token,
                ego_pose_token=token,
                calibrated_sensor_token='lidar',
                is_key_frame=True,
                filename='none.bin',
                prev='',
                next='',
            )
        )
        for index, box in enumerate(frame['instances']):
            if classes[box['bbox_label_3d']] != 'car':
                continue
            name, (x, y, z, length, width, height, _) = f'{token}-{index}', box['bbox_3d']
            instances.append(
                dict(
                    token=name,
                    category_token='category',
                    nbr_annotations=1,
                    first_annotation_token=name,
                    last_annotation_token=name,
                )
            )
            annotations.append(
                dict(
                    token=name,
                    sample_token=token,
                    instance_token=name,
                    visibility_token='',
                    attribute_tokens=[ATTRIBUTES[0]],
                    translation=(np.array([x, y, z]) + place).tolist(),
                    size=[width, length, height],
                    rotation=[1.0, 0.0, 0.0, 0.0],
                    prev='',
                    next='',
                    num_lidar_pts=5,
                    num_radar_pts=0,
                )
            )
    tables = dict(
        category=[dict(token='category', name=_CATEGORY, description='')],
        attribute=[dict(token=name, name=name, description='') for name in ATTRIBUTES],
        visibility=[],
        instance=instances,
        sensor=[dict(token='lidar', channel='LIDAR_TOP', modality='lidar')],
        calibrated_sensor=[
            dict(
                token='lidar',
                sensor_token='lidar',
                translation=[0.0, 0.0, 0.0],
                rotation=[1.0, 0.0, 0.0, 0.0],
                camera_intrinsic=[],
            )
        ],
        ego_pose=poses,
        log=[dict(token='log', logfile='', vehicle='', date_captured='', location='nowhere')],
        scene=[
            dict(
                token='scene',
                log_token='log',
                name=VALIDATION_SCENE,
                description='',
                nbr_samples=len(frames),
                first_sample_token=frames[0]['token'],
                last_sample_token=frames[-1]['token'],
            )
        ],
        sample=samples,
        sample_data=sensor_data,
        sample_annotation=annotations,
        map=[
            dict(token='map', log_tokens=['log'], category='semantic_prior', filename='maps/0.png')
        ],
    )
    folder = root / VERSION
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in tables.items():
        (folder / f'{name}.json').write_text(json.dumps(rows))
    (root / 'maps').mkdir(exist_ok=True)
    Image.new('L', (8, 8)).save(root / 'maps' / '0.png')
