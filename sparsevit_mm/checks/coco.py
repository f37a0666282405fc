"""Checks COCO annotation files of custom data sets before training.

MMDetection silently ignores classes that a file does not have and renumbers the others: boxes then
have wrong labels, or there are no boxes. Other missing entries end in a `KeyError` of a worker. The
checks here report each of these in one sentence.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config

from sparsevit_mm.checks.classes import check_heads, given_classes, listed
from sparsevit_mm.checks.configs import dataset_configs, is_format_only
from sparsevit_mm.errors import ConfigError

_LARGEST_FILE = 200 * 2**20
"""Bytes that are parsed in about two seconds; COCO's own files are larger and need no check."""


def check_coco_annotations(cfg: Config, loaders: Iterable[str]) -> None:
    """Checks that classes, annotation files and heads of a detector match.

    Args:
        cfg: The whole config; its framework must be registered and its files must exist.
        loaders: Data loaders of the run, such as 'train_dataloader'.

    Raises:
        ConfigError: If they do not match.
    """
    if cfg.get('default_scope') != 'mmdet':
        return
    for loader in loaders:
        for field, dataset in dataset_configs(cfg.get(loader), loader):
            kind = _kind(dataset)
            if kind is not None:
                _check_dataset(cfg, field, dataset, kind)


def _kind(dataset: Mapping[str, Any]) -> type | None:
    """Class of a data set in COCO format; None for other data sets."""
    from mmdet.datasets import CocoDataset
    from mmdet.registry import DATASETS

    kind = DATASETS.get(dataset['type'])
    if not isinstance(kind, type) or not issubclass(kind, CocoDataset):
        return None
    # Those that read files in another way, such as panoptic sets and LVIS, have another format.
    same = all(
        getattr(kind, name) is getattr(CocoDataset, name)
        for name in ('load_data_list', 'parse_data_info')
    )
    return kind if same else None


def _check_dataset(cfg: Config, field: str, dataset: Mapping[str, Any], kind: Any) -> None:
    path = Path(dataset.get('data_root') or '', dataset.get('ann_file') or '')
    if not path.is_file() or path.stat().st_size > _LARGEST_FILE:
        return
    has_annotations = not is_format_only(cfg, field.partition('.')[0])
    coco = _read(path, has_annotations)
    named = {category['name']: category['id'] for category in coco['categories']}
    classes = given_classes(dataset, field)
    if classes is None:
        known = kind.METAINFO.get('classes', ())
        if not set(known) & set(named):
            raise ConfigError(
                f'{field}.metainfo.classes is missing, and {path} has none of the classes of '
                f'{kind.__name__} but {listed(named)}.'
            )
        _check_order(
            coco, known, f'{field}.metainfo.classes is missing, and {kind.__name__} has', path, kind
        )
        if has_annotations:
            _check_category_ids(path, coco)
        return
    unknown = [name for name in classes if name not in named]
    if unknown:
        raise ConfigError(
            f'{field}.metainfo.classes holds {unknown[0]!r}, but {path} has {listed(named)}.'
        )
    check_heads(cfg, f'{field}.metainfo.classes', classes)
    _check_order(coco, classes, f'{field}.metainfo.classes has', path, kind)
    if not has_annotations:
        return
    _check_category_ids(path, coco)
    masks = any(step.get('with_mask') for step in dataset.get('pipeline') or ())
    _check_annotations(path, coco, {named[name] for name in classes}, masks)


def _read(path: Path, has_annotations: bool) -> dict[str, list[Any]]:
    try:
        coco = json.loads(path.read_bytes())
    except OSError as error:
        raise ConfigError(f'{path} cannot be read: {error.strerror}.') from None
    except ValueError as error:
        raise ConfigError(f'{path} is no JSON: {error}.') from None
    except RecursionError:
        raise ConfigError(f'{path} is no JSON that can be read: it is nested too deeply.') from None
    parts = ('images', *['annotations'] * has_annotations, 'categories')
    missing = [
        part for part in parts if not isinstance(coco, dict) or not isinstance(coco.get(part), list)
    ]
    if missing:
        raise ConfigError(
            f'{path} has no list of {missing[0]}, but COCO annotations have {", ".join(parts)}.'
        )
    for part, keys in (('images', ('id', 'file_name', 'height', 'width')),
                       ('categories', ('id', 'name'))):  # fmt: skip
        for index, entry in enumerate(coco[part]):
            _check_keys(path, f'{part}[{index}]', entry, keys)
    for part in parts:
        for index, entry in enumerate(coco[part]):
            _check_values(path, f'{part}[{index}]', entry)
    return coco


