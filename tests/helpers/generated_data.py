"""Made-up data in the format of any shipped config: COCO, ADE20K, Cityscapes, nuScenes, KITTI, …"""

from __future__ import annotations

import inspect
import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.registry import DATASETS
from PIL import Image

from sparsevit_mm.det3d.datasets.kitti_infos import make_infos
from tests.helpers import ring
from tests.helpers.nuscenes_tables import ATTRIBUTES, write_nuscenes_tables
from tests.helpers.tiny_kitti import write_kitti

HEIGHT, WIDTH = 120, 160


def write_data(cfg, dataset, root: Path, images: int = 2) -> None:
    """Writes made-up images and annotations where a data set of a config looks for them.

    Args:
        cfg: The whole config; its framework must be registered.
        dataset: The config of one of its data sets, without wrappers.
        root: The folder that takes the place of the `data_root`.
        images: How many images to write, or frames of many cameras.
    """
    if cfg.default_scope == 'mmengine':
        _write_class_folders(dataset, root, images)
        return
    with DATASETS.switch_scope_and_registry(cfg.default_scope) as registry:
        known = registry.get(dataset.type).METAINFO
    classes = dataset.get('metainfo', {}).get('classes') or known['classes']
    write = {
        'mmdet': _write_coco,
        'mmseg': _write_label_maps,
        'mmdet3d': _write_kitti if dataset.type == 'KittiDataset' else _write_nuscenes,
    }[cfg.default_scope]
    write(dataset, root, classes, images)


def _write_coco(dataset, root: Path, classes, count: int) -> None:
    images, annotations = [], []
    for number, picture in enumerate(_pictures(count)):
        name = f'{number}.jpg'
        _save(picture, root / dataset.data_prefix.img / name)
        images.append(dict(id=number, file_name=name, height=HEIGHT, width=WIDTH))
        for category, (x, y, w, h) in enumerate([(10, 20, 50, 60), (90, 40, 60, 70)]):
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=number,
                    category_id=category % len(classes),
                    bbox=[x, y, w, h],
                    area=w * h,
                    iscrowd=0,
                    segmentation=[[x, y, x + w, y, x + w, y + h, x, y + h]],
                )
            )
    categories = [dict(id=number, name=name) for number, name in enumerate(classes)]
    path = root / dataset.ann_file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(dict(images=images, annotations=annotations, categories=categories)))


def _write_label_maps(dataset, root: Path, classes, count: int) -> None:
    rng = np.random.default_rng(1)
    with DATASETS.switch_scope_and_registry('mmseg') as registry:
        arguments = inspect.signature(registry.get(dataset.type)).parameters
    img_suffix, seg_map_suffix = (
        dataset.get(key, arguments[key].default if key in arguments else usual)
        for key, usual in (('img_suffix', '.jpg'), ('seg_map_suffix', '.png'))
    )
    for number, picture in enumerate(_pictures(count)):
        images, labels = dataset.data_prefix.img_path, dataset.data_prefix.seg_map_path
        _save(picture, root / images / f'{number}{img_suffix}')
        blocks = rng.integers(0, len(classes), (HEIGHT // 20, WIDTH // 20), dtype=np.uint8)
        label_map = blocks.repeat(20, axis=0).repeat(20, axis=1)
        _save(label_map, root / labels / f'{number}{seg_map_suffix}')


def _write_kitti(dataset, root: Path, classes, count: int) -> None:
    """KITTI's own folders, and the infos that tools/make_kitti_infos.py makes of them."""
    if not (root / 'training').exists():
        frames = {'train': range(count), 'val': range(count, 2 * count)}
        make_infos(write_kitti(root, frames), splits=frames)
    assert (root / dataset.ann_file).exists()


def _write_nuscenes(dataset, root: Path, classes, count: int) -> None:
    """Infos, version 2, and the tables that nuScenes' own evaluation reads."""
    rng = np.random.default_rng(0)
    cameras = [name for name in CAMERAS if name in dataset.data_prefix]
    frames = []
    for number in range(count):
        frame = ring.ring_info(rng, cameras)
        frame |= dict(sample_idx=number, token=str(number), cam_instances={})
        for camera, image in frame['images'].items():
            image['img_path'] = f'{number}.jpg'
            picture = rng.integers(0, 256, (ring.HEIGHT, ring.WIDTH, 3), dtype=np.uint8)
            _save(picture, root / dataset.data_prefix[camera] / image['img_path'])
            frame['cam_instances'][camera] = _boxes_before_a_camera(image['cam2img'])
        frame['instances'] = [
            dict(
                bbox_3d=[x, y, -1.0, 3.9, 1.7, 1.6, 0.3],
                bbox_label_3d=label,
                bbox_3d_isvalid=True,
                num_lidar_pts=5,
                velocity=[0.5, float('nan') if label else 0.1],
                attr_label=label,
            )
            for label, (x, y) in enumerate([(6.0, 9.0), (-12.0, 3.0)])
        ]
        frames.append(frame)
    metainfo = dict(dataset='nuscenes', info_version='1.1', version='v1.0-trainval')
    metainfo['categories'] = {name: label for label, name in enumerate(classes)}
    path, infos = root / dataset.ann_file, dict(metainfo=metainfo, data_list=frames)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(json.dumps(infos).encode() if path.suffix == '.json' else pickle.dumps(infos))
    if dataset.get('test_mode'):
        write_nuscenes_tables(root, frames, classes)


# In the order in which nuScenes' infos have them, and its metric expects them.
CAMERAS = (
    'CAM_FRONT', 'CAM_FRONT_RIGHT', 'CAM_FRONT_LEFT', 'CAM_BACK', 'CAM_BACK_LEFT', 'CAM_BACK_RIGHT',
)  # fmt: skip


def _boxes_before_a_camera(cam2img) -> list[dict[str, Any]]:
    """Two boxes on the road."""
    focal, boxes = cam2img[0][0], []
    for label, (x, depth) in enumerate([(-1.5, 6.0), (2.0, 9.0)]):
        length, height, width = 3.9, 1.6, 1.7
        u, v = focal * x / depth + cam2img[0][2], focal * 0.5 / depth + cam2img[1][2]
        half_width, half_height = focal * width / depth / 2, focal * height / depth / 2
        boxes.append(
            dict(
                bbox=[u - half_width, v - half_height, u + half_width, v + half_height],
                bbox_label=label,
                bbox_3d=[x, 0.5, depth, length, height, width, 1.5],
                bbox_label_3d=label,
                bbox_3d_isvalid=True,
                num_lidar_pts=5,
                velocity=[0.1, 0.0],
                center_2d=[u, v],
                depth=depth,
                attr_label=label % len(ATTRIBUTES),
            )
        )
    return boxes


def _write_class_folders(dataset, root: Path, count: int) -> None:
    for number, picture in enumerate(_pictures(count)):
        _save(picture, root / dataset.data_prefix.img / f'class-{number}' / '0.jpg')


def _pictures(count: int) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(0)
    for _ in range(count):
        yield rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def _save(picture: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)
