"""Any shipped config at sizes that a processor trains in seconds; all else of it stays."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from sparsevit_mm.apis.configs import innermost_dataset, load_config, register_framework
from sparsevit_mm.models.fastervit_arch import FasterViTArch
from sparsevit_mm.models.swin_arch import SwinArch

SMALL_DIMS, SMALL_HEADS, LARGE_WINDOW = 12, (1, 2, 3, 6), 14
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
EVALUATORS = ('val_evaluator', 'test_evaluator')

_NARROW = {128: 16, 256: 32, 512: 64, 1024: 64, 2048: 64}
_CHANNELS = {
    'in_channels', 'out_channels', 'channels', 'feat_channels', 'conv_out_channels', 'embed_dims',
    'fc_out_channels', 'feedforward_channels', 'num_feats', 'cls_branch', 'reg_branch',
    'dir_branch', 'attr_branch', 'depth_branch', 'weight_branch',
}  # fmt: skip
_COUNTS = {
    'num_queries', 'num_points', 'num', 'nms_pre', 'max_per_img', 'max_num', 'pre_max_size',
    'post_max_size',
}  # fmt: skip


def load_for_step(path: Path):
    """A config whose framework is registered and that downloads nothing."""
    cfg = load_config(str(path))
    register_framework(cfg)
    return without_earlier_steps(without_downloads(cfg))


def without_downloads(cfg):
    """Drops what would be fetched: pre-trained weights and a checkpoint to start from."""
    cfg.load_from = None
    for part in _dicts(cfg.model):
        if 'init_cfg' in part and (part['init_cfg'] or {}).get('type') == 'Pretrained':
            part['init_cfg'] = None
    return cfg


def without_earlier_steps(cfg):
    """Drops what an earlier step would leave: a searched schedule; two images cannot be split."""
    for hook in cfg.get('custom_hooks', []):
        if str(hook.get('schedule')).startswith('work_dirs/'):
            hook['schedule'] = None
    dataset = cfg.train_dataloader.dataset
    if dataset.type.endswith('ExcludeHeldOut'):
        cfg.train_dataloader.dataset = dataset.dataset
    return cfg


def with_small_backbone(cfg):
    """Narrows a backbone and what reads from it to 12 channels, and windows to 14 by 14 tokens."""
    backbone = cfg.model.backbone
    if backbone.type.endswith('ResNet'):  # a baseline, small enough as it is
        return cfg
    stages = len(backbone.get('depths', SMALL_HEADS))
    if backbone.type.endswith('FasterViT'):
        published = FasterViTArch.build(backbone.get('arch', '0'))
        dims = backbone.get('dim') or published.dim
        backbone.update(dim=SMALL_DIMS, in_dim=SMALL_DIMS, num_heads=SMALL_HEADS)
        if max(published.window_size) > LARGE_WINDOW:
            backbone.window_size = [min(size, LARGE_WINDOW) for size in published.window_size]
    else:
        dims = backbone.get('embed_dims', 96)
        if 'arch' in backbone:
            dims = SwinArch.build(backbone.arch, backbone.get('width', 1.0)).embed_dims
        backbone.update(embed_dims=SMALL_DIMS, num_heads=SMALL_HEADS[:stages])
        if 'width' in backbone:
            backbone.width = 1.0
    narrowed = {dims * 2**stage: SMALL_DIMS * 2**stage for stage in range(stages)}
    if isinstance(cfg.model.get('in_channels'), int):
        cfg.model.in_channels = narrowed[cfg.model.in_channels]
    # With a neck only the neck reads from the backbone.
    heads = [n for n, part in cfg.model.items() if 'head' in n and isinstance(part, Mapping)]
    readers = ['neck'] if 'neck' in cfg.model else heads
    for part in (cfg.model[name] for name in readers):
        found = part.get('in_channels')
        if isinstance(found, (list, tuple)):
            part['in_channels'] = [narrowed[channels] for channels in found]
        elif found is not None:
            part['in_channels'] = narrowed[found]
    return cfg


def with_small_heads(cfg):
    """Narrows necks and heads to an eighth; call it after `with_small_backbone`."""
    model = cfg.model
    if 'view_transform' in model:
        model.neck.out_channels = model.view_transform.in_channels = 32
        model.view_transform.out_channels = model.bev_backbone.in_channels = 16
        model.bev_neck.update(in_channels=[32, 128], out_channels=32)
        model.bbox_head.in_channels = 32
        return cfg
    # DINO's decoder encodes places with 256 numbers, whatever the config says.
    keys = {'feedforward_channels'} if model.type == 'DINO' else _CHANNELS
    for name, part in model.items():
        if name != 'backbone':
            for inner in _dicts(part):
                for key in keys & inner.keys():
                    inner[key] = _narrowed(inner[key])
    return cfg


def with_small_images(cfg, factor=6):
    """Divides every size that pipelines resize or crop to."""
    pipelines = [innermost_dataset(cfg[name]).pipeline for name in LOADERS if cfg.get(name)]
    steps = {id(step): step for step in _dicts(pipelines)}
    for step in [*steps.values(), cfg.model.get('data_preprocessor', {})]:
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


def with_few_layers(cfg):
    """Limits the layers of encoders and decoders with attention to 2."""
    for part in _dicts(cfg.model):
        if part.get('num_layers'):
            part['num_layers'] = min(part['num_layers'], 2)
    return cfg


def with_few_boxes(cfg):
    """Limits queries, candidates, samples and detections to 30: duplicates are looked for in pairs.

    Small maps have fewer places than many detectors have queries.
    """
    for part in _dicts(cfg.model):
        for key in _COUNTS & part.keys():
            part[key] = min(part[key], 30)
    return cfg


def with_every_detection(cfg):
    """Lets detectors report what they are unsure of: untrained ones are of everything."""
    for part in _dicts(cfg.model):
        for key in ('score_thr', 'score_threshold'):
            if part.get(key):
                part[key] = 0.0
    return cfg


def with_small_loaders(cfg, batch_size: int):
    """One training iteration, which sees the whole set; no worker processes."""
    for name in LOADERS:
        if cfg.get(name):
            cfg[name].update(num_workers=0, persistent_workers=False)
    cfg.train_dataloader.batch_size = batch_size
    for dataset in _dicts(cfg.train_dataloader.dataset):
        if dataset.get('type') == 'RepeatDataset':
            dataset.times = 1
    for key in ('max_epochs', 'max_iters', 'val_interval'):
        if key in cfg.train_cfg:
            cfg.train_cfg[key] = 1
    return cfg


def with_data_at(cfg, root: Path):
    """Moves the root of the data of all loaders and evaluators."""
    roots = set()
    for name in LOADERS:
        if cfg.get(name):
            dataset = innermost_dataset(cfg[name])
            roots.add(dataset.data_root)
            dataset.data_root = f'{root}/'
    for name in EVALUATORS:
        for metric in _dicts(cfg.get(name)):
            for key in ('ann_file', 'data_root'):
                for old in roots:
                    if str(metric.get(key)).startswith(old):
                        metric[key] = metric[key].replace(old, f'{root}/', 1)
    return cfg


def changed_options(before: Config, after: Config) -> list[str]:
    """What to give `--cfg-options` to make one config of another.

    Raises:
        ValueError: If a field is in the first alone: no option takes one away.
    """
    changes = _changes(before._cfg_dict, after._cfg_dict, '')
    return [f'{field}={_as_option(value)}' for field, value in changes]


def _changes(before: Any, after: Any, field: str) -> Iterator[tuple[str, Any]]:
    mappings = isinstance(before, Mapping) and isinstance(after, Mapping)
    lists = isinstance(before, list) and isinstance(after, list) and len(before) == len(after)
    dot = f'{field}.' if field else ''
    if mappings:
        if before.keys() - after.keys():
            raise ValueError(f'{dot}{(before.keys() - after.keys()).pop()} was taken away')
        for key, value in after.items():
            if key in before or isinstance(value, Mapping):
                yield from _changes(before.get(key, {}), value, dot + key)
            else:
                yield dot + key, value
    elif lists and any(True for _ in _dicts(before)):
        for index, (old, new) in enumerate(zip(before, after)):
            yield from _changes(old, new, f'{dot}{index}')
    elif before != after:
        yield field, after


def _as_option(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        inner = ''.join(f'{_as_option(inner)},' for inner in value)
        return f'[{inner}]' if isinstance(value, list) else f'({inner})'
    return str(value)


def _dicts(value: Any) -> Iterator[dict]:
    """Every dict inside a config value."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for inner in value:
            yield from _dicts(inner)


def _narrowed(channels: Any) -> Any:
    if isinstance(channels, (list, tuple)):
        return type(channels)(_narrowed(inner) for inner in channels)
    return _NARROW.get(channels, channels)


def _divided(size: Any, factor: int) -> Any:
    if isinstance(size, (list, tuple)):
        return type(size)(_divided(side, factor) for side in size)
    return math.ceil(size / factor)
