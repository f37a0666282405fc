"""Six cameras of a frame that share a budget of windows, or keep the same share each.

BEVDet on generated streets, see projects/street_scenes. For each seed one network is adapted with
either allocation and tested with both. Streets, trainings and results that are there are not made
again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from rich.console import Console

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
METRICS = {'mAP': 'nuscenes/mAP', 'NDS': 'nuscenes/NDS'}
"""Names in tables and in results."""


def key(adapted: str, tested: str, ratio: float) -> str:
    """Name of a test in files."""
    return f'{adapted}-{tested}-{ratio:g}'


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
        The metrics by `key`.
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
    return found


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
    return table(head, rows)
