"""Six cameras of a frame that share a budget of windows, or keep the same share each.

    python -m projects.allocation_study.six_cameras --work-dir work_dirs/allocation_study

BEVDet on generated streets, see projects/street_scenes. For each seed one network is adapted with
either allocation and tested with both. Streets, trainings and results in the work dir are not made
again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from rich.console import Console

from projects.markdown import publish, table
from projects.runs import check_same_run, train_with_progress
from projects.seeds import NOT_RUN, Statistic, mean_and_spread
from projects.street_scenes.six_cameras import SixCameraSettings, make_six_camera_dataset
from sparsevit_mm.apis.configs import load_config, register_framework
from sparsevit_mm.apis.test import test
from sparsevit_mm.apis.user_errors import user_errors_exit
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
ITERATIONS = 800
STREETS = SixCameraSettings(validation=48)
METRICS = {'mAP': 'nuscenes/mAP', 'NDS': 'nuscenes/NDS'}
"""Names in tables and in results."""


def key(adapted: str, tested: str, ratio: float) -> str:
    """Name of a test in files."""
    return f'{adapted}-{tested}-{ratio:g}'


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
    data, folder = work_dir / 'streets', work_dir / f'six_cameras{seed}'
    make_six_camera_dataset(data, streets)
    check_same_run(folder, 'run', seed, f'{iterations} {streets}')
    out = folder / 'results.json'
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


def tables(results: Mapping[str, Mapping[str, Mapping[str, float]]]) -> dict[str, str]:
    """The Markdown table, by its name on the page.

    Args:
        results: By seed, what `run_seed` found.
    """
    seeds = list(results.values())
    if not seeds:
        return {'six cameras': f'*{NOT_RUN}*'}
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
    return {'six cameras': table(head, rows)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures what is missing, and reports."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/allocation_study'))
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2])
    parser.add_argument('--report', action='store_true', help='only report what is there')
    parser.add_argument('--out', type=Path, help='JSON file of all results')
    parser.add_argument('--docs', type=Path, help='page whose tables are renewed')
    args = parser.parse_args(arguments)
    with user_errors_exit():
        results = {}
        for seed in args.seeds:
            path = args.work_dir / f'six_cameras{seed}' / 'results.json'
            if not args.report:
                run_seed(seed, args.work_dir)
            if path.exists():
                results[str(seed)] = json.loads(path.read_text())
        if args.out is not None:
            replace_text(args.out, json.dumps(results, indent=1) + '\n')
        publish(tables(results), args.docs)


if __name__ == '__main__':
    main()
