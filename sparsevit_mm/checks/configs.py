"""Checks of a config and its files before a run starts.

Each check raises one sentence that names the field, the value and what is allowed, and writes
nothing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import MODELS, DefaultScope
from torch import Tensor, nn

from sparsevit_mm.checkpoints.bevdet import bevdet_in_our_names
from sparsevit_mm.checkpoints.loading import read_weights, resize_to_fit
from sparsevit_mm.errors import CheckpointError, ConfigError
from sparsevit_mm.models.swin import SwinBackbone
from sparsevit_mm.registry import SCOPE

DATA_SOURCE = 'data_source'
"""Field of a config that says where to get its data set."""


def check_writable_folder(path: str | Path, field: str) -> None:
    """Checks that files can be written into a folder, which need not exist yet.

    Args:
        path: The folder.
        field: Its field in the config or on the command line.

    Raises:
        ConfigError: If it cannot be written to.
    """
    existing = Path(path).absolute()
    try:
        while not existing.exists():
            existing = existing.parent
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise ConfigError(
            f'{field} is {path}, but nothing can be written there ({existing}: {error.strerror}).'
        ) from None


def check_checkpoint_exists(path: str | None, field: str) -> None:
    """Checks that a checkpoint file exists; addresses are not checked.

    Args:
        path: The file, an address with `://`, or None.
        field: Its field in the config or on the command line.

    Raises:
        CheckpointError: If there is no such file.
    """
    if path is not None and '://' not in path and not Path(path).is_file():
        raise CheckpointError(
            f'{field} is {path}, but there is no such file (looked for at {Path(path).absolute()}).'
        )


def check_datasets(cfg: Config, loaders: Iterable[str], evaluators: Iterable[str]) -> None:
    """Checks that every annotation file and image folder of a run exists.

    Args:
        cfg: The whole config; the error names its `data_source`, if there is one.
        loaders: Data loaders of the run, such as 'train_dataloader'.
        evaluators: Evaluators of the run, such as 'val_evaluator'.

    Raises:
        ConfigError: If something is missing.
    """
    for loader in loaders:
        for field, dataset in dataset_configs(cfg.get(loader), loader):
            for key, path in _dataset_paths(dataset):
                if key == 'data_prefix.seg_map_path' and is_format_only(cfg, loader):
                    continue
                _check_data(path, f'{field}.{key}', cfg, dataset.get('data_root'))
    for evaluator in evaluators:
        metrics = cfg.get(evaluator) or []
        for metric in metrics if isinstance(metrics, Sequence) else [metrics]:
            if metric.get('ann_file'):
                _check_data(metric['ann_file'], f'{evaluator}.ann_file', cfg, None)


def is_format_only(cfg: Config, loader: str) -> bool:
    """Whether predictions on a data set are only written, so that it needs no annotations.

    Args:
        cfg: The whole config.
        loader: The data set's loader, such as 'test_dataloader'.
    """
    metrics = cfg.get(loader.replace('dataloader', 'evaluator')) or []
    metrics = metrics if isinstance(metrics, Sequence) else [metrics]
    return any(metric.get('format_only') for metric in metrics)


def check_mixed_precision(cfg: Config) -> None:
    """Checks that a run with mixed precision has a GPU.

    Raises:
        ConfigError: If there is only a CPU.
    """
    kind = str(cfg.get('optim_wrapper', {}).get('type'))
    if kind.endswith('AmpOptimWrapper') and get_device() == 'cpu':
        raise ConfigError(
            f'optim_wrapper.type is {kind}, which needs a GPU, but there is only a CPU: train in '
            'single precision with: --cfg-options optim_wrapper.type=OptimWrapper'
        )


def build_model(cfg: Config) -> nn.Module:
    """Builds the model of a config on the CPU without initializing its weights.

    Args:
        cfg: The whole config; its framework must be registered.

    Raises:
        ConfigError: If an argument of a backbone is outside what is allowed, or a neck expects
            other channels than its maps have.
    """
    model_cfg = deepcopy(cfg.model)
    if 'data_preprocessor' in cfg:
        model_cfg.setdefault('data_preprocessor', cfg.data_preprocessor)
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope')):
        model: nn.Module = MODELS.build(model_cfg)
    for backbone, neck in (('backbone', 'neck'), ('img_backbone', 'img_neck')):
        _check_neck(getattr(model, backbone, None), cfg.model.get(neck), f'model.{neck}')
    if cfg.get('default_scope') == 'mmseg' and cfg.model.get('neck') is None:
        for head in ('decode_head', 'auxiliary_head'):
            _check_heads_on_maps(getattr(model, 'backbone', None), cfg.model.get(head), head)
    return model


def _check_neck(backbone: Any, neck: Any, field: str) -> None:
    """Checks that a neck that takes every map of one of our backbones expects its channels."""
    neck, field = (neck[0], f'{field}.0') if isinstance(neck, list) and neck else (neck, field)
    channels = _channels_of_maps(backbone)
    wanted = neck.get('in_channels') if isinstance(neck, Mapping) else None
    if channels is None or not isinstance(wanted, (list, tuple)):
        return
    # Some necks list them from the last map on.
    if len(wanted) == len(channels) and sorted(wanted) != sorted(channels):
        raise ConfigError(
            f'{field}.in_channels is {list(wanted)}, but must be {channels}, the channels of the '
            f'maps of {type(backbone).__name__}.'
        )


def _check_heads_on_maps(backbone: Any, heads: Any, name: str) -> None:
    """Checks that MMSegmentation's heads expect the channels of the maps that they choose."""
    channels = _channels_of_maps(backbone)
    if channels is None:
        return
    several = isinstance(heads, (list, tuple))
    for number, head in enumerate(heads if several else [heads]):
        field = f'model.{name}.{number}' if several else f'model.{name}'
        wanted = head.get('in_channels') if isinstance(head, Mapping) else None
        if wanted is None:
            continue
        index = head.get('in_index', -1)
        if isinstance(wanted, (list, tuple)):
            chosen = index if isinstance(index, (list, tuple)) else range(len(channels))
        else:
            chosen, wanted = [index], [wanted]
        outside = [i for i in chosen if not -len(channels) <= i < len(channels)]
        if outside:
            raise ConfigError(
                f'{field}.in_index is {index}, but {type(backbone).__name__} has '
                f'{len(channels)} maps.'
            )
        right = [channels[i] for i in chosen]
        if list(wanted) != right:
            raise ConfigError(
                f'{field}.in_channels is {head["in_channels"]}, but must be '
                f'{right if isinstance(head["in_channels"], (list, tuple)) else right[0]}, the '
                f'channels of the maps of {type(backbone).__name__} that in_index chooses.'
            )


