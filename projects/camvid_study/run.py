"""Runs the study for one seed: trains, searches and tests whatever a caller asks for.

Every result is saved to disk and not computed again, so that an interrupted run resumes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from mmengine.config import Config
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console

from projects.camvid_study.plan import CLASSES, DENSE, FULL, SEARCH, TRAININGS, Variant
from projects.runs import check_same_run, train_with_progress
from sparsevit_mm.apis.configs import innermost_dataset, load_config, register_framework
from sparsevit_mm.apis.inference import ImagePredictor
from sparsevit_mm.apis.search import search
from sparsevit_mm.apis.test import test
from sparsevit_mm.checks.configs import build_model
from sparsevit_mm.engine.search_loop import SCHEDULE_FILE
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.files import replace_text
from sparsevit_mm.models.swin_arch import SwinArch
from sparsevit_mm.profiling.macs import backbone_macs
from sparsevit_mm.pruning.prunable import find_prunable_backbone
from sparsevit_mm.pruning.schedule import PruningSchedule
from sparsevit_mm.search.baselines import uniform_within
from sparsevit_mm.search.budget import Budget
from sparsevit_mm.search.cost import MACS, MacsCost
from sparsevit_mm.search.space import SearchSpace

_LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


@dataclass(frozen=True)
class StudyRun:
    """The study of one seed.

    Attributes:
        seed: Seed of trainings and searches.
        configs: Folder of the configs.
        data_root: CamVid in the folder layout of ADE20K.
        work_dir: Folder of all seeds.
        dense_seed: Seed whose dense network this one starts from; None for its own.
        cfg_options: Fields to replace in every training's config.
        search_options: Settings of the searches to replace.
    """

    seed: int
    configs: Path
    data_root: Path
    work_dir: Path
    dense_seed: int | None = None
    cfg_options: Mapping[str, Any] = field(default_factory=dict)
    search_options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Folder of the seed."""
        return self.work_dir / f'seed{self.seed}'

    @cached_property
    def arch(self) -> SwinArch:
        """Sizes of the backbone."""
        return find_prunable_backbone(build_model(self.config())).arch

    def config(self) -> Config:
        """The dense config, which has the network of all trainings; registers its framework."""
        cfg = load_config(self._config(DENSE))
        register_framework(cfg)
        return cfg

    def prepare(self) -> None:
        """Checks that the folder is free or holds this run.

        Raises:
            ConfigError: If the data are missing, or the folder cannot be written or holds another.
        """
        if not (self.data_root / 'images').is_dir():
            raise ConfigError(
                f'data_root is {self.data_root}, but must hold images and annotations in the '
                'folders training, validation and test.'
            )
        names = sorted({training.config for training in TRAININGS.values()} | {SEARCH})
        texts = [load_config(self._config(name)).to_dict() for name in names]
        settings = f'{self.dense_seed} {self.cfg_options} {self.search_options} {texts}'
        check_same_run(self.folder, 'run', self.seed, settings)

    def weights(self, name: str) -> Path:
        """Checkpoint of a training, trained now if it is not there."""
        training = TRAININGS[name]
        if training.start is None and self.dense_seed not in (None, self.seed):
            return replace(self, seed=self.dense_seed).weights(name)
        cfg = load_config(
            self._config(training.config),
            {'randomness.seed': self.seed, **self.cfg_options},
            str(self.folder / name),
        )
        register_framework(cfg)
        for loader in _LOADERS:
            innermost_dataset(cfg[loader]).data_root = f'{self.data_root}/'
        # Variants are compared on the test split: validation during training would only take time.
        cfg.train_cfg.val_begin = cfg.train_cfg.max_iters + 1
        if training.start is not None:
            # Not `load_from`: resuming would take that for the state to resume from.
            start = str(self.weights(training.start))
            cfg.model.init_cfg = dict(type='Pretrained', checkpoint=start)
        if training.schedule is not None:
            schedule = self.schedule(training.schedule)
            cfg.custom_hooks[0].schedule = [list(stage) for stage in schedule.ratios]
        return train_with_progress(cfg, Console(stderr=True))

    def schedule(self, name: str) -> PruningSchedule:
        """A schedule by name, searched now if it has to be."""
        kind, _, budget = name.partition('-')
        arch, (width, height) = self.arch, FULL
        dense = PruningSchedule.dense(arch.depths)
        if kind == 'dense':
            return dense
        if kind == 'searched':
            return PruningSchedule.load(self._search(name, budget))
        cost = MacsCost(arch, height, width)
        bounds = Budget.parse(budget, MACS, cost.price(dense))
        found = uniform_within(SearchSpace(arch.depths), cost, bounds)
        assert found is not None
        return found

    def knows(self, name: str) -> bool:
        """Whether a schedule is available without running a search."""
        return not name.startswith('searched') or self._search_result(name).exists()

    def predictor(self, name: str) -> ImagePredictor:
        """Returns a predictor with the weights and the schedule of a training."""
        schedule = TRAININGS[name].schedule
        assert schedule is not None
        return ImagePredictor(
            self._config(DENSE),
            str(self.weights(name)),
            'cpu',
            self.schedule(schedule),
            {'test_dataloader.dataset.pipeline.1.scale': FULL},
        )

    def repeats(self, variant: Variant) -> bool:
        """Whether `dense_seed` has the same variant: the dense network that both start from."""
        shared = self.dense_seed not in (None, self.seed)
        return shared and TRAININGS[variant.weights].start is None and variant.schedule == 'dense'

    def macs(self, variant: Variant) -> int:
        """MACs of the backbone on one frame, counted."""
        width, height = variant.size
        return backbone_macs(self.arch, self.schedule(variant.schedule), height, width).total

    def result_file(self, variant: Variant) -> Path:
        """File with the result of `measure`."""
        return self.folder / 'tests' / f'{variant.key}.json'

    def measure(self, variant: Variant) -> dict[str, Any]:
        """Metrics of a variant on the test split: mIoU, aAcc, mAcc and the IoU of every class."""
        path = self.result_file(variant)
        if path.exists():
            return json.loads(path.read_text())
        weights, schedule = self.weights(variant.weights), self.schedule(variant.schedule)
        predictions = path.with_suffix('') / 'predictions'
        path.parent.mkdir(exist_ok=True)
        schedule.save(path.with_suffix('.schedule.json'))
        metrics = test(
            self._config(DENSE),
            str(weights),
            work_dir=str(path.with_suffix('')),
            out=str(predictions),
            schedule=str(path.with_suffix('.schedule.json')),
            cfg_options={
                'randomness.seed': self.seed,
                'test_dataloader.dataset.data_root': f'{self.data_root}/',
                'test_dataloader.dataset.pipeline.1.scale': variant.size,
                'model.backbone.type': 'sparsevit_mm.AblatedSparseViT',
                'model.backbone.importance': variant.importance,
            },
        )
        iou = class_iou(predictions, self.data_root / 'annotations' / 'test')
        found = {
            **{key: float(value) for key, value in metrics.items() if key in ('aAcc', 'mAcc')},
            # MMSegmentation's mIoU includes the unlabeled class with IoU 0 once it is predicted.
            'mIoU': round(fmean(iou.values()), 2),
            'IoU': iou,
            'schedule': [list(stage) for stage in schedule.ratios],
        }
        replace_text(path, json.dumps(found, indent=2) + '\n')
        return found

    def _search(self, name: str, budget: str) -> Path:
        result = self._search_result(name)
        if not result.exists():
            given = {
                'budget': {'macs': budget, 'of': 'backbone'},
                'evolution': {},
                **self.search_options,
            }
            given['evolution'] = {'seed': self.seed, **given['evolution']}
            search(
                self._config(SEARCH),
                str(self.weights('adapted')),
                settings={**given, 'resume': True},
                work_dir=str(result.parent),
                cfg_options={
                    'randomness.seed': self.seed,
                    'val_dataloader.dataset.data_root': f'{self.data_root}/',
                    'val_dataloader.dataset.pipeline.1.scale': FULL,
                },
            )
        return result

    def _search_result(self, name: str) -> Path:
        return self.folder / f'search-{name}' / SCHEDULE_FILE

    def _config(self, name: str) -> str:
        return str(self.configs / f'{name}.py')


def class_iou(predictions: Path, annotations: Path) -> dict[str, float]:
    """Computes the IoU of every class over all frames in percent, without unlabeled pixels.

    Args:
        predictions: Folder of predicted label maps; 0 is no class.
        annotations: Folder of annotated label maps of the same names.
    """
    both = np.zeros(len(CLASSES) + 1)
    either = np.zeros(len(CLASSES) + 1)
    for path in sorted(predictions.glob('*.png')):
        found, true = _read(path), _read(annotations / path.name)
        found, true = found[true > 0], true[true > 0]
        same = np.bincount(true[found == true], minlength=len(both))
        both += same
        either += np.bincount(found, minlength=len(both)) + np.bincount(true, minlength=len(both))
        either -= same
    return {
        name: round(float(100 * both[number] / max(either[number], 1)), 2)
        for number, name in enumerate(CLASSES, start=1)
    }


def _read(path: Path) -> NDArray[np.uint8]:
    return np.asarray(Image.open(path))
