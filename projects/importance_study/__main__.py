"""Compares importances of windows on several data sets; resumes an interrupted run.

Trains, tests and reports. Results in the work dir are not computed again.

    SPARSEVIT_MM_DATA=data python -m projects.importance_study --work-dir work_dirs/importance_study
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from projects.importance_study.findings import collect, table, tables
from projects.importance_study.plan import (
    DATA_SETS,
    IMPORTANCES,
    LONGER,
    compared_cases,
    form_cases,
    trial_cases,
)
from projects.importance_study.run import StudyRun
from projects.markdown import fill_in
from projects.street_scenes.dataset import DemoSettings
from sparsevit_mm.apis.user_errors import user_errors_exit
from sparsevit_mm.files import replace_text

STEPS = {'compare': compared_cases, 'trials': trial_cases, 'forms': form_cases}
REPORT = 'report'

SMOKE_TRAINING = {'train_cfg.max_iters': 1, 'default_hooks.checkpoint.interval': 1}
SMOKE_SCENES = DemoSettings(training=2, validation=1, width=128, height=64)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the chosen steps."""
    args = _parser().parse_args(arguments)
    smoke = (SMOKE_TRAINING, SMOKE_SCENES) if args.smoke else ()
    runs = [
        StudyRun(DATA_SETS[name], seed, args.work_dir, *smoke)
        for name in args.data
        for seed in args.seeds
    ]
    with user_errors_exit():
        for step in args.steps:
            if step == REPORT:
                write_report(runs, args.out or args.work_dir, args.docs)
                continue
            for run in runs:
                run.prepare()
                for case in STEPS[step](run.data):
                    if case.weights in args.weights:
                        metric = run.measure(case)['metric']
                        print(f'{run.data.name}, seed {run.seed}, {case.key}: {metric}', flush=True)


def write_report(runs: Sequence[StudyRun], out: Path, docs: Path | None) -> None:
    """Writes the results, prints the tables, and updates those of the page."""
    report = {'command': _command(runs), **collect(runs)}
    out.mkdir(parents=True, exist_ok=True)
    replace_text(out / 'importances.json', json.dumps(report, indent=1) + '\n')
    for data in dict.fromkeys(run.data for run in runs):
        print(f'\n{data.title}, {data.metric_title}\n\n{table(report, data)}')
    if docs is not None:
        replace_text(docs, fill_in(docs.read_text(), tables(report)))


def _command(runs: Sequence[StudyRun]) -> str:
    names = ' '.join(dict.fromkeys(run.data.name for run in runs))
    seeds = ' '.join(dict.fromkeys(str(run.seed) for run in runs))
    return f'python -m projects.importance_study --data {names} --seeds {seeds}'


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/importance_study'))
    parser.add_argument('--out', type=Path, help='folder of the results; by default the work dir')
    parser.add_argument('--docs', type=Path, help='page whose tables are updated')
    parser.add_argument('--data', nargs='+', choices=DATA_SETS, default=list(DATA_SETS))
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    weights = LONGER, *IMPORTANCES
    parser.add_argument(
        '--weights', nargs='+', choices=weights, default=weights, help='only these trainings'
    )
    steps = (*STEPS, REPORT)
    parser.add_argument('--steps', nargs='+', choices=steps, default=steps, help='only these')
    parser.add_argument('--smoke', action='store_true', help='tiny trainings and drawn scenes')
    return parser


if __name__ == '__main__':
    main()
