"""Who reads a backbone's maps, and how many channels each is told to expect.

A reader is the first neck or, without one, every head. What it says of its input is compared with
what the old backbone gives, number by number: a field that says something else is not understood,
and then nothing is changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sparsevit_mm.errors import ConfigError
from sparsevit_mm.swap.feature_maps import FeatureMap
from sparsevit_mm.swap.spec import STRIDES
from sparsevit_mm.swap.unsupported import backbone_key, neck_key

Path = tuple[str | int, ...]

PYRAMID_NECKS = ('Feature2Pyramid', 'MultiLevelNeck')
"""Necks that make a pyramid of the one size a plain transformer has; ours has one already."""

PASSING_NECKS = ('JPU',)
"""Necks that hand maps of the backbone on to auxiliary heads."""


def matching_levels(maps: Sequence[FeatureMap]) -> tuple[int, ...]:
    """Which of our four maps take the place of a backbone's.

    Args:
        maps: What the old backbone gives.

    Returns:
        Numbers of our maps, one for each old one, increasing: those of the same strides; where
        there are none, because the backbone was dilated or is a plain transformer, the last ones.

    Raises:
        ConfigError: If there are more than four maps.
    """
    strides = [found.stride for found in maps]
    if all(stride in STRIDES for stride in strides) and strides == sorted(set(strides)):
        return tuple(STRIDES.index(stride) for stride in strides)
    if len(strides) > len(STRIDES):
        raise ConfigError(
            f'the backbone gives {len(strides)} maps of strides {strides}, but ours give at most '
            f'{len(STRIDES)}.'
        )
    return tuple(range(len(STRIDES)))[-len(strides) :]


def drops_neck(host: Mapping[str, Any], maps: Sequence[FeatureMap]) -> bool:
    """Whether the neck only makes a pyramid that our backbone gives by itself."""
    neck = host.get(neck_key(host))
    same_size = len(maps) > 1 and len({found.stride for found in maps}) == 1
    return same_size and isinstance(neck, Mapping) and _kind(neck) in PYRAMID_NECKS


def new_channels(
    host: Mapping[str, Any], maps: Sequence[FeatureMap], channels: Sequence[int]
) -> Iterator[tuple[Path, Any]]:
    """The fields of a model that must change with the channels of its backbone.

    Args:
        host: The part of the model that has the backbone.
        maps: What the old backbone gives.
        channels: Channels of the maps that take their place.

    Yields:
        The path of a field below the host, and its new value.

    Raises:
        ConfigError: If a reader does not say what the old backbone gives.
    """
    old = [found.channels for found in maps]
    neck = host.get(neck_key(host))
    if drops_neck(host, maps):
        assert isinstance(neck, Mapping)
        old = [neck['out_channels'] if 'out_channels' in neck else neck['embed_dim']] * len(old)
        neck = None
    for path, reader in _readers(host, neck):
        yield from _reader_fields(path, reader, old, channels)
    if not neck and isinstance(host.get('roi_head'), Mapping):
        yield from _roi_fields(host['roi_head'], old, channels)


def _readers(host: Mapping[str, Any], neck: Any) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    key = neck_key(host)
    if isinstance(neck, (list, tuple)):
        yield (key, 0), neck[0]
        return
    if isinstance(neck, Mapping):
        yield (key,), neck
        if _kind(neck) in PASSING_NECKS:
            yield from _heads(host, ('auxiliary_head',))
        return
    yield from _heads(
        host, [name for name in host if 'head' in name and name != backbone_key(host)]
    )


def _heads(
    host: Mapping[str, Any], names: Sequence[str]
) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    for name in names:
        heads = host.get(name)
        for number, head in enumerate(heads if isinstance(heads, (list, tuple)) else [heads]):
            path: Path = (name, number) if isinstance(heads, (list, tuple)) else (name,)
            if isinstance(head, Mapping):
                yield from _parts_that_read(path, head)


def _parts_that_read(
    path: Path, head: Mapping[str, Any]
) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """A head, or where it reads nothing itself the heads in it, such as that of a K-Net."""
    if 'in_channels' in head:
        yield path, head
        return
    for key, part in head.items():
        if key.endswith('_head') and isinstance(part, Mapping):
            yield from _parts_that_read((*path, key), part)


def _reader_fields(
    path: Path, reader: Mapping[str, Any], old: Sequence[int], new: Sequence[int]
) -> Iterator[tuple[Path, Any]]:
    found = reader.get('in_channels')
    if found is None:
        raise ConfigError(
            f'{_name(path)} ({_kind(reader)}) does not say how many channels it reads, so it '
            'cannot be fitted.'
        )
    index = reader.get('in_index', -1)
    if isinstance(found, int):
        if not isinstance(index, int) or not -len(old) <= index < len(old) or old[index] != found:
            raise _not_understood(path, reader, 'in_channels', found, old)
        yield (*path, 'in_channels'), new[index]
    else:
        value, kind = list(found), type(found) if isinstance(found, tuple) else list
        places = list(index) if isinstance(index, (list, tuple)) else list(range(len(old)))
        if value == [old[place] for place in places if place < len(old)]:
            yield (*path, 'in_channels'), kind(new[place] for place in places)
        elif value == list(reversed(old)):
            yield (*path, 'in_channels'), kind(reversed(new))
        else:
            raise _not_understood(path, reader, 'in_channels', found, old)
    if reader.get('c1_in_channels'):
        if reader['c1_in_channels'] != old[0]:
            raise _not_understood(path, reader, 'c1_in_channels', reader['c1_in_channels'], old)
        yield (*path, 'c1_in_channels'), new[0]


def _roi_fields(
    roi_head: Mapping[str, Any], old: Sequence[int], new: Sequence[int]
) -> Iterator[tuple[Path, Any]]:
    """What a RoI head that reads the backbone's last map says of its channels."""
    for part, field in (
        ('bbox_roi_extractor', 'out_channels'),
        ('mask_roi_extractor', 'out_channels'),
        ('bbox_head', 'in_channels'),
        ('mask_head', 'in_channels'),
    ):
        reader = roi_head.get(part)
        if isinstance(reader, Mapping) and field in reader:
            if reader[field] != old[-1]:
                raise _not_understood(('roi_head', part), reader, field, reader[field], old)
            yield ('roi_head', part, field), new[-1]


def _not_understood(
    path: Path, reader: Mapping[str, Any], field: str, value: Any, old: Sequence[int]
) -> ConfigError:
    return ConfigError(
        f'{_name(path)}.{field} is {value} ({_kind(reader)}), which does not follow from the '
        f'channels {list(old)} of the old backbone, so it cannot be fitted.'
    )


def _kind(cfg: Mapping[str, Any]) -> str:
    return str(cfg.get('type')).rpartition('.')[2]


def _name(path: Path) -> str:
    return '.'.join(map(str, path))
