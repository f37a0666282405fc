"""Plan of the study: the data sets, the trainings, and what is tested with their weights."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from projects.street_scenes.dataset import DemoSettings, make_dataset
from sparsevit_mm.errors import ConfigError

LEARNED = 'learned'
"""The importance that has to be adapted with; no other weights know it."""

IMPORTANCES = ('l2', 'contrast', 'peak', 'random', LEARNED)
"""Each has a network that is adapted and tested with it."""

TRIALS = ('image', 'l2-norm', 'contrast-norm', 'by-stage', 'change')
"""Further ones, swapped in at test time, see `projects.importance_study.importances`."""

RATIOS = (0.0, 0.5, 0.7)
"""Ratios of skipped windows, the same in every block."""

SCALES = (0.7, 0.5)
"""Lower resolutions of the dense network, which sees them in training."""

FORMS = ('', 'float32', 'bfloat16')
"""The plain model, and the dtypes of its inference form."""

FORMS_OF = 'contrast'
"""Training whose weights are tested in every form."""

DENSE, LONGER, NEUTRAL = 'dense', 'longer', 'random'
"""Names of trainings: from scratch, trained further without skipping, and the one whose weights
favor no ranking."""

HEADS = 'heads'
"""Behind the name of a training: its neck and head skip windows, too."""

SIZE = ' at size '
"""Behind the name of a training, before the factor of the frames' size: it sees that size alone,
see `at_size`."""

TUNED = 'tuned at '
"""Behind the name of a training, before its ratios of the backbone and, if they skip windows, too,
of its heads: see `tuned_at`."""

FOUND = 'found by '
"""Behind the name of a training with heads, before how a search found its schedule: see
`tuned_to`."""

FURTHER_RATE, FURTHER_WARMUP = 5e-4, 10
"""Learning rate of further trainings, and the iterations in which it rises."""


def tuned_at(ratio: float, heads: float | None = None) -> str:
    """What the name of a training ends with that has the same ratios in every iteration.

    Args:
        ratio: Ratio of the backbone.
        heads: Ratio of neck and head, see `finest`; None if they stay dense.
    """
    return f'{TUNED}{ratio:g}' if heads is None else f'{TUNED}{ratio:g}-{heads:g}'


def tuned_to(search: str, by: str) -> str:
    """What the name of a training ends with that has a schedule that was found, and its size.

    Args:
        search: Name of the search.
        by: How it found the schedule, see `Case`.
    """
    return f'{FOUND}{by} of {search}'


def at_size(name: str, scale: float) -> str:
    """Name of a training that sees frames of one size alone.

    Args:
        name: Name of the training with frames of many sizes.
        scale: Factor of the frames' size.
    """
    return f'{name}{SIZE}{scale:g}'


def finest(ratio: float) -> tuple[float, ...]:
    """Head ratios that skip windows at the two finest resolutions, where nearly all MACs are."""
    return ratio, ratio, 0.0, 0.0


DATA_VARIABLE = 'SPARSEVIT_MM_DATA'


@dataclass(frozen=True)
class DataSet:
    """A data set with its network.

    Attributes:
        name: Name on command lines and in files.
        config: Name of the config that trains the dense network.
        title: Name in tables.
        metric: Name in the results of its evaluator, in percent once multiplied by `factor`.
        metric_title: Its name in tables.
        factor: See `metric`.
        further: Iterations of every further training.
        annotations: Test annotations in COCO's format, below the data set's folder; None for label
            maps.
        objects: The thin and small classes, whose pixels are the objects'; None where objects are
            all boxes.
        folder: Folder in the one that SPARSEVIT_MM_DATA names; None for drawn scenes.
        importances: Those that networks are adapted with; none for a rival that skips nothing, and
            where the dense network learns too little for a comparison.
    """

    name: str
    config: str
    title: str
    metric: str
    metric_title: str
    factor: float = 100.0
    further: int = 100
    annotations: str | None = None
    objects: tuple[str, ...] | None = None
    folder: str | None = None
    importances: tuple[str, ...] = IMPORTANCES

    def root(self, work_dir: Path) -> Path:
        """Folder of the data.

        Args:
            work_dir: Where scenes are drawn.
        """
        if self.folder is None:
            return work_dir / 'scenes'
        return Path(os.environ.get(DATA_VARIABLE, 'data')) / self.folder

    def prepare(self, work_dir: Path, scenes: DemoSettings) -> None:
        """Draws the scenes, or checks that the data are there.

        Raises:
            ConfigError: If they are not.
        """
        root = self.root(work_dir)
        if self.folder is None:
            make_dataset(root, scenes, workers=1)
        if not root.is_dir():
            raise ConfigError(
                f'{DATA_VARIABLE} is {os.environ.get(DATA_VARIABLE, "not set")}, but must name a '
                f'folder that holds {root.name}.'
            )


DATA_SETS = {
    data.name: data
    for data in (
        DataSet(
            'aerial_cars',
            'retinanet_sparsevit-micro_fpn_400it_aerial-cars',
            'aerial_cars, RetinaNet',
            'coco/bbox_mAP',
            'box AP',
            annotations='annotations/test.json',
            folder='aerial_cars',
        ),
        DataSet(
            'aerial_cars_long',
            'retinanet_sparsevit-micro_fpn_1200it_aerial-cars',
            'aerial_cars, RetinaNet trained three times as long',
            'coco/bbox_mAP',
            'box AP',
            further=300,
            annotations='annotations/test.json',
            folder='aerial_cars',
            importances=('l2', 'contrast'),
        ),
        DataSet(
            'aerial_fastervit',
            'retinanet_fastervit-micro_fpn_400it_aerial-cars',
            'aerial_cars, RetinaNet with FasterViT',
            'coco/bbox_mAP',
            'box AP',
            annotations='annotations/test.json',
            folder='aerial_cars',
            importances=('l2', 'contrast'),
        ),
        DataSet(
            'aerial_fastervit_narrow',
            'retinanet_fastervit-micro-narrow_fpn_400it_aerial-cars',
            'aerial_cars, RetinaNet with a narrower FasterViT',
            'coco/bbox_mAP',
            'box AP',
            annotations='annotations/test.json',
            folder='aerial_cars',
            importances=(),
        ),
        DataSet(
            'drawn_segmentation',
            'sparsevit-mini_upernet_400it_demo-224x448',
            'drawn scenes, UPerNet',
            'mIoU',
            'mIoU',
            factor=1.0,
            objects=('pole', 'person', 'sign'),
        ),
        DataSet(
            'drawn_detection',
            'mask-rcnn_sparsevit-mini_fpn_600it_demo-224x448',
            'drawn scenes, Mask R-CNN',
            'coco/bbox_mAP',
            'box AP',
            annotations='annotations/instances_validation.json',
        ),
        DataSet(
            'camvid',
            'sparsevit-micro_upernet_2000it_camvid-480x360',
            'CamVid, UPerNet',
            'mIoU',
            'mIoU',
            factor=1.0,
            further=200,
            objects=('pole', 'sign', 'pedestrian', 'bicyclist'),
            folder='camvid',
        ),
        DataSet(
            'coco_mini',
            'retinanet_sparsevit-micro_fpn_400it_coco-mini',
            'persons of coco_mini, RetinaNet',
            'coco/bbox_mAP',
            'box AP',
            annotations='annotations/instances_val2017.json',
            folder='coco_mini',
            importances=(),
        ),
    )
}
"""All data sets by name, in the order in which they are run."""


@dataclass(frozen=True)
class Case:
    """What is tested.

    Attributes:
        weights: Training whose weights it uses.
        importance: What ranks the windows.
        ratio: Ratio of skipped windows in every block.
        scale: Factor of the input's size.
        head_ratios: Ratios of windows that the neck and head skip, one for each stage; for weights
            with `+heads` alone.
        search: Name of the search whose schedule is tested, in place of ratios and scale.
        by: How it found the schedule: 'evolution', 'random' or 'uniform within the budget'.
        form: Dtype of the inference form that is tested, see `optimize_for_inference`; '' for the
            plain model.
    """

    weights: str
    importance: str = 'l2'
    ratio: float = 0.0
    scale: float = 1.0
    head_ratios: tuple[float, ...] = ()
    search: str = ''
    by: str = 'evolution'
    form: str = ''

    @property
    def key(self) -> str:
        """Name in files."""
        if self.search:
            return f'{self.weights}-{self.search}-{self.by}'.replace(' ', '_')
        weights = self.weights.replace(' ', '_')
        heads = ''.join(f'-{ratio:g}' for ratio in self.head_ratios)
        form = f'-{self.form}' if self.form else ''
        return f'{weights}-{self.importance}-{self.ratio:g}-{self.scale:g}{heads}{form}'


def compared_cases(data: DataSet) -> list[Case]:
    """The cases of the table of a data set."""
    sparse = [Case(name, name, ratio) for ratio in RATIOS[::-1] for name in data.importances]
    return [*sparse, Case(LONGER), *(Case(LONGER, scale=scale) for scale in SCALES)]


def trial_cases(data: DataSet) -> list[Case]:
    """Every importance swapped in at test time, on weights that favor none."""
    if NEUTRAL not in data.importances:
        return []
    others = [name for name in IMPORTANCES if name not in (NEUTRAL, LEARNED)]
    return [Case(NEUTRAL, name, RATIOS[-1]) for name in (*others, *TRIALS)]


def form_cases(data: DataSet) -> list[Case]:
    """The same weights plain and in their inference forms, dense and with skipped windows."""
    if FORMS_OF not in data.importances:
        return []
    return [
        Case(FORMS_OF, FORMS_OF, ratio, form=form)
        for ratio in (RATIOS[0], RATIOS[-1])
        for form in FORMS
    ]
