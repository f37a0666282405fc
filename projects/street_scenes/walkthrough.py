"""The demo from nothing to pictures: scenes, training, comparison, what was skipped.

Every step leaves its result on disk, and a run that was interrupted goes on from there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
from mmengine.config import Config
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from projects.street_scenes.comparison import (
    Candidate,
    backbone_latency,
    comparison_table,
    list_candidates,
)
from projects.street_scenes.dataset import SPLITS, DemoSettings, make_dataset
from projects.street_scenes.training import train_with_progress
from sparsevit_mm.apis.configs import load_config, register_framework
from sparsevit_mm.apis.inference import ImagePredictor
from sparsevit_mm.apis.test import test
from sparsevit_mm.checks.configs import check_writable_folder
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.visualization.images import read_image

SPARSE_SCHEDULES: dict[str, Any] = {
    'sparse': [[0.0, 0.6], [0.0, 0.6], [0.0], [0.0]],
    'sparser': [[0.0, 0.8], [0.0, 0.8], [0.0, 0.8], [0.0]],
}
"""Pruning ratios the demo compares. The first block of a stage computes every window, so that the
second ranks them by what came of it: raw colors say little about what matters."""

LATENCY_RUNS = 30
NUM_PICTURES = 3
_PICTURE_ZOOM = 2
_PICTURE_SCORE = 0.5
_VALIDATION = SPLITS[1]


@dataclass(frozen=True)
class Demo:
    """What a demo is run with.

    Attributes:
        config: Path of the detector's config.
        seed: Seed of the scenes and of the training.
        work_dir: Gets checkpoints, logs, schedules, results and pictures.
        data_root: Folder of the scenes.
        settings: What the scenes are made from.
        cfg_options: Fields of the config to replace.
    """

    config: str
    seed: int
    work_dir: Path
    data_root: Path
    settings: DemoSettings
    cfg_options: Mapping[str, Any]

    @property
    def options(self) -> dict[str, Any]:
        """All fields of the config that this run replaces."""
        loaders = ('train_dataloader', 'val_dataloader', 'test_dataloader')
        annotations = self.data_root / 'annotations' / f'instances_{_VALIDATION}.json'
        return {
            **{f'{loader}.dataset.data_root': f'{self.data_root}/' for loader in loaders},
            'val_evaluator.ann_file': str(annotations),
            'test_evaluator.ann_file': str(annotations),
            'randomness.seed': self.seed,
            **self.cfg_options,
        }


def run_demo(demo: Demo) -> None:
    """Runs the demo, or what is left of it, and reports on standard output.

    Raises:
        SparseVitError: If a folder cannot be written or holds another run.
    """
    console, started = Console(file=sys.stdout, highlight=False), time.monotonic()
    cfg = load_config(demo.config, demo.options, str(demo.work_dir))
    check_writable_folder(demo.work_dir, 'work_dir')
    _check_same_run(demo, cfg)

    console.print(f'[bold]1/4 Scenes[/] in {demo.data_root}')
    with _bar(console, 'Drawing') as (progress, task):
        make_dataset(
            demo.data_root,
            demo.settings,
            progress=lambda done, total: progress.update(task, completed=done, total=total),
        )
    with _libraries_write_to(demo.work_dir / 'libraries.log'):
        console.print(
            '[bold]2/4 Training[/] Mask R-CNN with a small SparseViT from scratch; the second half '
            'skips random windows'
        )
        register_framework(cfg)
        checkpoint = train_with_progress(cfg, console)

        console.print('[bold]3/4 Comparison[/] on the validation scenes')
        predictor = ImagePredictor(demo.config, str(checkpoint), 'cpu', cfg_options=demo.options)
        assert predictor.backbone is not None
        arch = predictor.backbone.arch
        candidates = list_candidates(
            arch, demo.settings.width, demo.settings.height, SPARSE_SCHEDULES
        )
        metrics = _evaluate(demo, cfg, candidates, checkpoint, console)
        latencies = backbone_latency(predictor.model.backbone, candidates, LATENCY_RUNS)
        table = comparison_table(candidates, arch, metrics, latencies)
        console.print(table)

        console.print('[bold]4/4 Pictures[/]')
        _draw(demo, predictor, {c.name: c for c in reversed(candidates)})
    console.print(_farewell(demo, checkpoint, candidates[1]), soft_wrap=True)
    console.print(f'\nDone in {(time.monotonic() - started) / 60:.1f} minutes.')


def _check_same_run(demo: Demo, cfg: Config) -> None:
    """Leaves the run's fingerprint in the work dir, or checks the one that is there.

    Raises:
        ConfigError: If an earlier run in the folder was another one.
    """
    text = f'{demo.settings} {cfg.pretty_text}'
    mine = {'seed': demo.seed, 'fingerprint': hashlib.sha256(text.encode()).hexdigest()}
    path = demo.work_dir / 'demo.json'
    found = _read_json(path)
    if found not in (None, mine):
        raise ConfigError(
            f'work_dir is {demo.work_dir}, but it holds a demo with other settings: name another '
            'folder or remove it.'
        )
    _write_json(path, mine)


def _evaluate(
    demo: Demo, cfg: Config, candidates: list[Candidate], checkpoint: Path, console: Console
) -> list[dict[str, float]]:
    """CocoMetric's numbers of every candidate; those of an earlier run are kept."""
    path = demo.work_dir / 'results.json'
    results = _read_json(path) or {}
    steps = [step['type'] for step in cfg.test_dataloader.dataset.pipeline]
    resize = f'test_dataloader.dataset.pipeline.{steps.index("Resize")}.scale'
    with _bar(console, 'Evaluating') as (progress, task):
        for candidate in progress.track(candidates, task_id=task):
            if candidate.key in results:
                continue
            schedule = demo.work_dir / 'schedules' / f'{candidate.key}.json'
            schedule.parent.mkdir(exist_ok=True)
            candidate.schedule.save(schedule)
            results[candidate.key] = test(
                demo.config,
                str(checkpoint),
                work_dir=str(demo.work_dir / 'evaluation'),
                schedule=str(schedule),
                cfg_options={**demo.options, resize: (candidate.width, candidate.height)},
            )
            _write_json(path, results)
    return [results[candidate.key] for candidate in candidates]