def _channels_of_maps(backbone: Any) -> list[int] | None:
    """Channels of every map of one of our backbones; None for another one."""
    dims = getattr(getattr(backbone, 'arch', None), 'stage_dims', None)
    return None if dims is None else [dims[stage] for stage in backbone.out_indices]


def check_pretrained(model: nn.Module) -> None:
    """Checks that checkpoints in the `init_cfg` of our backbones fit them.

    Args:
        model: Returned by `build_model`; its weights are changed.

    Raises:
        CheckpointError: If a file is missing or of another architecture.
    """
    for part in model.modules():
        pretrained = _pretrained(part)
        if pretrained is not None and type(part).__module__.startswith(f'{SCOPE}.'):
            check_checkpoint_exists(pretrained, f'init_cfg of {type(part).__name__}')
            part.init_weights()  # type: ignore[operator]


def check_weights_fit(model: nn.Module, path: str, part: str = '') -> None:
    """Checks that a checkpoint fits the architecture of a model, by loading it.

    Args:
        model: The model; its weights are changed.
        path: The checkpoint, a file or an address.
        part: Prefix of the parameters that must be in the file, such as 'backbone.'; its position
            tables may be of another window or image size. All parameters by default.

    Raises:
        CheckpointError: If it cannot be read, or a parameter is missing or of another shape there.
    """
    weights = bevdet_in_our_names(read_weights(path))
    if part:
        weights = _with_fitting_tables(model, weights)
    wanted = {
        name: tuple(parameter.shape)
        for name, parameter in model.named_parameters()
        if name.startswith(part)
    }
    wrong = [
        f'{name} is {tuple(weight.shape)} instead of {wanted[name]}'
        for name, weight in weights.items()
        if name in wanted and tuple(weight.shape) != wanted[name]
    ]
    if not wrong:
        # Names are not compared: modules may rename parameters of older versions when they load.
        fitting = {name: weight for name, weight in weights.items() if name.startswith(part)}
        missing = model.load_state_dict(fitting, strict=False).missing_keys
        wrong = [f'{name} is missing' for name in missing if name in wanted]
    if wrong:
        others = f' ({len(wrong) - 1} more such)' if len(wrong) > 1 else ''
        raise CheckpointError(
            f'the checkpoint {path} is of another architecture than the config: {wrong[0]}{others}.'
        )


