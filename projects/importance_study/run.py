"""Runs the study for one data set and seed: trains and tests whatever a caller asks for.

Every result is saved to disk and not computed again, so that an interrupted run resumes.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from rich.console import Console

from projects.importance_study.plan import (
    DENSE,
    FOUND,
    FURTHER_RATE,
    FURTHER_WARMUP,
    HEADS,
    LONGER,
    SIZE,
    TUNED,
    Case,
    DataSet,
    finest,
)
from projects.runs import check_same_run, train_with_progress
from projects.street_scenes.dataset import DemoSettings
from sparsevit_mm.apis.configs import load_config, register_framework
from sparsevit_mm.apis.test import test
from sparsevit_mm.engine.search_loop import SCHEDULE_FILE
from sparsevit_mm.files import read_json, replace_text
from sparsevit_mm.pruning.schedule import PruningSchedule
from sparsevit_mm.search.measure import device_name
from sparsevit_mm.versions import __version__

CONFIGS = Path(__file__).parent / 'configs'
COCO_METRICS = ['mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l', 'AR@300']
BOXES = '.bbox.json'
"""How MMDetection ends the name of a file with boxes."""

_ADAPTATION = dict(type='sparsevit_mm.SparsityAdaptationHook')


@dataclass(frozen=True)
class StudyRun:
    """The study of one data set and seed.

    Attributes:
        data: The data set.
        seed: Seed of trainings.
        work_dir: Folder of the whole study.
        cfg_options: Fields to replace in every training's config.
        scenes: Settings of drawn scenes.
    """

    data: DataSet
    seed: int
    work_dir: Path
    cfg_options: Mapping[str, Any] = field(default_factory=dict)
    scenes: DemoSettings = field(default_factory=DemoSettings)

    @property
    def folder(self) -> Path:
        """Folder of the run."""
        return self.work_dir / self.data.name / f'seed{self.seed}'

    def prepare(self) -> None:
        """Checks that the data are there and the folder is free or holds this run.

        Raises:
            ConfigError: If the data are missing, or the folder holds something else.
        """
        self.data.prepare(self.work_dir, self.scenes)
        texts = [self._config(name).to_dict() for name in (DENSE, LONGER)]
        check_same_run(self.folder, 'run', self.seed, f'{self.scenes} {texts}')

    def weights(self, name: str) -> Path:
        """Checkpoint of a training, trained now if it is not there.

        Args:
            name: 'dense', 'longer', or the importance that the network is adapted with; with
                '+batch' behind it, the images of a batch share their windows, with '+heads', the
                neck and head skip windows, too, and with `tuned_at(…)` or `tuned_to(…)`, the
                ratios are those instead of random ones. `at_size` makes a name of one size of
                frames.
        """
        cfg = self._config(name)
        if name != DENSE:
            # Not `load_from`: resuming would take that for the state to resume from.
            start = str(self.weights(DENSE))
            cfg.model.init_cfg = dict(type='Pretrained', checkpoint=start)
        name, sized, scale = name.partition(SIZE)
        if sized:
            _see_one_size(cfg, float(scale))
        if name not in (DENSE, LONGER):
            importance, *added = name.split('+')
            allocation = 'batch' if 'batch' in added else 'image'
            cfg.model.backbone.update(importance=importance, allocation=allocation)
            if HEADS in added:
                cfg.model.update(type='sparsevit_mm.SparseHeads', of=cfg.model.type)
            adaptation = {**_ADAPTATION, 'objects': self.data.objects}
            cfg.custom_hooks = [] if self._fix_schedule(cfg, added) else [adaptation]
        register_framework(cfg)
        return train_with_progress(cfg, Console(stderr=True))

    def _fix_schedule(self, cfg: Config, added: Sequence[str]) -> bool:
        """Trains with one schedule if the name of the training says so."""
        for one in added:
            if one.startswith(TUNED):
                ratio, *heads = map(float, one.removeprefix(TUNED).split('-'))
                cfg.model.backbone.pruning_ratios = ratio
                if heads:
                    cfg.model.head_ratios = list(finest(heads[0]))
                return True
            if one.startswith(FOUND):
                by, _, search = one.removeprefix(FOUND).partition(' of ')
                schedule = self.found_schedule(Case('', search=search, by=by))
                cfg.model.backbone.pruning_ratios = [list(stage) for stage in schedule.ratios]
                cfg.model.head_ratios = list(schedule.head_ratios)
                _see_one_size(cfg, schedule.scale)
                return True
        return False

    def result_file(self, case: Case) -> Path:
        """File with the result of `measure`."""
        return self.folder / 'tests' / f'{case.key}.json'

    def boxes_file(self, case: Case) -> Path:
        """File with the boxes that `measure` found in every image, in COCO's format."""
        return self.folder / 'tests' / f'{case.key}{BOXES}'

    def measure(self, case: Case) -> dict[str, Any]:
        """Metric, shares of computed pixels and MACs of a case, tested now if need be."""
        path = self.result_file(case)
        if path.exists():
            return json.loads(path.read_text())
        weights, measured = self.weights(case.weights), path.with_suffix('.shares')
        path.parent.mkdir(exist_ok=True)
        hook = dict(type='ObjectShareHook', out=str(measured), objects=self.data.objects)
        metrics = test(
            self.config_file,
            str(weights),
            work_dir=str(self.folder / 'logs' / case.key),
            optimize=case.form or None,
            cfg_options={
                **self.test_options(case),
                'randomness.seed': self.seed,
                'custom_hooks': [dict(type='OracleHook'), hook],
            },
        )
        found = {
            # MMDetection reports nothing if nothing is detected at all.
            'metric': round(metrics.get(self.data.metric, 0.0) * self.data.factor, 2),
            **json.loads(measured.read_text()),
            'metrics': {name: float(value) for name, value in metrics.items()},
            'machine': device_name(torch.device('cpu')),
            'versions': {
                'python': platform.python_version(),
                'torch': torch.__version__,
                'sparsevit_mm': __version__,
            },
        }
        measured.unlink()
        replace_text(path, json.dumps(found, indent=1) + '\n')
        return found

    def search_folder(self, name: str) -> Path:
        """Work dir of a search."""
        return self.folder / 'searches' / name.replace(' ', '_')

    def found_schedule(self, case: Case) -> PruningSchedule:
        """The schedule that a case's search found."""
        found = read_json(self.search_folder(case.search) / SCHEDULE_FILE, 'the schedule file')
        row = found['rows'][case.by]
        return PruningSchedule.from_dict({**row, 'ratios': row['schedule']})

    def test_options(self, case: Case) -> dict[str, Any]:
        """Fields of the config that make it test a case."""
        ratios: Any = case.ratio
        boxes = str(self.boxes_file(case)).removesuffix(BOXES)
        if case.search:
            schedule = self.found_schedule(case)
            ratios = [list(stage) for stage in schedule.ratios]
            case = replace(case, scale=schedule.scale, head_ratios=schedule.head_ratios)
        options = {
            **self._where_data_are(),
            'model.backbone.importance': case.importance,
            'model.backbone.pruning_ratios': ratios,
            'test_dataloader.dataset.pipeline.1.scale_factor': case.scale,
        }
        if self.data.metric.startswith('coco/'):
            options['test_evaluator.metric_items'] = COCO_METRICS
            options['test_evaluator.outfile_prefix'] = boxes
        if HEADS in case.weights.split('+'):
            kind = load_config(self.config_file).model.type
            options |= {'model.type': 'sparsevit_mm.SparseHeads', 'model.of': kind}
            options['model.head_ratios'] = list(case.head_ratios)
        return options

    def _config(self, name: str) -> Config:
        cfg = load_config(self.config_file, self._where_data_are(), str(self.folder / name))
        if name != DENSE:
            _train_further(cfg, self.data.further)
        cfg.merge_from_dict({'randomness.seed': self.seed, **self.cfg_options})
        # Networks are compared on the test set: validation in training would only take time.
        cfg.val_dataloader = cfg.val_evaluator = cfg.val_cfg = None
        return cfg

    @property
    def config_file(self) -> str:
        """Path of the config of the dense network."""
        return str(CONFIGS / f'{self.data.config}.py')

    def _where_data_are(self) -> dict[str, Any]:
        root = self.data.root(self.work_dir)
        found: dict[str, Any] = {
            f'{loader}.dataset.data_root': f'{root}/'
            for loader in ('train_dataloader', 'test_dataloader')
        }
        if self.data.annotations is not None:
            found['test_evaluator.ann_file'] = str(root / self.data.annotations)
        return found


def _train_further(cfg: Config, iterations: int) -> None:
    """Changes a config to a shorter training with a warm restart."""
    cfg.train_cfg.max_iters = iterations
    cfg.optim_wrapper.optimizer.lr = FURTHER_RATE
    cfg.param_scheduler = [
        dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=FURTHER_WARMUP),
        dict(
            type='CosineAnnealingLR',
            by_epoch=False,
            begin=FURTHER_WARMUP,
            end=iterations,
            eta_min=1e-5,
        ),
    ]


def _see_one_size(cfg: Config, scale: float) -> None:
    """Changes a config to train on frames of one size instead of random ones."""
    pipeline = cfg.train_dataloader.dataset.pipeline
    resize = [step.type for step in pipeline].index('RandomResize')
    pipeline[resize] = dict(type='Resize', scale_factor=scale, keep_ratio=True)
