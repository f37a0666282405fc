"""Does skipping windows beat lower resolution on CamVid? Trains, searches, tests, times, reports.

Whatever is in the work dir already is not made again, so the command goes on where it stopped.

    python benchmarks/evidence.py --data-root data/camvid --work-dir work_dirs/evidence
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from sparsevit_mm.engine.launch import user_errors_exit
from sparsevit_mm.evidence.made_up import make_frames
from sparsevit_mm.evidence.plan import ARMS, FULL
from sparsevit_mm.evidence.run import EvidenceRun

CONFIGS = Path(__file__).parents[1] / 'configs' / 'evidence'
STEPS = ('weights', 'metrics', 'latency', 'report')
SMOKE_DIVISOR = 3
SMOKE_TRAINING = {'train_cfg.max_iters': 2, 'default_hooks.checkpoint.interval': 1}
SMOKE_SEARCH = {
    'evolution': {'max_evaluations': 2, 'population': 2, 'parents': 1},
    'split': {'images': 2},
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the steps that are asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--data-root', type=Path, default=Path('data/camvid'))
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/evidence'))
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--arms', nargs='+', choices=[arm.key for arm in ARMS], metavar='ARM')
    parser.add_argument('--steps', nargs='+', choices=STEPS, default=STEPS)
    parser.add_argument('--smoke', action='store_true', help='try it out: tiny, on made-up frames')
    args = parser.parse_args(arguments)
    smoke = {}
    if args.smoke:
        args.data_root = args.work_dir / 'frames'
        make_frames(args.data_root, *(side // SMOKE_DIVISOR for side in FULL))
        smoke = dict(
            cfg_options=SMOKE_TRAINING, search_options=SMOKE_SEARCH, divisor=SMOKE_DIVISOR
        )
    runs = [
        EvidenceRun(seed, CONFIGS, args.data_root, args.work_dir, **smoke) for seed in args.seeds
    ]
    arms = [arm for arm in ARMS if args.arms is None or arm.key in args.arms]
    with user_errors_exit():
        for run in runs:
            run.prepare()
        # What the claim rests on comes first, for every seed.
        for chosen in ([a for a in arms if a.essential], [a for a in arms if not a.essential]):
            for run in runs:
                for arm in chosen:
                    if 'weights' in args.steps:
                        run.weights(arm.weights)
                    if 'metrics' in args.steps:
                        found = run.measure(arm)
                        print(f'seed {run.seed}, {arm.name}: mIoU {found["mIoU"]:.2f}', flush=True)


if __name__ == '__main__':
    main()
