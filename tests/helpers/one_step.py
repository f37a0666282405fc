"""One real training step of any config on made-up images: its own pipeline, optimizer, hooks."""

from __future__ import annotations

import inspect
import json
import math
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.registry import DATASETS
from mmengine.runner import Runner
from PIL import Image

from sparsevit_mm.apis.configs import innermost_dataset, load_config, register_framework
from sparsevit_mm.models.fastervit_arch import FasterViTArch
from sparsevit_mm.models.swin_arch import SwinArch
from tests.helpers.ring import ring_info

HEIGHT, WIDTH = 120, 160
SMALL_DIMS, SMALL_HEADS = 12, (1, 2, 3, 6)


def family(cfg):
    """What a step of a config exercises: framework, model with its heads, and backbone."""
    heads = [
        f'{name}={part["type"]}'
        for name, part in sorted(cfg.model.items())
        if 'head' in name and isinstance(part, dict)
    ]
    return ' '.join([cfg.default_scope, cfg.model.type, *heads, cfg.model.backbone.type])


def without_downloads(cfg):
    """Drops what would be fetched: pre-trained weights and a checkpoint to start from."""
    cfg.load_from = None
    for part in _dicts(cfg.model):
        if 'init_cfg' in part and (part['init_cfg'] or {}).get('type') == 'Pretrained':
            part['init_cfg'] = None
    return cfg


def with_small_backbone(cfg):
    """Narrows a backbone to 12 channels, and what reads from it; all else of it stays."""
    backbone = cfg.model.backbone
    if backbone.type.endswith('ResNet'):  # a baseline, small enough as it is
        return cfg
    stages = len(backbone.get('depths', SMALL_HEADS))
    if backbone.type.endswith('FasterViT'):
        dims = backbone.get('dim') or FasterViTArch.build(backbone.arch).dim
        backbone.update(dim=SMALL_DIMS, in_dim=SMALL_DIMS, num_heads=SMALL_HEADS)
    else:
        dims = backbone.get('embed_dims', 96)
        if 'arch' in backbone:
            dims = SwinArch.build(backbone.arch, backbone.get('width', 1.0)).embed_dims
        backbone.update(embed_dims=SMALL_DIMS, num_heads=SMALL_HEADS[:stages])
        backbone.pop('width', None)
    narrowed = {dims * 2**stage: SMALL_DIMS * 2**stage for stage in range(stages)}
    if isinstance(cfg.model.get('in_channels'), int):
        cfg.model.in_channels = narrowed[cfg.model.in_channels]
    # With a neck only the neck reads from the backbone.
    heads = [name for name, part in cfg.model.items() if 'head' in name and part is not None]
    readers = ['neck'] if 'neck' in cfg.model else heads
    for part in (cfg.model[name] for name in readers):
        found = part.get('in_channels')
        if isinstance(found, (list, tuple)):
            part['in_channels'] = [narrowed[channels] for channels in found]
        elif found is not None:
            part['in_channels'] = narrowed[found]
    return cfg


def with_small_images(cfg, factor=6):
    """Divides every size that the training pipeline resizes or crops to."""
    steps = list(_dicts(innermost_dataset(cfg.train_dataloader).pipeline))
    for step in [*steps, cfg.model.get('data_preprocessor', {})]:
        for key in ('scale', 'scales', 'img_scale', 'crop_size', 'size'):
            if key in step and step[key] is not None:
                step[key] = _divided(step[key], factor)
    return cfg


def with_small_map(cfg, factor=4):
    """Makes the cells of a bird's-eye-view map larger, if there is one."""
    if 'view_transform' in cfg.model:
        for axis in 'xy':
            lower, upper, step = cfg.model.view_transform.grid[axis]
            cfg.model.view_transform.grid[axis] = (lower, upper, factor * step)
        cfg.model.train_cfg.out_size_factor *= factor
        cfg.model.bbox_head.bbox_coder.out_size_factor *= factor
    return cfg


