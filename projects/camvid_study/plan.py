"""What the evidence compares: the trainings, and the arms that are tested with their weights."""

from __future__ import annotations

from dataclasses import dataclass

FULL = (480, 360)
LOWER = ((400, 300), (320, 240))
BUDGETS = ('0.5x', '0.7x')
"""Of the dense backbone's MACs at full resolution."""

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
        config: Name of its config, without ending.
        start: Training whose weights it starts from, None for nothing.
        schedule: Name of the schedule it runs under, see `Arm.schedule`; None for the config's own.
    """

    config: str
    start: str | None
    schedule: str | None = None


@dataclass(frozen=True)
class Arm:
    """Weights, schedule and input size, judged on the test split.

    Attributes:
        name: What it is called in tables.
        weights: Training whose weights it has.
        schedule: 'dense', or 'searched-' or 'uniform-' and a budget.
        size: Width and height in pixels that frames are resized to.
        importance: What ranks the windows, see `AblatedSparseViT`.
        priority: What is made first, for every seed: 0 for what the claim rests on at half the
            cost, 1 for the rest of the claim, 2 for what explains it.
        curve: Whether it is a point of the curve of dense networks that sparse ones are held
            against at equal latency.
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
        """Names the arm in files and on command lines."""
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
"""The trainings of a seed, by name."""


def _dense(size: Size, priority: int) -> Arm:
    name = f'dense at {size[0]}×{size[1]}'
    return Arm(name, _longer(size), size=size, priority=priority, curve=True)


def _searched(budget: str, priority: int) -> Arm:
    schedule = f'searched-{budget}'
    return Arm(f'searched {budget}, finetuned', schedule, schedule, priority=priority)


def _arms() -> list[Arm]:
    arms = [
        _searched('0.7x', 2),
        _searched('0.5x', 0),
        _dense(FULL, 1),
        *(_dense(size, 0) for size in LOWER),
        Arm('searched 0.5x, finetuned at once', 'direct-0.5x', 'searched-0.5x', priority=1),
    ]
    for budget in BUDGETS:
        schedule = f'uniform-{budget}'
        arms.append(Arm(f'uniform {budget}, finetuned', schedule, schedule))
    for budget in BUDGETS:
        schedule = f'searched-{budget}'
        arms += [
            Arm(f'searched {budget}, adapted only', 'adapted', schedule),
            Arm(f'uniform {budget}, adapted only', 'adapted', f'uniform-{budget}'),
            Arm(f'searched {budget}, random windows', schedule, schedule, importance='random'),
            Arm(f'searched {budget}, not adapted', 'dense', schedule),
        ]
    arms += [
        Arm('adapted, nothing skipped', 'adapted'),
        Arm('dense, before further training', 'dense'),
    ]
    arms += [
        Arm(f'the same at {size[0]}×{size[1]}, not trained there', 'dense', size=size)
        for size in LOWER
    ]
    return arms


ARMS = tuple(_arms())
"""Everything that is tested."""
