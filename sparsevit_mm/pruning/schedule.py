"""The pruning schedule: the share of windows that each block of a network skips.

A schedule is plain data: `pruning_ratios` in a config, or a JSON file written by the search. The
backbone owns one, and nothing else decides how much is pruned. What a search chose for the rest of
the model, its input scale and its number of proposals, stands beside the ratios.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from pathlib import Path
from typing import Any, NamedTuple

from sparsevit_mm.errors import ConfigError
from sparsevit_mm.files import read_json, replace_text
from sparsevit_mm.pruning.allocation import Allocation, build_allocation
from sparsevit_mm.pruning.importance import check_importance_name
from sparsevit_mm.pruning.selection import num_kept_windows

DEFAULT_CHOICES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
"""Ratios from which the paper draws in adaptation and search."""

BLOCKS_PER_RATIO = {'pair': 2, 'block': 1}
"""Blocks that share a drawn ratio: a plain and a shifted block as in the paper, or one block."""

_LARGEST_SCALE = 4
_FORMAT = 'sparsevit_mm.PruningSchedule'


class KeptCount(NamedTuple):
    """Number of windows that a block computes, and of all windows in its grid."""

    kept: int
    total: int

    @property
    def share(self) -> float:
        """Kept windows as a share of all, in (0, 1]."""
        return self.kept / self.total


def checked_choices(choices: Sequence[float], per: str) -> tuple[float, ...]:
    """Checks what random schedules are drawn from.

    Args:
        choices: Ratios to draw from.
        per: What gets a ratio of its own.

    Returns:
        The choices, sorted and without repeats.

    Raises:
        ConfigError: If there is no choice, one is out of range, or `per` is no key of
            `BLOCKS_PER_RATIO`.
    """
    ordered = tuple(sorted({float(choice) for choice in choices}))
    if not ordered:
        raise ConfigError('choices is empty, but must hold at least one ratio.')
    for choice in ordered:
        if not 0 <= choice < 1:
            raise ConfigError(
                f'choices is {list(ordered)}, but every ratio must be at least 0 and below 1.'
            )
    if per not in BLOCKS_PER_RATIO:
        raise ConfigError(f"per is {per!r}, but must be 'pair' or 'block'.")
    return ordered


@dataclass(frozen=True)
class PruningSchedule:
    """Pruning ratios of a network, one per block, grouped by stage.

    Attributes:
        ratios: For each stage a tuple with one ratio per block, 0 <= ratio < 1. They do not
            decrease inside a stage, because a pruned window never comes back.
        allocation: Which images share a budget of windows; None leaves that to the backbone.
        importance: Name of what windows are ranked by; None leaves that to the backbone.
        head_ratios: For each stage the share of windows that the neck and head skip at its
            resolution; empty if they skip none.
        scale: Size of input images over that in the config's pipelines.
        proposals: Number of proposals of a two-stage detector; None leaves that to the config.

    Raises:
        ConfigError: If a ratio is out of range, a stage's ratios decrease, the importance is
            unknown, there are not as many head ratios as stages, or the scale or the number of
            proposals is not positive.
    """

    ratios: tuple[tuple[float, ...], ...]
    allocation: Allocation | None = None
    importance: str | None = None
    head_ratios: tuple[float, ...] = ()
    scale: float = 1.0
    proposals: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, 'head_ratios', _checked_heads(self.head_ratios, self.depths))
        check_scale(self.scale)
        if self.proposals is not None:
            check_proposals(self.proposals)
        if self.importance is not None:
            check_importance_name(self.importance)
        for stage, ratios in enumerate(self.ratios):
            for ratio in ratios:
                if not 0 <= ratio < 1:
                    raise ConfigError(
                        f'pruning_ratios of stage {stage} hold {ratio}, but every ratio must be at '
                        'least 0 and below 1.'
                    )
            if list(ratios) != sorted(ratios):
                raise ConfigError(
                    f'pruning_ratios of stage {stage} are {list(ratios)}, but must not '
                    'decrease inside a stage: a window that was pruned never comes back.'
                )

    @property
    def depths(self) -> tuple[int, ...]:
        """Blocks in each stage."""
        return tuple(len(stage) for stage in self.ratios)

    @property
    def is_dense(self) -> bool:
        """Whether no block, neck or head skips a window."""
        return not self.head_ratios and all(r == 0 for stage in self.ratios for r in stage)

    @classmethod
    def parse(
        cls, value: Any, depths: Sequence[int], has_windows: Sequence[bool] | None = None
    ) -> PruningSchedule:
        """Reads a schedule in any accepted form.

        Args:
            value: A number for all blocks; a list with one number per stage; a nested list that has
                for each stage 1 number, ceil(depth / 2) numbers (one per pair of a plain and a
                shifted block) or depth numbers (one per block); a dict of one of these, `ratios`,
                and one number per stage, `head_ratios`; or a schedule.
            depths: Blocks in each stage of the network.
            has_windows: Which stages attend in windows; None for all. The others, such as the
                convolutional ones of a FasterViT, take only 0, and a number for all blocks leaves
                them out.

        Returns:
            The schedule.

        Raises:
            ConfigError: If the form, a length or a value is not allowed.
        """
        has_windows = (True,) * len(depths) if has_windows is None else has_windows
        if isinstance(value, PruningSchedule):
            if value.depths != tuple(depths):
                raise ConfigError(
                    f'the pruning schedule is for stages of {value.depths} blocks, but the network '
                    f'has {tuple(depths)}.'
                )
            return value.checked_for(has_windows)
        if isinstance(value, Mapping) and set(value) == {'ratios', 'head_ratios'}:
            schedule = cls.parse(value['ratios'], depths, has_windows)
            return replace(schedule, head_ratios=value['head_ratios'])
        if _is_number(value):
            value = [value if has else 0.0 for has in has_windows]
        return cls._parse_list(value, depths).checked_for(has_windows)

    def checked_for(self, has_windows: Sequence[bool]) -> PruningSchedule:
        """Checks that only stages with windows skip some.

        Args:
            has_windows: Which stages attend in windows.

        Returns:
            The schedule.

        Raises:
            ConfigError: If another stage has a ratio above 0.
        """
        for stage, (ratios, has) in enumerate(zip(self.ratios, has_windows)):
            if any(ratios) and not has:
                raise ConfigError(
                    f'pruning_ratios of stage {stage} are {list(ratios)}, but must be 0: the stage '
                    'is convolutional and has no windows to skip.'
                )
        return self

    def checked_for_heads(self, head_stages: Sequence[bool] | None) -> PruningSchedule:
        """Checks that the neck and head skip windows only where they can.

        Args:
            head_stages: At the resolutions of which stages they compute windows; None if they were
                not made to.

        Returns:
            The schedule.

        Raises:
            ConfigError: If another stage has a head ratio above 0.
        """
        if self.head_ratios and head_stages is None:
            raise ConfigError(
                f'head_ratios are {list(self.head_ratios)}, but must be 0: the neck and head of '
                "this model compute no windows. Make them sparse first, with the config's "
                "model.type='sparsevit_mm.SparseHeads' or with make_heads_sparse(model)."
            )
        for stage, (ratio, has) in enumerate(zip(self.head_ratios, head_stages or ())):
            if ratio and not has:
                possible = [str(other) for other, can in enumerate(head_stages or ()) if can]
                raise ConfigError(
                    f'head_ratios of stage {stage} is {ratio}, but must be 0: at its resolution, '
                    'the neck and head have nothing to rank and skip. They have in stage '
                    f'{", ".join(possible)}.'
                )
        return self

    @classmethod
    def _parse_list(cls, value: Any, depths: Sequence[int]) -> PruningSchedule:
        if _is_list(value) and len(value) == len(depths):
            if all(_is_number(ratio) for ratio in value):
                return cls(tuple((float(ratio),) * depth for ratio, depth in zip(value, depths)))
            if all(_is_list(stage) and all(map(_is_number, stage)) for stage in value):
                stages = [_one_per_block(stage, depth) for stage, depth in zip(value, depths)]
                if None not in stages:
                    return cls(tuple(stage for stage in stages if stage is not None))
        raise ConfigError(_accepted_forms(value, depths))

    @classmethod
    def dense(cls, depths: Sequence[int]) -> PruningSchedule:
        """Makes the schedule that keeps every window."""
        return cls.parse(0.0, depths)

    @classmethod
    def sample(
        cls,
        depths: Sequence[int],
        rng: random.Random,
        choices: Sequence[float] = DEFAULT_CHOICES,
        per: str = 'pair',
        has_windows: Sequence[bool] | None = None,
        head_stages: Sequence[bool] | None = None,
        head_choices: Sequence[float] | None = None,
    ) -> PruningSchedule:
        """Draws a random schedule (SparseViT, sparsity-aware adaptation).

        Args:
            depths: Blocks in each stage.
            rng: The caller's random state; no global one is read or changed.
            choices: Ratios to draw from, uniformly. Each stage is then sorted in ascending order.
            per: What gets a ratio of its own, a key of `BLOCKS_PER_RATIO`.
            has_windows: Which stages attend in windows, None for all; the others get 0.
            head_stages: For which stages a ratio of the neck and head is drawn, too; None for none.
            head_choices: Ratios to draw those from; None for `choices`.
        """
        step = BLOCKS_PER_RATIO[per]
        has_windows = (True,) * len(depths) if has_windows is None else has_windows
        stages = [
            sorted(rng.choice(choices) for _ in range(math.ceil(depth / step))) if has else [0.0]
            for depth, has in zip(depths, has_windows)
        ]
        schedule = cls.parse(stages, depths)
        head_choices = choices if head_choices is None else head_choices
        heads = tuple(rng.choice(head_choices) if has else 0.0 for has in head_stages or ())
        return replace(schedule, head_ratios=heads)

    def kept_windows(
        self,
        height: int,
        width: int,
        patch_size: int = 4,
        window_size: int | Sequence[int] = 7,
    ) -> tuple[tuple[KeptCount, ...], ...]:
        """Counts the windows that each block computes for an input size.

        Args:
            height: Input height in pixels.
            width: Input width in pixels.
            patch_size: Stride of the patch embedding in pixels.
            window_size: Side of a window in tokens, or one for each stage, 0 without windows.

        Returns:
            For each stage one `KeptCount` per block, or none for a stage without windows. The sides
            of the map of stage i are ceil(size / (patch_size * 2**i)) tokens.
        """
        sizes = (window_size,) * len(self.ratios) if isinstance(window_size, int) else window_size
        counts: list[tuple[KeptCount, ...]] = []
        for stage, (ratios, size) in enumerate(zip(self.ratios, sizes)):
            if size == 0:
                counts.append(())
                continue
            total = math.prod(
                math.ceil(stage_side(side, stage, patch_size) / size) for side in (height, width)
            )
            counts.append(tuple(KeptCount(num_kept_windows(total, r), total) for r in ratios))
        return tuple(counts)

    def to_dict(self) -> dict[str, Any]:
        """The schedule as JSON-ready data; what is left to the config is left out."""
        ratios = [list(stage) for stage in self.ratios]
        data: dict[str, Any] = {'format': _FORMAT, 'version': 1, 'ratios': ratios}
        if self.allocation is not None:
            data['allocation'] = self.allocation.to_config()
        if self.importance is not None:
            data['importance'] = self.importance
        if self.head_ratios:
            data['head_ratios'] = list(self.head_ratios)
        if self.scale != 1:
            data['scale'] = self.scale
        if self.proposals is not None:
            data['proposals'] = self.proposals
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> PruningSchedule:
        """Reads the data of `to_dict`; other keys, such as those of a search, are ignored.

        Raises:
            ConfigError: If `ratios` is missing or malformed, the allocation or the importance is
                unknown, `head_ratios` do not fit, or the scale or the number of proposals is not
                positive.
        """
        ratios = data.get('ratios') if isinstance(data, Mapping) else None
        if not (_is_list(ratios) and ratios and all(map(_is_list, ratios))):
            raise ConfigError(
                f'the schedule file holds {_shortened(data)}, but must hold an object whose '
                "'ratios' are a list of lists with one number per block."
            )
        schedule = cls.parse(ratios, [len(stage) for stage in ratios])
        allocation = data.get('allocation')
        return replace(
            schedule,
            allocation=None if allocation is None else build_allocation(allocation),
            importance=data.get('importance'),
            head_ratios=data.get('head_ratios', ()),
            scale=data.get('scale', 1.0),
            proposals=data.get('proposals'),
        )

    def save(self, path: str | Path) -> None:
        """Writes the schedule as JSON.

        Raises:
            ConfigError: If the file cannot be written.
        """
        replace_text(path, json.dumps(self.to_dict(), indent=2) + '\n')

    @classmethod
    def load(cls, path: str | Path) -> PruningSchedule:
        """Reads a schedule from JSON.

        Raises:
            ConfigError: If the file is missing, is not JSON, or holds no schedule.
        """
        return cls.from_dict(read_json(path, 'the schedule file'))

    def __str__(self) -> str:
        text = ', '.join('[' + ', '.join(f'{r:g}' for r in stage) + ']' for stage in self.ratios)
        return f'{text}{self.beside_ratios}'

    @property
    def beside_ratios(self) -> str:
        """What else a search chose, as text such as ' by contrast at 0.8x with 300 proposals'."""
        text = '' if self.importance is None else f' by {self.importance}'
        heads = ', '.join(f'{ratio:g}' for ratio in self.head_ratios)
        text += f', heads [{heads}]' if heads else ''
        text += '' if self.scale == 1 else f' at {self.scale:g}x'
        return text if self.proposals is None else f'{text} with {self.proposals} proposals'


def check_scale(scale: Any) -> None:
    """Checks an input scale.

    Raises:
        ConfigError: If it is no number above 0 and at most 4.
    """
    if not _is_number(scale) or not 0 < scale <= _LARGEST_SCALE:
        raise ConfigError(
            f'the input scale is {_shortened(scale)}, but must be above 0 and at most '
            f'{_LARGEST_SCALE}.'
        )


def check_proposals(number: Any) -> None:
    """Checks a number of proposals.

    Raises:
        ConfigError: If it is no positive whole number.
    """
    if type(number) is not int or number < 1:
        raise ConfigError(
            f'proposals is {_shortened(number)}, but must be a positive whole number.'
        )


def stage_side(pixels: int, stage: int, patch_size: int = 4) -> int:
    """Side of the feature map of a stage in tokens; each halving rounds up, as padding does.

    Args:
        pixels: Side of the image in pixels.
        stage: Index of the stage.
        patch_size: Stride of the patch embedding in pixels.
    """
    side = math.ceil(pixels / patch_size)
    for _ in range(stage):
        side = math.ceil(side / 2)
    return side


def _is_number(value: Any) -> bool:
    if not isinstance(value, Real) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an enormous integer
        return False


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def _one_per_block(ratios: Sequence[Real], depth: int) -> tuple[float, ...] | None:
    """Repeats the ratios of a stage for its blocks; None if their number is not accepted."""
    values = [float(ratio) for ratio in ratios]
    if len(values) == depth:
        return tuple(values)
    if len(values) == math.ceil(depth / 2):
        return tuple(values[block // 2] for block in range(depth))
    if len(values) == 1:
        return tuple(values * depth)
    return None


def _checked_heads(value: Any, depths: Sequence[int]) -> tuple[float, ...]:
    """The ratios of neck and head; empty if all are 0."""
    if not (_is_list(value) and all(map(_is_number, value)) and len(value) in (0, len(depths))):
        raise ConfigError(
            f'head_ratios is {_shortened(value)}, but must be a list of one number for each of the '
            f'{len(depths)} stages.'
        )
    for stage, ratio in enumerate(value):
        if not 0 <= ratio < 1:
            raise ConfigError(
                f'head_ratios of stage {stage} is {ratio}, but must be at least 0 and below 1.'
            )
    return tuple(float(ratio) for ratio in value) if any(value) else ()


def _accepted_forms(value: Any, depths: Sequence[int]) -> str:
    lengths = ', '.join(
        ' or '.join(str(n) for n in sorted({1, math.ceil(depth / 2), depth})) for depth in depths
    )
    flat = [0.6] + [0.0] * (len(depths) - 1)
    nested = [[0.6], *([0.0] * math.ceil(depth / 2) for depth in depths[1:])]
    return (
        f'pruning_ratios is {_shortened(value)}, but for stages of {tuple(depths)} blocks it must '
        f'be a number (0.5), one number a stage ({flat}), or a list a stage ({nested}) whose '
        f'lengths are {lengths}.'
    )


def _shortened(value: Any) -> str:
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # nested too deeply, or an enormous integer
        return f'an unreadable {type(value).__name__}'
    return text if len(text) <= 120 else text[:117] + '...'