def train_one_step(cfg, folder: Path) -> dict[str, Any]:
    """Trains one iteration on generated data.

    Returns:
        The number of parameters, the loss, and how many tensors of the backbone and of the rest
        moved.
    """
    dataset = innermost_dataset(cfg.train_dataloader)
    write_data(cfg, dataset, folder / 'data')
    dataset.data_root = str(folder / 'data')
    cfg.train_dataloader.update(batch_size=2, num_workers=0, persistent_workers=False)
    cfg.train_cfg = dict(type='IterBasedTrainLoop', max_iters=1)
    cfg.default_hooks = dict(checkpoint=None, logger=dict(type='LoggerHook', interval=1))
    cfg.optim_wrapper.type = 'OptimWrapper'  # mixed precision needs a GPU
    for key in ('val_dataloader', 'val_cfg', 'val_evaluator'):
        cfg[key] = None
    for key in ('test_dataloader', 'test_cfg', 'test_evaluator'):
        cfg[key] = None
    if 'num_queries' in cfg.model:
        cfg.model.num_queries = 30  # small maps have fewer places than the queries of a detector
    # Warm-up begins at a rate too small to see.
    cfg.param_scheduler = None
    cfg.randomness = dict(seed=0)
    cfg.work_dir = str(folder / 'work')
    runner = Runner.from_cfg(cfg)
    before = {}

    class RememberWeights(Hook):
        def before_train(self, runner):
            before.update({n: p.detach().clone() for n, p in runner.model.named_parameters()})

    runner.register_hook(RememberWeights())
    runner.train()
    moved = [n for n, p in runner.model.named_parameters() if not torch.equal(p, before[n])]
    return dict(
        parameters=sum(weight.numel() for weight in before.values()),
        loss=runner.message_hub.get_scalar('train/loss').current(),
        moved_in_backbone=sum(name.startswith('backbone.') for name in moved),
        moved_elsewhere=sum(not name.startswith('backbone.') for name in moved),
    )


def load_for_step(path: Path):
    """A config whose framework is registered and that downloads nothing."""
    cfg = load_config(str(path))
    register_framework(cfg)
    return without_earlier_steps(without_downloads(cfg))


def without_earlier_steps(cfg):
    """Drops what an earlier step would leave: a searched schedule; two images cannot be split."""
    for hook in cfg.get('custom_hooks', []):
        if str(hook.get('schedule')).startswith('work_dirs/'):
            hook['schedule'] = None
    dataset = cfg.train_dataloader.dataset
    if dataset.type.endswith('ExcludeHeldOut'):
        cfg.train_dataloader.dataset = dataset.dataset
    return cfg


def write_data(cfg, dataset, root: Path) -> None:
    """Writes made-up images and annotations where a data set of a config looks for them."""
    if cfg.default_scope == 'mmengine':
        _write_class_folders(dataset, root)
        return
    with DATASETS.switch_scope_and_registry(cfg.default_scope) as registry:
        known = registry.get(dataset.type).METAINFO
    classes = dataset.get('metainfo', {}).get('classes') or known['classes']
    write = {
        'mmdet': _write_coco,
        'mmseg': _write_label_maps,
        'mmdet3d': _write_infos,
    }[cfg.default_scope]
    write(dataset, root, classes)


def _write_coco(dataset, root: Path, classes) -> None:
    images, annotations = [], []
    for number, picture in enumerate(_pictures(2)):
        name = f'{number}.jpg'
        _save(picture, root / dataset.data_prefix.img / name)
        images.append(dict(id=number, file_name=name, height=HEIGHT, width=WIDTH))
        for category, (x, y, w, h) in enumerate([(10, 20, 50, 60), (90, 40, 60, 70)]):
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=number,
                    category_id=category,
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


