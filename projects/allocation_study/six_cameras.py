"""Six cameras of a frame that share a budget of windows, or keep the same share each.

BEVDet on generated streets, see projects/street_scenes. For each seed one network is adapted with
either allocation and tested with both; the one that was adapted with 'image' is also tested with
thresholds from other streets. Streets, trainings and results that are there are not made again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from mmengine.config import Config
from rich.console import Console

from projects.allocation_study.bench import Bench
from projects.allocation_study.trial import Trial
from projects.markdown import table
from projects.runs import check_same_run, train_with_progress
from projects.seeds import NOT_RUN, Statistic, mean_and_spread
from projects.street_scenes.six_cameras import SixCameraSettings, make_six_camera_dataset
from sparsevit_mm.apis.configs import load_config, register_framework
from sparsevit_mm.apis.test import test
from sparsevit_mm.files import replace_text

CONFIG = Path(__file__).parents[1] / (
    'street_scenes/configs/bevdet_sparsevit-mini_adaptation_demo6-112x336.py'
)
IMPORTANCE = 'contrast'
ALLOCATIONS: dict[str, dict[str, Any]] = {
    'image': dict(type='image'),
    'batch': dict(type='batch', group_size=6),
}
RATIOS = (0.5, 0.7)
DENSE = 'dense'
ITERATIONS = 400
STREETS = SixCameraSettings(validation=48)
CALIBRATION = {'seed': 1000, 'training': 1, 'validation': 24}
"""How the streets that thresholds come from differ."""

BENCH = ('image', 'calibrated')
"""Allocations that are compared with thresholds, as the study tries them."""

METRICS = {'mAP': 'nuscenes/mAP', 'NDS': 'nuscenes/NDS'}
"""Names in tables and in results."""


def key(adapted: str, tested: str, ratio: float) -> str:
    """Name of a test in files."""
    return f'{adapted}-{tested}-{ratio:g}'


def bench_key(tested: str, ratio: float) -> str:
    """Name of a test of the network that was adapted with 'image', see `BENCH`."""
    return f'bench-{tested}-{ratio:g}'


def results_file(seed: int, work_dir: Path) -> Path:
    """File with the results of `run_seed`."""
    return work_dir / f'seed{seed}' / 'results.json'


def run_seed(
    seed: int, work_dir: Path, iterations: int = ITERATIONS, streets: SixCameraSettings = STREETS
) -> dict[str, dict[str, float]]:
    """Trains and tests what is missing.

    Args:
        seed: Seed of the trainings.
        work_dir: Folder of the study.
        iterations: Of each training; random schedules are drawn in its second half.
        streets: What is drawn.

    Returns:
        The metrics by `key`, and by `bench_key` also the share of windows that were computed.
    """
    data, out = work_dir / 'streets', results_file(seed, work_dir)
    folder = out.parent
    make_six_camera_dataset(data, streets)
    check_same_run(folder, 'run', seed, f'{iterations} {streets}')
    found: dict[str, dict[str, float]] = json.loads(out.read_text()) if out.exists() else {}
    for adapted, allocation in ALLOCATIONS.items():
        weights = _weights(_config(data, allocation, seed, iterations, folder / adapted))
        for tested, ratio in [(adapted, 0.0), *((t, r) for r in RATIOS for t in ALLOCATIONS)]:
            name = key(adapted, DENSE if not ratio else tested, ratio)
            if name in found:
                continue
            options = {
                **_options(data, ALLOCATIONS[tested]),
                'model.backbone.pruning_ratios': ratio,
            }
            logs = str(folder / 'logs' / name)
            metrics = test(str(CONFIG), str(weights), work_dir=logs, cfg_options=options)
            found[name] = {title: round(metrics[which], 4) for title, which in METRICS.items()}
            replace_text(out, json.dumps(found, indent=1) + '\n')
            print(f'six cameras, seed {seed}, {name}: {found[name]}', flush=True)
        if adapted == 'image':
            _bench(data, streets, weights, found, out)
    return found


def _bench(
    data: Path,
    streets: SixCameraSettings,
    weights: Path,
    found: dict[str, dict[str, float]],
    out: Path,
) -> None:
    """Adds what is missing of the tests with thresholds."""
    wanted = [(tested, ratio) for tested in BENCH for ratio in RATIOS]
    if all(bench_key(*one) in found for one in wanted):
        return
    others = data.parent / 'calibration_streets'
    make_six_camera_dataset(others, replace(streets, **CALIBRATION))
    options = _options(data, ALLOCATIONS['image'])
    bench = Bench(str(CONFIG), str(weights), IMPORTANCE, batch_size=1, options=options)
    unseen = bench.dataset({**bench.cfg.test_dataloader.dataset, 'data_root': f'{others}/'})
    for tested, ratio in wanted:
        trial = Trial(tested, 'mean')
        if tested == 'calibrated':
            bench.calibrate(trial, ratio, unseen)
        result = bench.evaluate(trial, ratio)
        found[bench_key(tested, ratio)] = {
            **{title: round(result[which], 4) for title, which in METRICS.items()},
            'share': round(result['cost_share'], 4),
        }
        replace_text(out, json.dumps(found, indent=1) + '\n')


def _options(data: Path, allocation: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {
        f'{part}_dataloader.dataset.data_root': f'{data}/' for part in ('val', 'test')
    }
    for part in ('val', 'test'):
        infos = data / 'annotations' / 'nuscenes_infos_validation.json'
        found[f'{part}_evaluator.ann_file'] = str(infos)
    return {
        **found,
        'model.backbone.importance': IMPORTANCE,
        'model.backbone.allocation': dict(allocation),
    }


def _config(
    data: Path, allocation: Mapping[str, Any], seed: int, iterations: int, work_dir: Path
) -> Config:
    cfg = load_config(str(CONFIG), _options(data, allocation), str(work_dir))
    innermost = cfg.train_dataloader.dataset
    while 'dataset' in innermost:
        innermost = innermost.dataset
    innermost.data_root = f'{data}/'
    cfg.randomness.seed = seed
    cfg.train_cfg.update(max_iters=iterations, val_interval=iterations)
    warmup, decay = cfg.param_scheduler
    warmup.end = decay.begin = max(1, iterations // 10)
    decay.end = iterations
    cfg.custom_hooks[1].begin = iterations // 2
    # Networks are compared on these streets: validation in training would only take time.
    cfg.val_dataloader = cfg.val_evaluator = cfg.val_cfg = None
    return cfg


def _weights(cfg: Config) -> Path:
    register_framework(cfg)
    return train_with_progress(cfg, Console(stderr=True))


def six_cameras_table(results: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """The Markdown table.

    Args:
        results: By seed, what `run_seed` found.
    """
    tests = {key(one, other, r) for one in ALLOCATIONS for other in ALLOCATIONS for r in RATIOS}
    wanted = tests | {key(one, DENSE, 0) for one in ALLOCATIONS}
    seeds = [seed for seed in results.values() if wanted <= seed.keys()]
    if not seeds:
        return f'*{NOT_RUN}*'
    head = ['adapted and tested with', 'skipped', *METRICS, 'mAP against `image`, `image`']
    rows = []
    for ratio in (0.0, *RATIOS):
        for adapted in ALLOCATIONS:
            for tested in ALLOCATIONS if ratio else (DENSE,):
                own = [seed[key(adapted, tested, ratio)] for seed in seeds]
                cells = [f'`{adapted}`, {f"`{tested}`" if ratio else tested}', f'{ratio:.0%}']
                cells += [mean_and_spread((one[name] for one in own), 3) for name in METRICS]
                base = [seed[key('image', 'image' if ratio else DENSE, ratio)] for seed in seeds]
                gains = Statistic(tuple(o['mAP'] - b['mAP'] for o, b in zip(own, base)))
                is_base = adapted == 'image' and tested != 'batch'
                cells.append('' if is_base else f'{gains.text("+", 3)}, {gains.verdict}')
                rows.append(cells)
        rows += _calibrated_row(seeds, ratio)
    return table(head, rows)


def _calibrated_row(seeds: Sequence[Mapping[str, Any]], ratio: float) -> list[list[str]]:
    """The row of thresholds at a ratio, if every seed has it."""
    names = [bench_key(tested, ratio) for tested in BENCH]
    if not all(name in seed for seed in seeds for name in names):
        return []
    base, own = ([seed[name] for seed in seeds] for name in names)
    gains = Statistic(tuple(o['mAP'] - b['mAP'] for o, b in zip(own, base)))
    shares = [f'{fmean(one["share"] for one in each):.0%}' for each in (own, base)]
    cells = ['`image`, `calibrated`', f'{ratio:.0%}']
    cells += [mean_and_spread((one[name] for one in own), 3) for name in METRICS]
    compared = f'{gains.text("+", 3)}, {gains.verdict}'
    return [[*cells, f'{compared}; windows computed: {shares[0]} instead of {shares[1]}']]
