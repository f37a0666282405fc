"""Plan of the study: the trainings, and the variants that are tested with their weights."""

from __future__ import annotations

from dataclasses import dataclass

FULL = (480, 360)
LOWER = ((400, 300), (320, 240))
BUDGETS = ('0.5x', '0.7x')
"""Budgets of the searches, relative to the dense backbone's MACs at full resolution."""

CLASSES = (
    'sky', 'building', 'pole', 'road', 'pavement', 'tree', 'sign', 'fence', 'car', 'pedestrian',
    'bicyclist',
)  # fmt: skip
SMALL_CLASSES = ('pole', 'sign', 'pedestrian', 'bicyclist')
"""Objects of a few pixels, where resolution should matter most."""

Size = tuple[int, int]


@dataclass(frozen=True)
class Training:
    """One training.

    Attributes:
        config: File name of its config, without suffix.
        start: Training whose weights it starts from; None for random weights.
        schedule: Schedule during training, see `Variant.schedule`; None for the config's own.
    """

    config: str
    start: str | None
    schedule: str | None = None


@dataclass(frozen=True)
class Variant:
    """A combination of weights, schedule and input size that is tested on the test split.

    Attributes:
        name: Name in tables.
        weights: Training whose weights it uses.
        schedule: 'dense', or 'searched-' or 'uniform-' and a budget.
        size: Width and height in pixels to which frames are resized.
        importance: Score that ranks the windows, see `AblatedSparseViT`.
        priority: Order of the runs, each for all seeds: 0 for the main comparison at half the
            cost, 1 for the other comparisons with the dense curve, 2 for explanations.
        curve: Whether it is a point of the dense curve, which sparse variants are compared with at
            equal cost.
    """

    name: str
    weights: str
    schedule: str = 'dense'
    size: Size = FULL
    importance: str = 'l2'
    priority: int = 2
    curve: bool = False

    @property
    def key(self) -> str:
        """Name in files and on command lines."""
        return '-'.join(''.join(c if c.isalnum() or c in '.%' else ' ' for c in self.name).split())


DENSE, SEARCH = (
    'swin-micro_upernet_2000it_camvid-480x360',
    'sparsevit-micro_upernet_search_camvid-480x360',
)
_FINETUNE = 'sparsevit-micro_upernet_finetune-200it_camvid-480x360'
_DIRECT = 'sparsevit-micro_upernet_longer-600it_camvid-480x360'


def _longer(size: Size) -> str:
    return f'longer-{size[0]}x{size[1]}'


TRAININGS = {
    'dense': Training(DENSE, None),
    'adapted': Training('sparsevit-micro_upernet_saa-400it_camvid-480x360', 'dense'),
    **{
        f'{kind}-{budget}': Training(_FINETUNE, 'adapted', f'{kind}-{budget}')
        for kind in ('searched', 'uniform')
        for budget in BUDGETS
    },
    'direct-0.5x': Training(_DIRECT, 'dense', 'searched-0.5x'),
    **{
        _longer(size): Training(
            f'swin-micro_upernet_longer-600it_camvid-{size[0]}x{size[1]}', 'dense'
        )
        for size in (FULL, *LOWER)
    },
}
"""All trainings of a seed by name."""


def _dense(size: Size, priority: int) -> Variant:
    name = f'dense at {size[0]}×{size[1]}'
    return Variant(name, _longer(size), size=size, priority=priority, curve=True)


def _searched(budget: str, priority: int) -> Variant:
    schedule = f'searched-{budget}'
    return Variant(f'searched {budget}, finetuned', schedule, schedule, priority=priority)


def _variants() -> list[Variant]:
    variants = [
        _searched('0.7x', 2),
        _searched('0.5x', 0),
        _dense(FULL, 1),
        *(_dense(size, 0) for size in LOWER),
        Variant('searched 0.5x, finetuned at once', 'direct-0.5x', 'searched-0.5x', priority=1),
    ]
    for budget in BUDGETS:
        schedule = f'uniform-{budget}'
        variants.append(Variant(f'uniform {budget}, finetuned', schedule, schedule))
    for budget in BUDGETS:
        schedule = f'searched-{budget}'
        variants += [
            Variant(f'searched {budget}, adapted only', 'adapted', schedule),
            Variant(f'uniform {budget}, adapted only', 'adapted', f'uniform-{budget}'),
            Variant(f'searched {budget}, random windows', schedule, schedule, importance='random'),
            Variant(f'searched {budget}, not adapted', 'dense', schedule),
        ]
    variants += [
        Variant('adapted, nothing skipped', 'adapted'),
        Variant('dense, before further training', 'dense'),
    ]
    variants += [
        Variant(f'the same at {size[0]}×{size[1]}, not trained there', 'dense', size=size)
        for size in LOWER
    ]
    return variants


VARIANTS = tuple(_variants())
"""All variants that are tested."""
