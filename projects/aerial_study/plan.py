"""Plan of the study: the arms that are compared, one group for each network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from projects.importance_study.plan import (
    DATA_SETS,
    HEADS,
    LONGER,
    Case,
    at_size,
    finest,
    tuned_at,
    tuned_to,
)

SCALES = (1.0, 0.85, 0.7, 0.6, 0.5)
"""Resolutions of the dense networks, all of which they know from training."""

OWN_SPARSE = ((0.7, 0.7, 0.85), (0.5, 0.7, 0.7))
"""Ratios of backbone and heads, and size, that sparse networks are also trained further at."""

FASTERVIT_OWN_SIZES = (0.85, 0.7, 0.6)
"""Sizes that dense FasterViTs are also trained further at: about as costly as sparse ones."""

FASTERVIT_OWN_SPARSE = ((0.7, 0.85), (0.7, 0.7))
"""Ratio and size that sparse FasterViTs are also trained further at."""

DRAWN_SCALES = (1.0, 0.85, 0.7, 0.5)
"""Resolutions of the dense networks on drawn scenes."""

RATIOS = (0.5, 0.7)
"""Ratios of skipped windows, the same in every block."""

IMPORTANCE = 'contrast'
"""What ranks the windows where neck and head skip windows, too."""

_HEAD_BUDGETS = {
    1.0: ((0.0, 0.7), (0.5, 0.5), (0.5, 0.7), (0.7, 0.7), (0.7, 0.85)),
    0.85: ((0.5, 0.7), (0.7, 0.7), (0.7, 0.85)),
    0.7: ((0.5, 0.7),),
}
"""Ratios of the backbone and of neck and head, by resolution."""

_DRAWN_BUDGETS = {
    1.0: ((0.0, 0.5), (0.0, 0.7), (0.5, 0.5), (0.5, 0.7)),
    0.85: ((0.5, 0.7),),
}
"""The same on drawn scenes."""


@dataclass(frozen=True)
class Search:
    """How schedules are searched.

    Attributes:
        scales: Input scales to choose from, beside the ratios of backbone, neck and head.
        methods: Ways to find a schedule.
    """

    scales: tuple[float, ...]
    methods: tuple[str, ...]


SEARCHES = {
    'ratios': Search((1.0,), ('evolution',)),
    'scale and ratios': Search(
        (1.0, 0.85, 0.7), ('evolution', 'random', 'uniform within the budget')
    ),
}
"""All searches by name."""

PRICED_AS = {'aerial_cars': 'aerial_cars_long'}
"""Data sets whose network is that of another, trained for another time: costs are the same."""

NO_HEADS = (0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Arm:
    """A trained network as it is tested, counted and timed.

    Attributes:
        name: Name in tables and on command lines.
        case: What is tested.
        data: Name of the data set with its network, see `DATA_SETS`.
        curve: Whether it is a point of the dense curve, which all others are compared with.
    """

    name: str
    case: Case
    data: str = 'aerial_cars'
    curve: bool = False

    @property
    def priced_as(self) -> str:
        """Name of the data set whose networks are counted and timed, see `PRICED_AS`."""
        return PRICED_AS.get(self.data, self.data)

    def costs_the_same_as(self, other: Arm) -> bool:
        """Whether MACs are the same: rankings have none, and weights do not matter."""
        mine, theirs = (
            (
                arm.priced_as,
                arm.case.ratio,
                arm.case.scale,
                arm.case.head_ratios,
                arm.case.search,
                arm.case.by,
            )
            for arm in (self, other)
        )
        return mine == theirs

    @property
    def differs_by_seed(self) -> bool:
        """Whether each seed has a schedule, and so costs, of its own."""
        return bool(self.case.search)


def _dense(
    data: str, curve: bool = True, what: str = 'dense', scales: Sequence[float] = SCALES
) -> list[Arm]:
    return [
        Arm(f'{what} at {scale:g}×', Case(LONGER, scale=scale), data, curve) for scale in scales
    ]


def _sparse(data: str) -> list[Arm]:
    smaller = [
        Arm(
            f'{IMPORTANCE}, backbone 70%, at {scale:g}×',
            Case(IMPORTANCE, IMPORTANCE, 0.7, scale),
            data,
        )
        for scale in (0.85, 0.7)
    ]
    return [
        Arm(f'{name}, backbone {ratio:.0%}', Case(name, name, ratio), data)
        for name in DATA_SETS[data].importances
        for ratio in RATIOS
    ] + smaller


def _not_adapted(data: str) -> list[Arm]:
    """The dense network whose windows are skipped all the same."""
    return [
        Arm(
            f'not adapted, {IMPORTANCE}, backbone {ratio:.0%}',
            Case(LONGER, IMPORTANCE, ratio),
            data,
        )
        for ratio in RATIOS
    ]


def _with_heads(
    data: str,
    of_scale: Mapping[float, Sequence[tuple[float, float]]] = MappingProxyType(_HEAD_BUDGETS),
) -> list[Arm]:
    weights = f'{IMPORTANCE}+{HEADS}'
    budgets = [
        (ratio, heads, scale, '' if scale == 1 else f', at {scale:g}×')
        for scale, pairs in of_scale.items()
        for ratio, heads in pairs
    ]
    everything = Case(weights, IMPORTANCE, 0.0, head_ratios=NO_HEADS)
    return [
        Arm('adapted with heads, nothing skipped', everything, data),
        *(
            Arm(
                f'{IMPORTANCE}, backbone {ratio:.0%}, heads {heads:.0%}{where}',
                Case(weights, IMPORTANCE, ratio, scale, head_ratios=finest(heads)),
                data,
            )
            for ratio, heads, scale, where in budgets
        ),
    ]


def _searched(data: str) -> list[Arm]:
    return [
        Arm(
            f'searched {search}, {by}',
            Case(f'{IMPORTANCE}+{HEADS}', IMPORTANCE, search=search, by=by),
            data,
        )
        for search, how in SEARCHES.items()
        for by in how.methods
    ]


def _at_own_size(data: str) -> list[Arm]:
    """Networks that are trained further at the size and ratios that they are tested with."""
    sparse = [
        Arm(
            f'backbone {ratio:.0%}, heads {heads:.0%}, tuned at {scale:g}×',
            Case(
                at_size(f'{IMPORTANCE}+{HEADS}+{tuned_at(ratio, heads)}', scale),
                IMPORTANCE,
                ratio,
                scale,
                head_ratios=finest(heads),
            ),
            data,
        )
        for ratio, heads, scale in OWN_SPARSE
    ]
    search, by = 'scale and ratios', 'evolution'
    weights = f'{IMPORTANCE}+{HEADS}+{tuned_to(search, by)}'
    found = Case(weights, IMPORTANCE, search=search, by=by)
    searched = Arm(f'searched {search}, {by}, tuned', found, data)
    return [*_dense_at_own_size(data, SCALES), *sparse, searched]


def _fastervit_at_own_size(data: str) -> list[Arm]:
    """The same for FasterViT, whose neck and head stay dense."""
    sparse = [
        Arm(
            f'{IMPORTANCE}, backbone {ratio:.0%}, tuned at {scale:g}×',
            Case(at_size(f'{IMPORTANCE}+{tuned_at(ratio)}', scale), IMPORTANCE, ratio, scale),
            data,
        )
        for ratio, scale in FASTERVIT_OWN_SPARSE
    ]
    return [*_dense_at_own_size(data, FASTERVIT_OWN_SIZES), *sparse]


def _dense_at_own_size(data: str, scales: Sequence[float]) -> list[Arm]:
    return [
        Arm(f'dense, tuned at {scale:g}×', Case(at_size(LONGER, scale), scale=scale), data)
        for scale in scales
    ]


def _tuned(data: str) -> list[Arm]:
    """Networks that are trained further with the ratios that they are tested with."""
    return [
        Arm(
            f'tuned, backbone {ratio:.0%}, heads {heads:.0%}',
            Case(
                f'{IMPORTANCE}+{HEADS}+{tuned_at(ratio, heads)}',
                IMPORTANCE,
                ratio,
                head_ratios=finest(heads),
            ),
            data,
        )
        for ratio, heads in ((0.0, 0.7), (0.5, 0.7))
    ]


ARMS = {
    'sparsevit': [*_dense('aerial_cars'), *_sparse('aerial_cars'), *_with_heads('aerial_cars')],
    'sparsevit long': [
        *_dense('aerial_cars_long'),
        *_sparse('aerial_cars_long'),
        *_not_adapted('aerial_cars_long'),
        *_with_heads('aerial_cars_long'),
        *_searched('aerial_cars_long'),
        *_at_own_size('aerial_cars_long'),
    ],
    'fastervit': [
        *_dense('aerial_fastervit'),
        *_sparse('aerial_fastervit'),
        *_not_adapted('aerial_fastervit'),
        *_fastervit_at_own_size('aerial_fastervit'),
        *_dense('aerial_fastervit_narrow', False, 'narrower, dense')[:1],
    ],
    **{
        name: [
            *_dense(data, scales=DRAWN_SCALES),
            *_with_heads(data, _DRAWN_BUDGETS),
            *_tuned(data),
        ]
        for name, data in (
            ('drawn segmentor', 'drawn_segmentation'),
            ('drawn detector', 'drawn_detection'),
        )
    },
}
"""The arms of each network. All of a network are trained equally long."""
