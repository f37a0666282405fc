"""Compares sparse necks and heads with a sparse backbone alone and with lower resolution.

Trains, tests, counts, times and reports. It goes on with the dense networks of the importance
study, whose work dir it shares; what is there is not computed again.

    SPARSEVIT_MM_DATA=data python -m projects.head_study --work-dir work_dirs/importance_study
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from projects.head_study.costs import interleaved_seconds, model_gmacs
from projects.head_study.plan import CASES
from projects.importance_study.findings import NOT_RUN, mean_and_spread
from projects.importance_study.plan import DATA_SETS, DataSet
from projects.importance_study.run import StudyRun
from sparsevit_mm.apis.user_errors import user_errors_exit
from sparsevit_mm.files import replace_text
from sparsevit_mm.search.measure import device_name

STEPS = ('test', 'count', 'time', 'report')
TIMED_FRAMES, REPEATS = 3, 3


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the chosen steps."""
    args = _parser().parse_args(arguments)
    data = DATA_SETS[args.data]
    runs = [StudyRun(data, seed, args.work_dir) for seed in args.seeds]
    file = args.work_dir / data.name / 'head_study.json'
    with user_errors_exit():
        for run in runs:
            run.prepare()
        if 'test' in args.steps:
            for run in runs:
                for name in args.cases:
                    found = run.measure(CASES[name])['metric']
                    print(f'{data.name}, seed {run.seed}, {name}: {found}', flush=True)
        found = json.loads(file.read_text()) if file.exists() else {}
        if 'count' in args.steps:
            known = found.setdefault('gmacs', {})
            for name in args.cases:
                if name not in known:
                    known[name] = round(model_gmacs(runs[0], CASES[name]), 3)
                    print(f'{name}: {known[name]} GMACs', flush=True)
                    replace_text(file, json.dumps(found, indent=1) + '\n')
        if 'time' in args.steps:
            cases = {name: CASES[name] for name in args.cases}
            seconds = interleaved_seconds(runs[0], cases, range(args.frames), args.repeats)
            found['seconds'] = {name: round(taken, 4) for name, taken in seconds.items()}
            found['timed'] = {
                'machine': device_name(torch.device('cpu')),
                'torch': torch.__version__,
                'frames': args.frames,
                'repeats': args.repeats,
            }
            replace_text(file, json.dumps(found, indent=1) + '\n')
        if 'report' in args.steps:
            write_report(data, runs, found, args.out or args.work_dir)


def write_report(
    data: DataSet, runs: Sequence[StudyRun], found: Mapping[str, Any], out: Path
) -> None:
    """Writes all figures and prints their table."""
    results = {
        name: {
            str(run.seed): json.loads(run.result_file(case).read_text())
            for run in runs
            if run.result_file(case).exists()
        }
        for name, case in CASES.items()
    }
    seeds = ' '.join(str(run.seed) for run in runs)
    command = f'python -m projects.head_study --data {data.name} --seeds {seeds}'
    out.mkdir(parents=True, exist_ok=True)
    report = {'command': command, **found, 'results': results}
    replace_text(out / f'{data.name}.json', json.dumps(report, indent=1) + '\n')
    print(table(data, found, results))


def table(data: DataSet, found: Mapping[str, Any], results: Mapping[str, Mapping[str, Any]]) -> str:
    """The Markdown table: metric, MACs and time of the whole model."""
    lines = [
        f'| | {data.metric_title} | GMACs of the model | of dense | time of dense |',
        '| --- | ---: | ---: | ---: | ---: |',
    ]
    for name in CASES:
        metric = mean_and_spread([record['metric'] for record in results[name].values()])
        macs, seconds = found.get('gmacs', {}), found.get('seconds', {})
        cells = [
            f'{macs[name]:.1f}' if name in macs else NOT_RUN,
            *(
                f'{values[name] / values["dense"]:.2f}' if {name, 'dense'} <= set(values) else '–'
                for values in (macs, seconds)
            ),
        ]
        lines.append(f'| {name} | {metric} | {" | ".join(cells)} |')
    return '\n'.join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/importance_study'))
    parser.add_argument('--out', type=Path, help='folder of the results; by default the work dir')
    parser.add_argument('--data', choices=DATA_SETS, default='aerial_cars')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--cases', nargs='+', choices=CASES, default=list(CASES))
    parser.add_argument('--steps', nargs='+', choices=STEPS, default=STEPS, help='only these')
    parser.add_argument('--frames', type=int, default=TIMED_FRAMES, help='how many are timed')
    parser.add_argument('--repeats', type=int, default=REPEATS, help='of each timed frame')
    return parser


if __name__ == '__main__':
    main()
