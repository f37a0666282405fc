"""Checks that a label means the same class in every data set of a run and in the heads.

Frameworks number classes by their place in a list. Where two lists differ, nothing fails: boxes and
pixels only get the names of other classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS

from sparsevit_mm.checkpoints.reading import read_content
from sparsevit_mm.checks.configs import dataset_configs, type_name
from sparsevit_mm.errors import ConfigError

_HEADS = {
    'mmdet': ('bbox_head', 'mask_head'),
    'mmseg': ('decode_head',),
    'mmdet3d': ('bbox_head', 'pts_bbox_head'),
}
"""Heads that classify, by framework."""


_OTHER_MEANINGS = ('BaseVideoDataset', 'CocoPanopticDataset')
"""Data sets whose own classes are not those of boxes: of tracks, or of things and stuff."""


def check_classes(cfg: Config, loaders: Iterable[str]) -> None:
    """Checks that data sets list the same classes in one order, and heads have as many.

    Args:
        cfg: The whole config; its framework must be registered.
        loaders: Data loaders of the run. The training set is compared with them, too.

    Raises:
        ConfigError: If they do not match.
    """
    if 'language_model' in (cfg.get('model') or {}):  # it scores words, whatever their number
        return
    loaders = list(loaders)
    others = [name for name in ('train_dataloader',) if name not in loaders]
    first: tuple[str, list[str]] | None = None
    for loader in loaders + others:
        for field, dataset in dataset_configs(cfg.get(loader), loader):
            names = classes_of(dataset, field, cfg.get('default_scope'))
            if names is None:
                continue
            given = (dataset.get('metainfo') or {}).get('classes') is not None
            found = (f'{field}.metainfo.classes' if given else field, names)
            first = first or found
            _check_same(first, found)
    if first is not None:
        check_heads(cfg, *first)


def check_classes_of_checkpoint(cfg: Config, path: str, loader: str) -> None:
    """Checks that labels of a trained checkpoint mean what they mean in the data.

    Names may differ, as 'car' and 'Car' do; a name of the data that had another label in training
    is an error.

    Args:
        cfg: The whole config; its framework must be registered.
        path: The checkpoint, a file or an address; it may say nothing of classes.
        loader: The data loader it is used with.

    Raises:
        CheckpointError: If it cannot be read.
        ConfigError: If a label means another class.
    """
    trained = _classes_in(read_content(path))
    if trained is None or 'language_model' in (cfg.get('model') or {}):
        return
    for field, dataset in dataset_configs(cfg.get(loader), loader):
        names = classes_of(dataset, field, cfg.get('default_scope')) or []
        for label, name in enumerate(names):
            if name in trained and trained.index(name) != label:
                raise ConfigError(
                    f'class {label} of {field} is {name!r}, but is class {trained.index(name)} of '
                    f'the checkpoint {path}, which was trained on {listed(trained)}: list the '
                    'classes in its order in metainfo.classes.'
                )


def _classes_in(content: Any) -> list[str] | None:
    """The classes that mmengine, or an older runner, noted in a checkpoint; None without."""
    meta = content.get('meta') if isinstance(content, Mapping) else None
    if not isinstance(meta, Mapping):
        return None
    data = meta.get('dataset_meta')
    classes = data.get('classes') if isinstance(data, Mapping) else meta.get('CLASSES')
    return list(classes) if isinstance(classes, (list, tuple)) else None


def classes_of(dataset: Mapping[str, Any], field: str, scope: str | None) -> list[str] | None:
    """The classes of a data set in the order of their labels; None if they are not known.

    Args:
        dataset: The config of a data set.
        field: Its field in the whole config.
        scope: Scope of the framework.

    Raises:
        ConfigError: If they are given as something else than a list or a file.
    """
    given = given_classes(dataset, field)
    if given is not None:
        return given
    kind: Any = dataset.get('type')
    if isinstance(kind, str):
        with DATASETS.switch_scope_and_registry(scope) as registry:
            kind = registry.get(kind)
    if hasattr(kind, 'find_classes'):
        prefix = (dataset.get('data_prefix') or {}).get('img', '')
        root = Path(dataset.get('data_root') or '', prefix)
        return list(kind.find_classes(root)) if root.is_dir() else None
    if any(base.__name__ in _OTHER_MEANINGS for base in getattr(kind, '__mro__', ())):
        return None
    known = (getattr(kind, 'METAINFO', None) or {}).get('classes')
    return None if known is None else list(known)


def given_classes(dataset: Mapping[str, Any], field: str) -> list[str] | None:
    """The classes in the `metainfo` of a data set's config; None if there are none.

    Raises:
        ConfigError: If they are neither a list of names nor a file with one a line.
    """
    classes = (dataset.get('metainfo') or {}).get('classes')
    if classes is None:
        return None
    if isinstance(classes, str):
        if not Path(classes).is_file():
            raise ConfigError(
                f'{field}.metainfo.classes is {classes!r}, but must be a list of names or a file '
                f'with one a line; for a single class write ({classes!r},) with the comma.'
            )
        return Path(classes).read_text(encoding='utf-8').rstrip('\n').split('\n')
    names = list(classes)
    if not names or not all(isinstance(name, str) for name in names):
        raise ConfigError(f'{field}.metainfo.classes is {classes!r}, but must be a list of names.')
    repeated = [name for name in names if names.count(name) > 1]
    if repeated:
        raise ConfigError(
            f'{field}.metainfo.classes holds {repeated[0]!r} twice, but must hold every name once.'
        )
    return names


def check_heads(cfg: Config, owner: str, classes: list[str]) -> None:
    """Checks that the heads of a model are for as many classes as a data set has.

    Args:
        cfg: The whole config.
        owner: Field of the data set, or of its classes.
        classes: Its classes.

    Raises:
        ConfigError: If a head is for another number of classes, or for the same ones in another
            order.
    """
    model = cfg.get('model') or {}
    for head, number, names in _heads(model, 'model', cfg.get('default_scope')):
        if number != len(classes):
            raise ConfigError(
                f'{head} is {number}, but {owner} has {len(classes)}: {listed(classes)}.'
            )
        if names is not None:
            _check_same((owner, classes), (head, names))


def listed(names: Iterable[str], most: int = 10) -> str:
    """The first of some names, and how many more there are."""
    names = [str(name) for name in names]
    more = f' and {len(names) - most} more' if len(names) > most else ''
    return ', '.join(names[:most]) + more


def _check_same(first: tuple[str, list[str]], second: tuple[str, list[str]]) -> None:
    if first[1] == second[1]:
        return
    (field, names), (other, others) = first, second
    if len(names) != len(others):
        raise ConfigError(
            f'{other} has {len(others)} classes ({listed(others)}), but must have the '
            f'{len(names)} of {field} ({listed(names)}).'
        )
    label = next(i for i, pair in enumerate(zip(names, others)) if pair[0] != pair[1])
    raise ConfigError(
        f'class {label} of {other} is {others[label]!r}, but must be {names[label]!r} as in '
        f'{field}: labels count the classes in their order.'
    )


def _heads(cfg: Any, field: str, scope: str | None) -> Iterator[tuple[str, int, list[str] | None]]:
    """Yields the field of each head that classifies, its number of classes, and their names."""
    if scope not in _HEADS:
        if type_name(cfg) == 'ImageClassifier':
            yield f'{field}.num_classes', cfg.get('num_classes', 1000), None
        return
    if isinstance(cfg, Mapping):
        for key, value in cfg.items():
            yield from _heads(value, f'{field}.{key}', scope)
        name = field.rpartition('.')[2].partition('[')[0]
        if name not in _HEADS[scope] or 'Depth' in type_name(cfg):
            return
        if 'num_classes' in cfg:
            yield f'{field}.num_classes', cfg['num_classes'], None
        elif scope == 'mmdet3d' and cfg.get('tasks'):
            names = [name for task in cfg['tasks'] for name in task['class_names']]
            yield f'{field}.tasks', len(names), names
    elif isinstance(cfg, (list, tuple)):
        for index, value in enumerate(cfg):
            yield from _heads(value, f'{field}[{index}]', scope)
