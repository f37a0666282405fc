"""The demo: draws scenes, trains a detector, compares pruning schedules and draws what is kept.

Every step saves its result to disk, so that an interrupted run resumes where it stopped.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from rich.console import Console

from projects.runs import check_same_run, progress_bar, redirect_output, train_with_progress
from projects.street_scenes.comparison import (
    Candidate,
    Result,
    comparison_table,
    list_candidates,
    model_costs,
    model_latency,
    verdict,
)
from projects.street_scenes.dataset import SPLITS, DemoSettings, make_dataset
from sparsevit_mm.apis.configs import load_config, register_framework
from sparsevit_mm.apis.inference import ImagePredictor
from sparsevit_mm.apis.test import test
from sparsevit_mm.files import replace_text
from sparsevit_mm.visualization.images import read_image

CANDIDATES: dict[str, dict[str, Any]] = {
    'dense': {},
    'dense, 0.85×': {'scale': 0.85},
    'dense, 0.7×': {'scale': 0.7},
    'dense, 0.5×': {'scale': 0.5},
    'backbone skips 50%': {'ratios': 0.5},
    'backbone skips 70%': {'ratios': 0.7},
    'backbone, FPN, RPN 70%': {'ratios': 0.7, 'head_ratios': [0.7, 0.7, 0.0, 0.0]},
}
"""What the demo compares: fields of schedules by name; the first row is the dense model."""

TIMED_SCENES, LATENCY_RUNS = 4, 8
NUM_PICTURES = 3
_PICTURE_SCORE = 0.5
_VALIDATION = SPLITS[1]


@dataclass(frozen=True)
class Demo:
    """Settings of a demo.

    Attributes:
        config: Path of the detector's config.
        seed: Seed of the scenes and of the training.
        work_dir: Folder for checkpoints, logs, schedules, results and pictures.
        data_root: Folder of the scenes.
        settings: Settings of the scenes.
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
    """Runs the demo, or the rest of an interrupted one, and reports on standard output.

    Raises:
        SparseVitError: If a folder cannot be written or holds another run.
    """
    console, started = Console(file=sys.stdout, highlight=False), time.monotonic()
    cfg = load_config(demo.config, demo.options, str(demo.work_dir))
    check_same_run(demo.work_dir, 'demo', demo.seed, f'{demo.settings} {cfg.to_dict()}')

    console.print(f'[bold]1/4 Scenes[/] in {demo.data_root}')
    with progress_bar(console, 'Drawing') as show:
        make_dataset(demo.data_root, demo.settings, progress=show)
    with redirect_output(demo.work_dir / 'libraries.log'):
        console.print(
            '[bold]2/4 Training[/] Mask R-CNN with a small SparseViT from scratch; the second half '
            'skips random windows'
        )
        register_framework(cfg)
        checkpoint = train_with_progress(cfg, console)

        console.print('[bold]3/4 Comparison[/] on the validation scenes')
        predictor = ImagePredictor(demo.config, str(checkpoint), 'cpu', cfg_options=demo.options)
        assert predictor.backbone is not None
        candidates = list_candidates(predictor.backbone.arch.depths, CANDIDATES)
        metrics = _evaluate(demo, candidates, checkpoint, console)
        costs = model_costs(predictor.model, cfg, candidates)
        scenes = range(min(TIMED_SCENES, demo.settings.validation))
        with progress_bar(console, 'Timing') as show:
            timed = model_latency(predictor.model, cfg, candidates, scenes, LATENCY_RUNS, show)
        results = [
            Result(candidate, size, gmacs, latency, *_box_and_mask_ap(scores))
            for candidate, (size, gmacs), latency, scores in zip(candidates, costs, timed, metrics)
        ]
        console.print(comparison_table(results))
        console.print(verdict(results))

        console.print('[bold]4/4 Pictures[/]')
        sparse = candidates[-1]
        _draw(demo, predictor, [candidates[0], sparse])
    console.print(_farewell(demo, checkpoint, sparse), soft_wrap=True)
    console.print(f'\nDone in {(time.monotonic() - started) / 60:.1f} minutes.')


def _evaluate(
    demo: Demo, candidates: list[Candidate], checkpoint: Path, console: Console
) -> list[dict[str, float]]:
    """Returns CocoMetric's numbers of every candidate; an earlier run's are not computed again."""
    path = demo.work_dir / 'results.json'
    results = json.loads(path.read_text()) if path.exists() else {}
    with progress_bar(console, 'Evaluating') as show:
        for number, candidate in enumerate(candidates):
            show(number, len(candidates))
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
                cfg_options=demo.options,
            )
            replace_text(path, json.dumps(results, indent=2) + '\n')
        show(len(candidates), len(candidates))
    return [results[candidate.key] for candidate in candidates]


def _box_and_mask_ap(scores: Mapping[str, float]) -> tuple[float, float]:
    """In percent; MMDetection reports nothing if nothing is detected at all."""
    box, mask = (100 * scores.get(f'coco/{kind}_mAP', 0.0) for kind in ('bbox', 'segm'))
    return box, mask


def _draw(demo: Demo, predictor: ImagePredictor, candidates: list[Candidate]) -> None:
    """Draws detections, dense and sparse, and the kept windows of some scenes."""
    folder = demo.work_dir / 'pictures'
    folder.mkdir(exist_ok=True)
    assert predictor.backbone is not None
    for path in _busiest_scenes(demo.data_root):
        image = read_image(path)
        for candidate in candidates:
            predictor.backbone.pruning_schedule = candidate.schedule
            prediction = predictor.predict(image, str(path))
            name = 'dense' if candidate.schedule.is_dense else 'sparse'
            predictor.save(prediction, folder / f'{path.stem}-{name}.png', _PICTURE_SCORE)
            windows = predictor.draw_windows(prediction)
            if windows is not None and not candidate.schedule.is_dense:
                Image.fromarray(windows).save(folder / f'{path.stem}-{name}-windows.png')


def _busiest_scenes(data_root: Path) -> list[Path]:
    """The validation images with the most large objects."""
    coco = json.loads((data_root / 'annotations' / f'instances_{_VALIDATION}.json').read_text())
    large = [a['image_id'] for a in coco['annotations'] if a['area'] > 400]
    images = sorted(coco['images'], key=lambda image: -large.count(image['id']))
    return [data_root / 'images' / _VALIDATION / i['file_name'] for i in images[:NUM_PICTURES]]


def _farewell(demo: Demo, checkpoint: Path, sparse: Candidate) -> str:
    schedule = demo.work_dir / 'schedules' / f'{sparse.key}.json'
    return (
        f'Detections and kept windows are in [bold]{demo.work_dir / "pictures"}[/], the network is '
        f'{checkpoint}.\n\n'
        'Try next\n'
        '  your own image:         python tools/image_demo.py PICTURE \\\n'
        f'      {demo.config} \\\n      {checkpoint} --ratios 0.5\n'
        '  this row of the table:  python tools/test.py \\\n'
        f'      {demo.config} \\\n      {checkpoint} \\\n      --schedule {schedule}\n'
        '  semantic segmentation:  python tools/train.py \\\n'
        '      projects/street_scenes/configs/sparsevit-mini_upernet_*.py\n'
        "  a network of your own:  set its backbone to type='sparsevit_mm.SparseViT'"
    )
