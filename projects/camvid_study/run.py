"""Runs the evidence of one seed: each weight, schedule and metric is made when it is asked for.

Everything is left on disk, and what is there is not made again, so that an interrupted run goes on
where it stopped.
"""

from __future__ import annotations

import hashlib
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

from projects.camvid_study.plan import CLASSES, DENSE, FULL, SEARCH, TRAININGS, Arm, Size
from projects.street_scenes.training import train_with_progress
from sparsevit_mm.apis.configs import innermost_dataset, load_config, register_framework
from sparsevit_mm.apis.inference import ImagePredictor
from sparsevit_mm.apis.search import search
from sparsevit_mm.apis.test import test
from sparsevit_mm.checks.configs import build_model, check_writable_folder
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
class EvidenceRun:
    """The run of one seed.

    Attributes:
        seed: Seed of trainings and searches.
        configs: Folder of the configs.
        data_root: CamVid in the folders of ADE20K.
        work_dir: Gets a folder for the seed.
        dense_seed: Seed whose dense network all seeds start from; None for each its own.
        cfg_options: Fields to replace in every training's config.
        search_options: Settings of the searches to replace.
        divisor: Every size in pixels is divided by it; more than 1 only to try the run out.
    """

    seed: int
    configs: Path
    data_root: Path
    work_dir: Path
    dense_seed: int | None = None
    cfg_options: Mapping[str, Any] = field(default_factory=dict)
    search_options: Mapping[str, Any] = field(default_factory=dict)
    divisor: int = 1

    @property
    def folder(self) -> Path:
        """Where everything of the seed lies."""
        return self.work_dir / f'seed{self.seed}'

    @cached_property
    def arch(self) -> SwinArch:
        """Sizes of the backbone."""
        return find_prunable_backbone(build_model(self.config())).arch

    def config(self) -> Config:
        """The dense config, which has the network of all trainings; its framework registered."""
        cfg = load_config(self._config(DENSE))
        register_framework(cfg)
        return cfg

    def size(self, size: Size) -> Size:
        """Width and height in pixels of an arm's frames."""
        return size[0] // self.divisor, size[1] // self.divisor

    def prepare(self) -> None:
        """Checks that the folder is free or holds this run.

        Raises:
            ConfigError: If the data are missing, or the folder cannot be written or holds another.
        """
        if not (self.data_root / 'images').is_dir():
            raise ConfigError(
                f'data_root is {self.data_root}, but it must hold images and annotations in the '
                'folders training, validation and test.'
            )
        check_writable_folder(self.folder, 'work_dir')
        names = sorted({training.config for training in TRAININGS.values()} | {SEARCH})
        texts = [load_config(self._config(name)).pretty_text for name in names]
        described = (
            f'{self.dense_seed} {self.divisor} {self.cfg_options} {self.search_options} {texts}'
        )
        mine = {'seed': self.seed, 'sha256': hashlib.sha256(described.encode()).hexdigest()}
        path = self.folder / 'evidence.json'
        if path.exists() and json.loads(path.read_text()) != mine:
            raise ConfigError(
                f'work_dir is {self.work_dir}, but it holds a run with other settings: name '
                'another folder or remove it.'
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        replace_text(path, json.dumps(mine) + '\n')

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
        # The test split judges; looking at the validation split would only take time.
        cfg.train_cfg.val_begin = cfg.train_cfg.max_iters + 1
        self._shrink(cfg)
        if training.start is not None:
            # Not `load_from`: resuming would take that for the state to go on from.
            start = str(self.weights(training.start))
            cfg.model.init_cfg = dict(type='Pretrained', checkpoint=start)
        if training.schedule is not None:
            schedule = self.schedule(training.schedule)
            cfg.custom_hooks[0].schedule = [list(stage) for stage in schedule.ratios]
        return train_with_progress(cfg, Console(stderr=True))

    def schedule(self, name: str) -> PruningSchedule:
        """A schedule by name, searched now if it has to be."""
        kind, _, budget = name.partition('-')
        arch, (width, height) = self.arch, self.size(FULL)
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
        """Whether a schedule is there without a search."""
        return not name.startswith('searched') or self._search_result(name).exists()

    def predictor(self, name: str) -> ImagePredictor:
        """The network of a training under its schedule, ready for frames."""
        schedule = TRAININGS[name].schedule
        assert schedule is not None
        return ImagePredictor(
            self._config(DENSE),
            str(self.weights(name)),
            'cpu',
            self.schedule(schedule),
            {'test_dataloader.dataset.pipeline.1.scale': self.size(FULL)},
        )

    def repeats(self, arm: Arm) -> bool:
        """Whether another seed has the very same arm: the dense network they start from."""
        shared = self.dense_seed not in (None, self.seed)
        return shared and TRAININGS[arm.weights].start is None and arm.schedule == 'dense'

    def macs(self, arm: Arm) -> int:
        """MACs of the backbone on one frame, counted."""
        width, height = self.size(arm.size)
        return backbone_macs(self.arch, self.schedule(arm.schedule), height, width).total

    def result_file(self, arm: Arm) -> Path:
        """Where `measure` leaves what it finds."""
        return self.folder / 'tests' / f'{arm.key}.json'

    def measure(self, arm: Arm) -> dict[str, Any]:
        """Metrics of an arm on the test split: mIoU, aAcc, mAcc and the IoU of every class."""
        path = self.result_file(arm)
        if path.exists():
            return json.loads(path.read_text())
        weights, schedule = self.weights(arm.weights), self.schedule(arm.schedule)
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
                'test_dataloader.dataset.pipeline.1.scale': self.size(arm.size),
                'model.backbone.type': 'sparsevit_mm.AblatedSparseViT',
                'model.backbone.importance': arm.importance,
            },
        )
        iou = class_iou(predictions, self.data_root / 'annotations' / 'test')
        found = {
            **{key: float(value) for key, value in metrics.items() if key in ('aAcc', 'mAcc')},
            # The framework counts the unlabeled class, as never found, once a network predicts it.
            'mIoU': round(fmean(iou.values()), 2),
            'IoU': iou,
            'schedule': [list(stage) for stage in schedule.ratios],
        }
        replace_text(path, json.dumps(found, indent=2) + '\n')
        return found

    def _search(self, name: str, budget: str) -> Path:
        result = self._search_result(name)
        if not result.exists():
            given = {'budget': {'macs': budget}, 'evolution': {}, **self.search_options}
            given['evolution'] = {'seed': self.seed, **given['evolution']}
            search(
                self._config(SEARCH),
                str(self.weights('adapted')),
                settings={**given, 'resume': True},
                work_dir=str(result.parent),
                cfg_options={
                    'randomness.seed': self.seed,
                    'val_dataloader.dataset.data_root': f'{self.data_root}/',
                    'val_dataloader.dataset.pipeline.1.scale': self.size(FULL),
                },
            )
        return result

    def _search_result(self, name: str) -> Path:
        return self.folder / f'search-{name}' / SCHEDULE_FILE

    def _config(self, name: str) -> str:
        return str(self.configs / f'{name}.py')

    def _shrink(self, cfg: Config) -> None:
        if self.divisor == 1:
            return
        steps = innermost_dataset(cfg.train_dataloader).pipeline
        for step in [*steps, cfg.model.data_preprocessor]:
            for key in ('scale', 'crop_size', 'size'):
                if key in step:
                    step[key] = tuple(side // self.divisor for side in step[key])


def class_iou(predictions: Path, annotations: Path) -> dict[str, float]:
    """IoU in percent of every class, over all frames, unlabeled pixels left out.

    Args:
        predictions: Folder of label maps; 0 is no class.
        annotations: Folder of the true ones, of the same names.
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
