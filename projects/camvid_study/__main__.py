"""Compares skipped windows with lower resolution on CamVid; resumes an interrupted run.

Trains, searches, tests, times and reports. Results in the work dir are not computed again.

    python -m projects.camvid_study --data-root data/camvid --work-dir work_dirs/camvid_study
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from projects.camvid_study.page import tables
from projects.camvid_study.plan import BUDGETS, FULL, VARIANTS, Variant
from projects.camvid_study.plot import draw_tradeoff
from projects.camvid_study.run import StudyRun
from projects.camvid_study.synthetic_frames import make_frames
from projects.camvid_study.timing import Case, time_cases
from projects.camvid_study.windows import computed_share, draw_frame
from projects.markdown import publish
from sparsevit_mm.apis.user_errors import user_errors_exit
from sparsevit_mm.checks.configs import build_model
from sparsevit_mm.files import replace_text, written_whole
from sparsevit_mm.search.measure import device_name
from sparsevit_mm.versions import __version__
from sparsevit_mm.visualization.images import find_images

CONFIGS = Path(__file__).parent / 'configs'
STEPS = ('weights', 'metrics', 'windows', 'latency', 'report')
FRAMES_OF_SHARES, FRAMES_DRAWN = 20, 2

SMOKE_TRAINING = {'train_cfg.max_iters': 2, 'default_hooks.checkpoint.interval': 1}
SMOKE_SEARCH = {
    'evolution': {'max_evaluations': 2, 'population': 2, 'parents': 1},
    'split': {'images': 2},
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the chosen steps."""
    args = _parser().parse_args(arguments)
    smoke: dict[str, Any] = {}
    if args.smoke:
        args.data_root = args.work_dir / 'frames'
        make_frames(args.data_root, *FULL)
        smoke = dict(cfg_options=SMOKE_TRAINING, search_options=SMOKE_SEARCH)
    runs = [
        StudyRun(seed, CONFIGS, args.data_root, args.work_dir, args.dense_seed, **smoke)
        for seed in args.seeds
    ]
    variants = [
        variant for variant in VARIANTS if args.variants is None or variant.key in args.variants
    ]
    with user_errors_exit():
        for run in runs:
            run.prepare()
        make_weights_and_metrics(
            runs, sorted(variants, key=lambda variant: variant.priority), args.steps
        )
        if 'windows' in args.steps:
            look_at_windows(runs)
        if 'latency' in args.steps:
            measure_latencies(runs, variants, args.runs)
        if 'report' in args.steps:
            write_report(collect(runs, args.work_dir), args.out or args.work_dir, args.docs)


def make_weights_and_metrics(
    runs: Sequence[StudyRun], variants: Sequence[Variant], steps: Sequence[str]
) -> None:
    """Trains and tests the variants by priority, each for all seeds."""
    for _, same_priority in itertools.groupby(variants, key=lambda variant: variant.priority):
        for run, variant in itertools.product(runs, list(same_priority)):
            if run.repeats(variant):
                continue
            if 'weights' in steps:
                run.weights(variant.weights)
            if 'metrics' in steps:
                found = run.measure(variant)
                print(f'seed {run.seed}, {variant.name}: mIoU {found["mIoU"]:.2f}', flush=True)


