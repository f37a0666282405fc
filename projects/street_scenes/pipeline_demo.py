"""The pipeline demo: SparseViT's whole training pipeline on the demo's label maps.

Dense training, sparsity-aware adaptation, search under a budget, finetuning; then a comparison on
the validation scenes, which no step has used: mIoU, MACs, and milliseconds of the whole model.
Every step saves its result to disk, so that an
interrupted run resumes where it stopped.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import DATASETS, DefaultScope
from rich.console import Console
from rich.table import Table

from projects.runs import check_same_run, progress_bar, redirect_output, train_with_progress
from projects.street_scenes.comparison import size_at_equal_macs
from projects.street_scenes.dataset import DemoSettings, make_dataset
from sparsevit_mm.apis.configs import innermost_dataset, load_config, register_framework
from sparsevit_mm.apis.search import search
from sparsevit_mm.apis.test import test
from sparsevit_mm.checks.configs import build_model, check_weights_fit
from sparsevit_mm.engine.input_scale import scaled_pipeline, size_divisor
from sparsevit_mm.engine.search_loop import SCHEDULE_FILE
from sparsevit_mm.engine.timed_images import timed_images
from sparsevit_mm.files import replace_text
from sparsevit_mm.profiling.latency import Latency, measure_latency
from sparsevit_mm.profiling.macs import backbone_macs
from sparsevit_mm.pruning.prunable import find_prunable_backbone
from sparsevit_mm.pruning.schedule import PruningSchedule

CONFIGS = {
    'dense': 'swin-mini_upernet_400it_demo-224x448.py',
    'saa': 'sparsevit-mini_upernet_saa-300it_demo-224x448.py',
    'search': 'sparsevit-mini_upernet_search_demo-224x448.py',
    'finetune': 'sparsevit-mini_upernet_finetune-100it_demo-224x448.py',
}
"""The config of every step."""

SCENES = DemoSettings(training=128, validation=48)
METRIC = 'mIoU'
_HALF = 0.5
_RUNS = 20


@dataclass(frozen=True)
class PipelineDemo:
    """Settings of a pipeline demo.

    Attributes:
        configs: Folder of the steps' configs.
        seed: Seed of scenes, training and search.
        work_dir: Folder for checkpoints, logs, the search and the results.
        data_root: Folder of the scenes.
        settings: Settings of the scenes.
        cfg_options: Fields to replace in every step's config.
        search_options: Settings of the search to replace.
    """

    configs: Path
    seed: int
    work_dir: Path
    data_root: Path
    settings: DemoSettings
    cfg_options: Mapping[str, Any]
    search_options: Mapping[str, Any]

    @property
    def options(self) -> dict[str, Any]:
        """Fields that every step replaces in its config."""
        return {'randomness.seed': self.seed, **self.cfg_options}

    def config(self, step: str) -> Config:
        """The config of a step, with its data and its work dir."""
        cfg = load_config(str(self.configs / CONFIGS[step]), self.options, str(self.folder(step)))
        for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
            innermost_dataset(cfg[loader]).data_root = f'{self.data_root}/'
        return cfg

    def folder(self, step: str) -> Path:
        """The work dir of a step."""
        return self.work_dir / step


@dataclass(frozen=True)
class Row:
    """A line of the table: weights, schedule and input size, evaluated on the validation scenes.

    Attributes:
        name: What it is called.
        step: Step whose weights it has.
        schedule: Pruning schedule.
        width: Width in pixels that images are resized to.
        height: Height in pixels.
        scale: Input scale that the search chose; None if it did not choose the size.
        ends_section: Whether a line is drawn below.
    """

    name: str
    step: str
    schedule: PruningSchedule
    width: int
    height: int
    scale: float | None = 1.0
    ends_section: bool = False


def run_pipeline_demo(demo: PipelineDemo) -> None:
    """Runs the pipeline, or the rest of an interrupted run, and reports on standard output.

    Raises:
        SparseVitError: If a folder cannot be written or holds another run.
    """
    console, started = Console(file=sys.stdout, highlight=False), time.monotonic()
    texts = [load_config(str(demo.configs / name)).to_dict() for name in CONFIGS.values()]
    settings = f'{demo.settings} {demo.options} {demo.search_options} {texts}'
    check_same_run(demo.work_dir, 'pipeline demo', demo.seed, settings)
    console.print(f'[bold]1/6 Scenes[/] in {demo.data_root}')
    with progress_bar(console, 'Drawing') as show:
        make_dataset(demo.data_root, demo.settings, progress=show)
    with redirect_output(demo.work_dir / 'libraries.log'):
        register_framework(demo.config('dense'))
        console.print('[bold]2/6 Dense network[/] from scratch; a part of the scenes is held out')
        weights = {'dense': train_with_progress(demo.config('dense'), console)}

        console.print('[bold]3/6 Adaptation[/] a random schedule in every iteration')
        weights['saa'] = _train_from(demo.config('saa'), weights['dense'], console)

        console.print('[bold]4/6 Search[/] on the held-out scenes')
        found = _search(demo, weights['saa'], console)
        console.print(f'      plots of it are in {demo.folder("search")}')

        console.print('[bold]5/6 Finetuning[/] at the schedule that was found')
        schedule = str(demo.folder('search') / SCHEDULE_FILE)
        tuned = demo.config('finetune')
        tuned.custom_hooks[0].schedule = schedule
        _scale_images(tuned, PruningSchedule.load(schedule).scale)
        weights['finetune'] = _train_from(tuned, weights['saa'], console)

        console.print('[bold]6/6 Comparison[/] on the validation scenes')
        rows = _rows(demo, found)
        metrics = _evaluate(demo, rows, weights, console)
        latencies = _model_latencies(demo, rows, weights['finetune'])
        table = _table(demo, rows, metrics, latencies, found)
    console.print(table)
    console.print(
        f'The schedule is {schedule}; use it with\n'
        f"  dict(type='sparsevit_mm.WindowPruningHook', schedule='{schedule}')\n"
        f'Done in {(time.monotonic() - started) / 60:.1f} minutes.',
        soft_wrap=True,
    )


def _train_from(cfg: Config, start: Path, console: Console) -> Path:
    """Trains from the weights of another step, or resumes its own interrupted training."""
    # As an initialization, not `load_from`: resuming would take that for the state to resume from.
    cfg.model.init_cfg = dict(type='Pretrained', checkpoint=str(start))
    return train_with_progress(cfg, console)


def _search(demo: PipelineDemo, checkpoint: Path, console: Console) -> Mapping[str, Any]:
    """The result of the search, or that of an earlier run."""
    result = demo.folder('search') / SCHEDULE_FILE
    if not result.exists():
        loaders = ('train_dataloader', 'val_dataloader', 'test_dataloader')
        roots = {f'{loader}.dataset.data_root': f'{demo.data_root}/' for loader in loaders}
        with progress_bar(console, 'Searching') as show:
            search(
                str(demo.configs / CONFIGS['search']),
                str(checkpoint),
                settings={
                    **demo.search_options,
                    'evolution': {
                        'seed': demo.seed, **(demo.search_options.get('evolution') or {}),
                    },
                    'resume': True,
                },
                work_dir=str(demo.folder('search')),
                cfg_options={**demo.options, **roots},
                progress=lambda step, done, total: show(done, total, step),
            )  # fmt: skip
    return json.loads(result.read_text())


def _rows(demo: PipelineDemo, found: Mapping[str, Any]) -> list[Row]:
    """What is compared: everything that the search compared, and lower resolution at equal cost."""
    arch = find_prunable_backbone(build_model(demo.config('dense'))).arch
    schedules = {
        name: PruningSchedule.parse(row['schedule'], arch.depths)
        for name, row in found['rows'].items()
    }
    for name, schedule in schedules.items():
        if not schedule.is_dense:
            importance = found['rows'][name].get('importance', found['importance'])
            schedules[name] = replace(schedule, importance=importance)
    scales = {name: row.get('scale', 1.0) for name, row in found['rows'].items()}
    size = (demo.settings.width, demo.settings.height)

    def searched(name: str, key: str, step: str = 'saa') -> Row:
        width, height = (round(side * scales[key]) for side in size)
        return Row(name, step, schedules[key], width, height, scales[key])

    smaller = size_at_equal_macs(arch, schedules['evolution'], *size)
    dense, half = PruningSchedule.dense(arch.depths), PruningSchedule.parse(_HALF, arch.depths)
    rows = [
        Row('dense, before adaptation', 'dense', dense, *size),
        Row('uniform 50%, before adaptation', 'dense', half, *size),
        Row('uniform 50%, adapted', 'saa', half, *size, ends_section=True),
        Row('dense', 'saa', dense, *size),
        Row('lower resolution at equal cost', 'saa', dense, *smaller, None),
    ]
    others = {
        'uniform within the budget': 'uniform at equal cost', 'random': 'random-searched',
    }  # fmt: skip
    rows += [searched(name, key) for key, name in others.items() if key in schedules]
    rows.append(searched('evolved', 'evolution'))
    rows.append(searched('evolved + finetuned', 'evolution', 'finetune'))
    return rows


def _scale_images(cfg: Config, scale: float) -> None:
    """Makes the images of all pipelines those of an input scale, for training at it."""
    if scale != 1:
        for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
            dataset = innermost_dataset(cfg[loader])
            dataset.pipeline = scaled_pipeline(
                dataset.pipeline, scale, size_divisor(cfg), f'{loader}.dataset.pipeline'
            )
        cfg.input_scale = scale


def _evaluate(
    demo: PipelineDemo, rows: list[Row], weights: Mapping[str, Path], console: Console
) -> list[float]:
    """The metric of every row on the validation scenes; those of an earlier run are kept."""
    path = demo.work_dir / 'results.json'
    results = json.loads(path.read_text()) if path.exists() else {}
    with progress_bar(console, 'Evaluating') as show:
        for number, row in enumerate(rows):
            show(number, len(rows))
            if row.name in results:
                continue
            schedule = demo.work_dir / 'schedules' / f'{row.name.replace(" ", "-")}.json'
            schedule.parent.mkdir(exist_ok=True)
            row.schedule.save(schedule)
            pipeline = demo.config(row.step).test_dataloader.dataset.pipeline
            resize = [step['type'] for step in pipeline].index('Resize')
            results[row.name] = test(
                str(demo.configs / CONFIGS['dense']),
                str(weights[row.step]),
                work_dir=str(demo.work_dir / 'evaluation'),
                schedule=str(schedule),
                cfg_options={
                    **demo.options,
                    'test_dataloader.dataset.data_root': f'{demo.data_root}/',
                    f'test_dataloader.dataset.pipeline.{resize}.scale': (row.width, row.height),
                },
            )
            replace_text(path, json.dumps(results, indent=2) + '\n')
        show(len(rows), len(rows))
    return [results[row.name][METRIC] for row in rows]


def _model_latencies(demo: PipelineDemo, rows: list[Row], checkpoint: Path) -> list[Latency]:
    """Times the whole model under every row, in turns, on validation scenes.

    All rows are timed with the same weights: they take as long with others.
    """
    cfg = demo.config('dense')
    model: Any = build_model(cfg)
    check_weights_fit(model, str(checkpoint))
    model = revert_sync_batchnorm(model).eval()
    backbone, images = find_prunable_backbone(model), {}
    dataset = cfg.test_dataloader.dataset
    resize = [step['type'] for step in dataset.pipeline].index('Resize')
    for size in {(row.width, row.height) for row in rows}:
        dataset.pipeline[resize].scale = size
        with DefaultScope.overwrite_default_scope(cfg.default_scope):
            images[size] = timed_images(DATASETS.build(dataset), pseudo_collate, model)

    def run(row: Row) -> Callable[[], None]:
        batches = itertools.cycle(images[row.width, row.height].batches)

        def once() -> None:
            backbone.pruning_schedule = row.schedule
            model.test_step(next(batches))

        return once

    with torch.no_grad():
        timed = measure_latency({row.name: run(row) for row in rows}, runs=_RUNS, device='cpu')
    return [timed[row.name] for row in rows]


def _table(
    demo: PipelineDemo,
    rows: list[Row],
    metrics: list[float],
    latencies: list[Latency],
    found: Mapping[str, Any],
) -> Table:
    arch = find_prunable_backbone(build_model(demo.config('dense'))).arch
    table = Table(
        title="SparseViT's pipeline on the demo scenes",
        caption=(
            'MACs are counted, of the backbone on one image. Milliseconds are of the whole model, '
            'from one image to its labels, measured on this machine on validation scenes: the '
            f'median of {_RUNS} runs that took turns. Held out: the part of the training scenes '
            'that the search used. Validation: scenes that no step has used.'
        ),
    )
    table.add_column('', no_wrap=True)
    for column in ('input', 'MMACs', 'model ms', f'{METRIC}, held out', f'{METRIC}, validation'):
        table.add_column(column, justify='right')
    held_out = {
        (str(row['schedule']), row.get('scale', 1.0)): row['metrics'][METRIC]
        for row in found['rows'].values()
    }
    for row, metric, latency in zip(rows, metrics, latencies):
        macs = backbone_macs(arch, row.schedule, row.height, row.width).total
        key = (str([list(stage) for stage in row.schedule.ratios]), row.scale)
        seen = row.step == 'saa' and key in held_out
        table.add_row(
            row.name,
            f'{row.width}×{row.height}',
            f'{macs / 1e6:.0f}',
            f'{latency.median:.1f}',
            f'{held_out[key]:.1f}' if seen else '',
            f'{metric:.1f}',
            end_section=row.ends_section,
        )
    return table
