"""Applies the input scale and the number of proposals of a schedule to a config."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from mmengine.config import Config

from sparsevit_mm.checks.configs import dataset_configs, type_name, typed_configs
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.pruning.schedule import PruningSchedule
from sparsevit_mm.registry import MODELS

_DIVISORS = ('pad_size_divisor', 'size_divisor')


def apply_to_config(cfg: Config, schedule: Any) -> None:
    """Makes the validation and test pipelines and the RPN of a config those of a schedule.

    The config remembers its scale as `input_scale`, so that a schedule is not applied twice.

    Args:
        cfg: The whole config, which is changed.
        schedule: A schedule; any other form that `pruning_ratios` takes changes nothing.

    Raises:
        ConfigError: If the images cannot have the scale, or there are no proposals to choose.
    """
    if not isinstance(schedule, PruningSchedule):
        return
    if schedule.proposals is not None:
        _set_proposals(cfg, schedule.proposals)
    own = cfg.get('input_scale', 1.0)
    if schedule.scale in (1.0, own):
        return
    done = set()
    for loader in ('val_dataloader', 'test_dataloader'):
        for field, dataset in dataset_configs(cfg.get(loader), loader):
            if id(dataset) not in done and dataset.get('pipeline'):
                dataset.pipeline = scaled_pipeline(  # type: ignore[attr-defined]
                    dataset.pipeline,  # type: ignore[attr-defined]
                    schedule.scale / own,
                    size_divisor(cfg),
                    f'{field}.pipeline',
                )
                done.add(id(dataset))
    cfg.input_scale = schedule.scale


def size_divisor(cfg: Config) -> int:
    """What the sides of images are padded to multiples of; 1 if they are not."""
    own = cfg.model.get('data_preprocessor') or cfg.get('data_preprocessor') or {}
    parts = [own, own.get('test_cfg') or {}]
    return max(part.get(name) or 1 for part in parts for name in _DIVISORS)


def resized_shape(cfg: Config) -> tuple[int, int] | None:
    """Height and width that the test pipeline resizes to at most; None if it names no size."""
    for _, dataset in dataset_configs(cfg.get('test_dataloader'), 'test_dataloader'):
        for step in reversed(dataset.get('pipeline') or []):
            size = step.get('scale')
            if type_name(step) == 'Resize' and size is not None:
                width, height = _pair(size)
                return int(height), int(width)
    return None


def required_resized_shape(cfg: Config) -> tuple[int, int]:
    """Height and width that the test pipeline resizes to at most.

    Raises:
        ConfigError: If it names no size.
    """
    shape = resized_shape(cfg)
    if shape is None:
        raise ConfigError(
            'shape is missing, but must be given: there is no test set to look at, and the test '
            'pipeline has no Resize with a scale.'
        )
    return shape


def scaled_pipeline(pipeline: Sequence[Any], scale: float, divisor: int, field: str) -> list[Any]:
    """A test pipeline that resizes images to other sizes.

    Args:
        pipeline: Configs of its steps, which stay as they are.
        scale: The new sizes over the old.
        divisor: What the model pads sides to multiples of, see `size_divisor`.
        field: The pipeline's field in the config, for errors.

    Raises:
        ConfigError: If no step resizes images to a size, the images would be too small, or an exact
            size that needs no padding would need some.
    """
    steps = deepcopy(list(pipeline))
    resized = False
    for step in steps:
        kind = type_name(step)
        if kind == 'Resize' and step.get('scale') is not None:
            exact = not step.get('keep_ratio', False)
            step['scale'] = _scaled(_pair(step['scale']), scale, divisor, exact)
            resized = True
        elif kind == 'Resize' and step.get('scale_factor') is not None:
            factors = step['scale_factor']
            several = isinstance(factors, Sequence)
            step['scale_factor'] = (
                tuple(factor * scale for factor in factors) if several else factors * scale
            )
            resized = True
        elif kind == 'FixShapeResize':
            size = (step['width'], step['height'])
            exact = not step.get('keep_ratio', False)
            step['width'], step['height'] = _scaled(size, scale, divisor, exact)
            resized = True
        elif kind == 'Pad' and step.get('size') is not None:
            step['size'] = tuple(
                -(-round(side * scale) // divisor) * divisor for side in step['size']
            )
    if not resized:
        raise ConfigError(
            f'the input scale is {scale:g}, but must be 1: no step of {field} is a Resize to a '
            'size that could be scaled.'
        )
    return steps


def _scaled(size: tuple[int, int], scale: float, divisor: int, exact: bool) -> tuple[int, int]:
    """(width, height) times a scale, in whole pixels."""
    width, height = (round(side * scale) for side in size)
    says = f'the input scale is {scale:g}, which makes images of {size[0]} x {size[1]} pixels '
    says += f'(width, height) {width} x {height}, '
    if min(width, height) < max(divisor, 1):
        raise ConfigError(f'{says}but both sides must be at least {divisor}.')
    fits = all(side % divisor == 0 for side in size)
    if exact and fits and (width % divisor or height % divisor):
        allowed = ', '.join(f'{one:.4g}' for one in _allowed(size, scale, divisor))
        raise ConfigError(
            f'{says}but both sides must be multiples of {divisor}, as the model needs them: take '
            f'{allowed}.'
        )
    return width, height


def _allowed(size: tuple[int, int], scale: float, divisor: int) -> list[float]:
    """The nearest smaller and larger scale at which both sides are multiples of the divisor."""
    width, height = size
    possible = [
        number * divisor / height
        for number in range(1, 4 * height // divisor + 1)
        if round(width * number * divisor / height) % divisor == 0
    ]
    below = [one for one in possible if one < scale]
    above = [one for one in possible if one > scale]
    return below[-1:] + above[:1]


def _pair(size: Any) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else tuple(size)


def _set_proposals(cfg: Config, number: int) -> None:
    found = [
        part.test_cfg.rpn
        for _, part in typed_configs(cfg.model, 'model.')
        if 'max_per_img' in ((part.get('test_cfg') or {}).get('rpn') or {})
    ]
    if not found:
        raise ConfigError(
            f'proposals is {number}, but must be left out: the model {type_name(cfg.model)} has no '
            'RPN whose proposals could be fewer.'
        )
    for settings in found:
        settings.max_per_img = number


def prunable_configs(cfg: Config) -> list[Any]:
    """The configs of the backbones of a model that take `pruning_ratios`."""
    kinds = MODELS.module_dict
    return [
        part
        for _, part in typed_configs(cfg.model)
        if hasattr(kinds.get(type_name(part)), 'pruning_schedule')
    ]