def _check_annotations(
    path: Path, coco: Mapping[str, list[Any]], categories: set[int], masks: bool
) -> None:
    images = {image['id'] for image in coco['images']}
    for index, annotation in enumerate(coco['annotations']):
        place = f'annotations[{index}]'
        _check_keys(path, place, annotation, ('image_id', 'category_id', 'bbox', 'area'))
        if annotation['image_id'] not in images:
            raise ConfigError(
                f'{place}.image_id of {path} is {annotation["image_id"]}, but no image has that id.'
            )
        if masks and annotation['category_id'] in categories and not annotation.get('segmentation'):
            raise ConfigError(
                f'{place} of {path} has no segmentation, but the config trains masks: give one, '
                'such as the polygon of the box, or take a config without a mask head.'
            )


def _check_order(
    coco: Mapping[str, list[Any]], classes: Sequence[str], owner: str, path: Path, kind: Any
) -> None:
    """Checks that MMDetection, which numbers classes as the file does, numbers them as listed."""
    from mmdet.datasets import CocoDataset

    if kind.load_data_list is not CocoDataset.load_data_list:  # LVIS and others number otherwise
        return
    found = [c['name'] for c in coco['categories'] if c['name'] in classes]
    for label, name in enumerate(found):
        if label >= len(classes) or name != classes[label]:
            meant = classes[label] if label < len(classes) else 'nothing'
            raise ConfigError(
                f'{owner} {meant!r} as class {label}, but must have {name!r}: MMDetection numbers '
                f'classes in the order of the categories of {path}, {listed(found)}.'
            )


def _check_category_ids(path: Path, coco: Mapping[str, list[Any]]) -> None:
    known = dict.fromkeys(category['id'] for category in coco['categories'])
    given = [a['category_id'] for a in coco['annotations'] if 'category_id' in a]
    unknown = [category for category in given if category not in known]
    if unknown:
        raise ConfigError(
            f'category_id of {len(unknown)} of the {len(given)} annotations of {path} is one that '
            f'no category has, such as {unknown[0]}, but must be one of {listed(known)}.'
        )


def _check_values(path: Path, place: str, entry: Any) -> None:
    """Checks that what is read of an image, annotation or category is of the right kind."""
    if not isinstance(entry, dict):
        raise ConfigError(f'{place} of {path} is a {type(entry).__name__}, but must be an object.')
    for key, value in entry.items():
        allowed, what = _KINDS.get(key, (_anything, ''))
        if not allowed(value):
            shown = str(value)[:60] if _is_scalar(value) else f'a {type(value).__name__}'
            raise ConfigError(f'{place}.{key} of {path} is {shown}, but must be {what}.')


def _anything(value: Any) -> bool:
    return True


def _is_scalar(value: Any) -> bool:
    return isinstance(value, str) or _is_number(value)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 2**63


def _is_size(value: Any) -> bool:
    return _is_number(value) and value > 0


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_box(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 4 and all(map(_is_number, value))


def _is_mask(value: Any) -> bool:
    """Polygons, or a run-length encoding."""
    if isinstance(value, dict):
        return {'size', 'counts'} <= value.keys() and isinstance(value['counts'], (list, str))
    return isinstance(value, list) and all(
        isinstance(polygon, list) and all(map(_is_number, polygon)) for polygon in value
    )


_KINDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    'id': (_is_scalar, 'a number or text'),
    'image_id': (_is_scalar, 'a number or text'),
    'category_id': (_is_scalar, 'a number or text'),
    'file_name': (_is_text, 'text'),
    'name': (_is_text, 'text'),
    'height': (_is_size, 'a positive number'),
    'width': (_is_size, 'a positive number'),
    'bbox': (_is_box, 'four numbers: left, top, width and height'),
    'area': (_is_number, 'a number'),
    'segmentation': (_is_mask, 'a list of polygons, or an object with size and counts'),
}


def _check_keys(path: Path, place: str, entry: Any, keys: Sequence[str]) -> None:
    missing = [key for key in keys if not isinstance(entry, dict) or key not in entry]
    if missing:
        raise ConfigError(f'{place} of {path} has no {missing[0]}, but {", ".join(keys)} are read.')