def _draw(demo: Demo, predictor: ImagePredictor, candidates: Mapping[str, Candidate]) -> None:
    """Writes detections, dense and sparse, and the sparse network's windows of some scenes."""
    folder = demo.work_dir / 'pictures'
    folder.mkdir(exist_ok=True)
    assert predictor.backbone is not None
    for path in _busiest_scenes(demo.data_root):
        # The network resizes it back; the drawing has room for its text.
        image = read_image(path)
        image = cv2.resize(
            image, None, fx=_PICTURE_ZOOM, fy=_PICTURE_ZOOM, interpolation=cv2.INTER_CUBIC
        )
        for name, candidate in candidates.items():
            predictor.backbone.pruning_schedule = candidate.schedule
            prediction = predictor.predict(image, str(path))
            predictor.save(prediction, folder / f'{path.stem}-{name}.png', _PICTURE_SCORE)
            windows = predictor.draw_windows(prediction)
            if windows is not None and not candidate.schedule.is_dense:
                Image.fromarray(windows).save(folder / f'{path.stem}-{name}-windows.png')


def _busiest_scenes(data_root: Path) -> list[Path]:
    """The validation images with the most things that are easy to see."""
    coco = json.loads((data_root / 'annotations' / f'instances_{_VALIDATION}.json').read_text())
    large = [a['image_id'] for a in coco['annotations'] if a['area'] > 400]
    images = sorted(coco['images'], key=lambda image: -large.count(image['id']))
    return [data_root / 'images' / _VALIDATION / i['file_name'] for i in images[:NUM_PICTURES]]


def _farewell(demo: Demo, checkpoint: Path, sparse: Candidate) -> str:
    ratios = str([list(stage) for stage in sparse.schedule.ratios])
    return (
        f'Detections and kept windows are in [bold]{demo.work_dir / "pictures"}[/], the network is '
        f'{checkpoint}.\n\n'
        'Try next\n'
        '  your own picture:       python tools/image_demo.py PICTURE \\\n'
        f'      {demo.config} \\\n      {checkpoint} --ratios 0.5\n'
        '  another schedule:       python tools/test.py \\\n'
        f'      {demo.config} \\\n      {checkpoint} --ratios "{ratios}"\n'
        '  semantic segmentation:  python tools/train.py \\\n'
        '      projects/street_scenes/configs/sparsevit-mini_upernet_*.py\n'
        "  a network of your own:  set its backbone to type='sparsevit_mm.SparseViT'"
    )


@contextlib.contextmanager
def _bar(console: Console, what: str) -> Iterator[tuple[Progress, TaskID]]:
    columns = TextColumn('{task.description}'), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, console=console, redirect_stdout=False) as progress:
        yield progress, progress.add_task(what, total=None)


@contextlib.contextmanager
def _libraries_write_to(path: Path) -> Iterator[None]:
    """Sends what libraries print, which would tear the progress bar, to a file."""
    with path.open('a') as log, contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
        yield


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


def _write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix('.tmp')
    scratch.write_text(json.dumps(content, indent=2) + '\n')
    scratch.replace(path)