def _write_label_maps(dataset, root: Path, classes) -> None:
    rng = np.random.default_rng(1)
    with DATASETS.switch_scope_and_registry('mmseg') as registry:
        arguments = inspect.signature(registry.get(dataset.type)).parameters
    img_suffix, seg_map_suffix = (
        dataset.get(key, arguments[key].default if key in arguments else usual)
        for key, usual in (('img_suffix', '.jpg'), ('seg_map_suffix', '.png'))
    )
    for number, picture in enumerate(_pictures(2)):
        images, labels = dataset.data_prefix.img_path, dataset.data_prefix.seg_map_path
        _save(picture, root / images / f'{number}{img_suffix}')
        blocks = rng.integers(0, len(classes), (HEIGHT // 20, WIDTH // 20), dtype=np.uint8)
        label_map = blocks.repeat(20, axis=0).repeat(20, axis=1)
        _save(label_map, root / labels / f'{number}{seg_map_suffix}')


def _write_infos(dataset, root: Path, classes) -> None:
    """Infos, version 2, of nuScenes or KITTI."""
    kitti = dataset.type == 'KittiDataset'
    if not kitti and dataset.get('load_type', 'frame_based') == 'frame_based':
        data_list = _frames_of_many_cameras(dataset, root)
    else:
        data_list = _frames_of_one_camera(dataset, root)
    metainfo = dict(dataset='kitti' if kitti else 'nuscenes', info_version='1.1')
    metainfo['categories'] = {name: label for label, name in enumerate(classes)}
    path, infos = root / dataset.ann_file, dict(metainfo=metainfo, data_list=data_list)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(json.dumps(infos).encode() if path.suffix == '.json' else pickle.dumps(infos))


def _frames_of_many_cameras(dataset, root: Path) -> list[dict]:
    """Two key frames of all cameras of a data set, each with two boxes around the vehicle."""
    data_list = []
    for number, picture in enumerate(_pictures(2)):
        frame = ring_info(np.random.default_rng(number), [*dataset.data_prefix])
        for camera, prefix in dataset.data_prefix.items():
            _save(picture, root / prefix / f'{number}.jpg')
            frame['images'][camera]['img_path'] = f'{number}.jpg'
        frame |= dict(sample_idx=number, token=str(number))
        frame['instances'] = [
            dict(
                bbox_3d=[x, y, -1.0, 3.9, 1.7, 1.6, 0.3],
                bbox_label_3d=label,
                bbox_3d_isvalid=True,
                num_lidar_pts=5,
                velocity=[0.5, float('nan') if label else 0.1],
            )
            for label, (x, y) in enumerate([(6.0, 9.0), (-12.0, 3.0)])
        ]
        data_list.append(frame)
    return data_list


def _frames_of_one_camera(dataset, root: Path) -> list[dict]:
    """Two frames of one camera, each with two boxes on the road."""
    kitti = dataset.type == 'KittiDataset'
    key, camera_name = ('img', 'CAM2') if kitti else ('CAM_FRONT', 'CAM_FRONT')
    focal, data_list = 120.0, []
    cam2img = [[focal, 0.0, WIDTH / 2], [0.0, focal, HEIGHT / 2], [0.0, 0.0, 1.0]]
    to_image = np.eye(4)
    to_image[:3, :3] = cam2img
    for number, picture in enumerate(_pictures(2)):
        name = f'{number}.jpg'
        _save(picture, root / dataset.data_prefix[key] / name)
        boxes = []
        for label, (x, depth) in enumerate([(-1.5, 6.0), (2.0, 9.0)]):
            length, height, width = 3.9, 1.6, 1.7
            u, v = focal * x / depth + WIDTH / 2, focal * 0.5 / depth + HEIGHT / 2
            half_width, half_height = focal * width / depth / 2, focal * height / depth / 2
            box = dict(
                bbox=[u - half_width, v - half_height, u + half_width, v + half_height],
                bbox_label=label,
                bbox_3d=[x, 0.5, depth, length, height, width, 1.5],
                bbox_label_3d=label,
                bbox_3d_isvalid=True,
                velocity=[0.1, 0.0],
                center_2d=[u, v],
                depth=depth,
                attr_label=label,
            )
            boxes.append(box)
        camera = dict(img_path=name, height=HEIGHT, width=WIDTH, cam2img=cam2img)
        if kitti:
            camera.update(cam2img=to_image.tolist(), lidar2cam=np.eye(4).tolist())
        frame = dict(sample_idx=number, token=str(number), ego2global=np.eye(4).tolist())
        frame |= dict(images={camera_name: camera}, cam_instances={camera_name: boxes})
        data_list.append(frame)
    return data_list


def _write_class_folders(dataset, root: Path) -> None:
    for number, picture in enumerate(_pictures(2)):
        _save(picture, root / dataset.data_prefix.img / f'class-{number}' / '0.jpg')


def _pictures(count: int) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(0)
    for _ in range(count):
        yield rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)


def _save(picture: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path)


def _dicts(value: Any) -> Iterator[dict]:
    """Every dict inside a config value."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for inner in value:
            yield from _dicts(inner)


def _divided(size: Any, factor: int) -> Any:
    if isinstance(size, (list, tuple)):
        return type(size)(_divided(side, factor) for side in size)
    return math.ceil(size / factor)