def look_at_windows(runs: Sequence[StudyRun]) -> None:
    """Measures which classes the kept windows cover, and draws them on frames of the test split."""
    for run in runs:
        frames = find_images(run.data_root / 'images' / 'test')
        annotations = run.data_root / 'annotations' / 'test'
        for budget in BUDGETS:
            path = run.folder / 'windows' / f'{budget}.json'
            tested = next(
                variant for variant in VARIANTS if variant.name == f'searched {budget}, finetuned'
            )
            if path.exists() or not run.result_file(tested).exists():
                continue
            predictor = run.predictor(f'searched-{budget}')
            every = max(len(frames) // FRAMES_OF_SHARES, 1)
            shares = computed_share(predictor, frames[::every], annotations)
            drawn = frames[:: max(len(frames) // FRAMES_DRAWN, 1)][:FRAMES_DRAWN]
            for number, frame in enumerate(drawn):
                outlines = path.with_name(f'{budget}-{number}-outlines.png')
                on_frame = path.with_name(f'{budget}-{number}.jpg')
                draw_frame(predictor, frame, annotations, on_frame, outlines)
            replace_text(path, json.dumps({'computed': shares}, indent=2) + '\n')


def measure_latencies(runs: Sequence[StudyRun], variants: Sequence[Variant], rounds: int) -> None:
    """Times all variants whose schedule is known, interleaved; equal ones only once."""
    cases: dict[str, Case] = {}
    names: dict[tuple[int, str], str] = {}
    for run in runs:
        for variant in variants:
            if run.knows(variant.schedule):
                case = variant.size, run.schedule(variant.schedule)
                known = next((name for name, other in cases.items() if other == case), None)
                names[run.seed, variant.key] = known or f'{run.seed}/{variant.key}'
                cases.setdefault(names[run.seed, variant.key], case)
    model = build_model(runs[0].config()).eval()
    timed = time_cases(model, cases, rounds)
    found: dict[str, Any] = {
        'machine': device_name(torch.device('cpu')),
        'threads': torch.get_num_threads(),
        'rounds': rounds,
        'variants': {
            f'{seed}/{key}': {
                f'{part}_ms': {
                    'median': round(latency.median, 2),
                    'quartiles': [round(edge, 2) for edge in latency.quartiles],
                }
                for part, latency in timed[name].items()
            }
            for (seed, key), name in names.items()
        },
    }
    replace_text(runs[0].work_dir / 'latency.json', json.dumps(found, indent=2) + '\n')


def collect(runs: Sequence[StudyRun], work_dir: Path) -> dict[str, Any]:
    """Collects all results so far as JSON-ready data."""
    timing = work_dir / 'latency.json'
    latency = json.loads(timing.read_text()) if timing.exists() else {'variants': {}}
    latencies = latency.pop('variants')
    variants: dict[str, dict[str, Any]] = {}
    windows: dict[str, dict[str, Any]] = {}
    for variant in VARIANTS:
        for run in runs:
            if run.result_file(variant).exists():
                variants.setdefault(variant.key, {})[str(run.seed)] = {
                    **run.measure(variant),
                    'macs': run.macs(variant),
                    **latencies.get(f'{run.seed}/{variant.key}', {}),
                }
    for budget in BUDGETS:
        for run in runs:
            path = run.folder / 'windows' / f'{budget}.json'
            if path.exists():
                windows.setdefault(f'searched {budget}', {})[str(run.seed)] = json.loads(
                    path.read_text()
                )
    return {
        'command': _command(runs),
        'latency': latency,
        'versions': {'torch': torch.__version__, 'sparsevit_mm': __version__},
        'variants': variants,
        'windows': windows,
    }


def _command(runs: Sequence[StudyRun]) -> str:
    shared = runs[0].dense_seed
    return (
        'python -m projects.camvid_study --seeds '
        + ' '.join(str(run.seed) for run in runs)
        + ('' if shared is None else f' --dense-seed {shared}')
    )


def write_report(report: dict[str, Any], out: Path, docs: Path | None) -> None:
    """Writes results and plot, prints the tables, and updates those of the page."""
    out.mkdir(parents=True, exist_ok=True)
    replace_text(out / 'camvid.json', json.dumps(report, indent=1) + '\n')
    with written_whole(out / 'tradeoff.png') as file:
        draw_tradeoff(report).savefig(file)
    publish(tables(report), docs)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--data-root', type=Path, default=Path('data/camvid'), help='images/ and annotations/'
    )
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/camvid_study'))
    parser.add_argument('--out', type=Path, help='folder of the results; by default the work dir')
    parser.add_argument('--docs', type=Path, help='page whose tables are updated')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument(
        '--dense-seed', type=int, help='start all seeds from the dense network of this one'
    )
    parser.add_argument('--runs', type=int, default=15, help='timed rounds')
    parser.add_argument(
        '--variants',
        nargs='+',
        choices=[variant.key for variant in VARIANTS],
        metavar='VARIANT',
        help='only these',
    )
    parser.add_argument('--steps', nargs='+', choices=STEPS, default=STEPS, help='only these')
    parser.add_argument('--smoke', action='store_true', help='tiny run on synthetic frames')
    return parser


if __name__ == '__main__':
    main()