def _with_fitting_tables(model: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights with position tables interpolated, as our backbones do it when they load."""
    fitting = dict(weights)
    for place, module in model.named_modules():
        if isinstance(module, SwinBackbone):
            for name, weight in weights.items():
                if name.startswith(f'{place}.'):
                    fitting[name] = resize_to_fit(module, name[len(place) + 1 :], weight)
    return fitting


def type_name(cfg: Any) -> str:
    """Name of the class that a config's `type` names or is, without a scope such as `mmdet.`.

    Args:
        cfg: The config of a module; anything without a `type` gives 'None'.
    """
    kind = cfg.get('type') if isinstance(cfg, Mapping) else None
    return str(getattr(kind, '__name__', kind)).rpartition('.')[2]


def dataset_configs(cfg: Any, field: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Finds the data sets of a loader, inside wrappers such as RepeatDataset and ConcatDataset.

    Args:
        cfg: The config of a loader, a data set or a wrapper; anything else has no data set.
        field: Its field in the whole config.

    Yields:
        Field and config of each data set.
    """
    if not isinstance(cfg, Mapping):
        return
    if 'data_root' in cfg or 'ann_file' in cfg or 'data_prefix' in cfg:
        yield field, cfg
    yield from dataset_configs(cfg.get('dataset'), f'{field}.dataset')
    for index, inner in enumerate(cfg.get('datasets') or []):
        yield from dataset_configs(inner, f'{field}.datasets.{index}')


def typed_configs(value: Any, prefix: str = '') -> Iterator[tuple[str, Any]]:
    """Every part of a config that has a `type`, at any depth, outer ones first.

    Args:
        value: A config or a part of one.
        prefix: What fields of the part are called in the whole config, with a dot at its end.

    Yields:
        Of every such part its prefix and itself.
    """
    children: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, Mapping):
        if 'type' in value:
            yield prefix, value
        children = list(value.items())
    elif isinstance(value, (list, tuple)):
        children = enumerate(value)
    for key, child in children:
        yield from typed_configs(child, f'{prefix}{key}.')


def _dataset_paths(dataset: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yields the path fields of a data set, joined like in mmengine's `BaseDataset`."""
    root = str(dataset.get('data_root') or '')
    if root:
        yield 'data_root', root
    prefix = dataset.get('data_prefix') or {}
    named = {'ann_file': dataset.get('ann_file')}
    if isinstance(prefix, Mapping):
        named |= {f'data_prefix.{key}': value for key, value in prefix.items()}
    else:
        named['data_prefix'] = prefix
    for key, path in named.items():
        if isinstance(path, str) and path and '://' not in root:
            yield key, path if '://' in path else str(Path(root, path))


def _check_data(path: str, field: str, cfg: Config, root: str | None) -> None:
    if '://' in path or Path(path).exists():
        return
    source = cfg.get(DATA_SOURCE)
    get_it = f'get {source} and put or link it' if source else 'put or link the data set'
    where = f'at {root}' if root else 'there'
    raise ConfigError(
        f'{field} is missing: looked for {Path(path).absolute()}; {get_it} {where}, or point the '
        'config elsewhere with --cfg-options.'
    )


def _pretrained(module: nn.Module) -> str | None:
    """The checkpoint in the `init_cfg` of a module; None if there is none."""
    init_cfg = getattr(module, 'init_cfg', None)
    if isinstance(init_cfg, Mapping) and init_cfg.get('type') == 'Pretrained':
        return str(init_cfg.get('checkpoint'))
    return None
