"""Finds the modules that consume backbone features and rewrites their `in_channels`.

A consumer is the first neck or, without a neck, every head. The channels in its config must follow
from the channels of the old backbone; if they do not, the swap stops with an error and changes
nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sparsevit_mm.checks.configs import type_name
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.swap.feature_maps import FeatureMap
from sparsevit_mm.swap.spec import STRIDES
from sparsevit_mm.swap.unsupported import backbone_key, neck_key

FieldPath = tuple[str | int, ...]
"""Where a field stands in a config: keys of dicts and indices of lists, from the outside in."""

PYRAMID_NECKS = ('Feature2Pyramid', 'MultiLevelNeck')
"""Necks that build a pyramid from the single-scale maps of a plain transformer."""

PASSING_NECKS = ('JPU',)
"""Necks that pass maps of the backbone on to auxiliary heads."""


def matching_levels(maps: Sequence[FeatureMap]) -> tuple[int, ...]:
    """Chooses which of our four maps replace the maps of a backbone.

    Args:
        maps: Outputs of the old backbone.

    Returns:
        Increasing indices of our maps, one for each old one: the maps of the same strides, or the
        last ones if the strides do not match (a dilated backbone or a plain transformer).

    Raises:
        ConfigError: If there are more than four maps.
    """
    strides = [found.stride for found in maps]
    if all(stride in STRIDES for stride in strides) and strides == sorted(set(strides)):
        return tuple(STRIDES.index(stride) for stride in strides)
    if len(strides) > len(STRIDES):
        raise ConfigError(
            f'the backbone has {len(strides)} output maps of strides {strides}, but ours have at '
            f'most {len(STRIDES)}.'
        )
    return tuple(range(len(STRIDES)))[-len(strides) :]


def drops_neck(host: Mapping[str, Any], maps: Sequence[FeatureMap]) -> bool:
    """Whether the neck only builds a pyramid, which our backbone returns by itself."""
    neck = host.get(neck_key(host))
    same_size = len(maps) > 1 and len({found.stride for found in maps}) == 1
    return same_size and isinstance(neck, Mapping) and type_name(neck) in PYRAMID_NECKS


def new_channels(
    host: Mapping[str, Any], maps: Sequence[FeatureMap], channels: Sequence[int]
) -> Iterator[tuple[FieldPath, Any]]:
    """Finds the fields of a model that must change with the channels of its backbone.

    Args:
        host: The part of the model that holds the backbone.
        maps: Outputs of the old backbone.
        channels: Channels of the maps that replace them.

    Yields:
        The path of a field, relative to the host, and its new value.

    Raises:
        ConfigError: If the channels of a consumer do not follow from those of the old backbone.
    """
    old = [found.channels for found in maps]
    neck: Any = host.get(neck_key(host))
    if drops_neck(host, maps):
        old = [neck['out_channels'] if 'out_channels' in neck else neck['embed_dim']] * len(old)
        neck = None
    for path, consumer in _consumers(host, neck):
        yield from _consumer_fields(path, consumer, old, channels)
    if not neck and isinstance(host.get('roi_head'), Mapping):
        yield from _roi_fields(host['roi_head'], old, channels)


def _consumers(host: Mapping[str, Any], neck: Any) -> Iterator[tuple[FieldPath, Mapping[str, Any]]]:
    key = neck_key(host)
    if isinstance(neck, (list, tuple)):
        yield (key, 0), neck[0]
        return
    if isinstance(neck, Mapping):
        yield (key,), neck
        if type_name(neck) in PASSING_NECKS:
            yield from _heads(host, ('auxiliary_head',))
        return
    yield from _heads(
        host, [name for name in host if 'head' in name and name != backbone_key(host)]
    )


def _heads(
    host: Mapping[str, Any], names: Sequence[str]
) -> Iterator[tuple[FieldPath, Mapping[str, Any]]]:
    for name in names:
        heads = host.get(name)
        for index, head in enumerate(heads if isinstance(heads, (list, tuple)) else [heads]):
            path: FieldPath = (name, index) if isinstance(heads, (list, tuple)) else (name,)
            if isinstance(head, Mapping):
                yield from _consumers_in(path, head)


def _consumers_in(
    path: FieldPath, head: Mapping[str, Any]
) -> Iterator[tuple[FieldPath, Mapping[str, Any]]]:
    """Yields the head, or the heads inside it if it has no `in_channels`, as in a K-Net."""
    if 'in_channels' in head:
        yield path, head
        return
    for key, part in head.items():
        if key.endswith('_head') and isinstance(part, Mapping):
            yield from _consumers_in((*path, key), part)


def _consumer_fields(
    path: FieldPath, consumer: Mapping[str, Any], old: Sequence[int], new: Sequence[int]
) -> Iterator[tuple[FieldPath, Any]]:
    found = consumer.get('in_channels')
    if found is None:
        raise ConfigError(
            f'{_name(path)} ({type_name(consumer)}) has no in_channels, so it is unknown how it '
            'depends on the backbone.'
        )
    index = consumer.get('in_index', -1)
    if isinstance(found, int):
        if not isinstance(index, int) or not -len(old) <= index < len(old) or old[index] != found:
            raise _not_understood(path, consumer, 'in_channels', found, old)
        yield (*path, 'in_channels'), new[index]
    else:
        value, kind = list(found), type(found) if isinstance(found, tuple) else list
        indices = list(index) if isinstance(index, (list, tuple)) else list(range(len(old)))
        if value == [old[i] for i in indices if i < len(old)]:
            yield (*path, 'in_channels'), kind(new[i] for i in indices)
        elif value == list(reversed(old)):
            yield (*path, 'in_channels'), kind(reversed(new))
        else:
            raise _not_understood(path, consumer, 'in_channels', found, old)
    if consumer.get('c1_in_channels'):
        if consumer['c1_in_channels'] != old[0]:
            raise _not_understood(path, consumer, 'c1_in_channels', consumer['c1_in_channels'], old)
        yield (*path, 'c1_in_channels'), new[0]


def _roi_fields(
    roi_head: Mapping[str, Any], old: Sequence[int], new: Sequence[int]
) -> Iterator[tuple[FieldPath, Any]]:
    """Yields the channel fields of a RoI head that reads the last map of the backbone."""
    for part, field in (
        ('bbox_roi_extractor', 'out_channels'),
        ('mask_roi_extractor', 'out_channels'),
        ('bbox_head', 'in_channels'),
        ('mask_head', 'in_channels'),
    ):
        consumer = roi_head.get(part)
        if isinstance(consumer, Mapping) and field in consumer:
            if consumer[field] != old[-1]:
                raise _not_understood(('roi_head', part), consumer, field, consumer[field], old)
            yield ('roi_head', part, field), new[-1]


def _not_understood(
    path: FieldPath, consumer: Mapping[str, Any], field: str, value: Any, old: Sequence[int]
) -> ConfigError:
    return ConfigError(
        f'{_name(path)}.{field} is {value} ({type_name(consumer)}), but must follow from the '
        f'channels {list(old)} of the old backbone.'
    )


def _name(path: FieldPath) -> str:
    return '.'.join(map(str, path))
