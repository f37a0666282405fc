"""Compares files of detectors with the detectors: predictions, average precision, time and int8.

Each detector must have been trained with its config in this project, with a folder of its name in
the work dir. Files and results that are there are not made again.

    SPARSEVIT_MM_DATA=data python -m projects.detector_files --work-dir work_dirs/detector_files
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from projects.detector_files.case import DETECTORS, SCHEDULES, Case
from projects.detector_files.page import tables
from projects.markdown import publish
from sparsevit_mm.apis.user_errors import user_errors_exit
from sparsevit_mm.files import read_json, replace_text
from sparsevit_mm.search.measure import device_name

STEPS = ('agreement', 'int8', 'time', 'page')


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the chosen steps for every detector and schedule."""
    args = _parser().parse_args(arguments)
    path = args.work_dir / 'results.json'
    results: dict[str, Any] = read_json(path, 'the results') if path.is_file() else {}
    with user_errors_exit():
        for step, detector, schedule in itertools.product(
            [step for step in STEPS if step in args.steps and step != 'page'],
            args.detectors,
            SCHEDULES,
        ):
            known = results.setdefault(f'{detector}, {schedule}', {})
            if step not in known:
                torch.set_num_threads(args.threads[0])
                case = Case(detector, schedule, args.work_dir)
                known[step] = (
                    case.compare()
                    if step == 'agreement'
                    else case.compare_int8()
                    if step == 'int8'
                    else case.time(args.threads, args.runs)
                )
                if step == 'time':
                    known['machine'] = device_name(torch.device('cpu'))
                replace_text(path, json.dumps(results, indent=1) + '\n')
                print(f'{detector}, {schedule}: {step}', flush=True)
        if 'page' in args.steps:
            if args.out is not None:
                replace_text(args.out, json.dumps(results, indent=1) + '\n')
            publish(tables(results), args.docs)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='python -m projects.detector_files',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/detector_files'))
    parser.add_argument('--detectors', nargs='+', choices=DETECTORS, default=DETECTORS)
    parser.add_argument('--steps', nargs='+', choices=STEPS, default=STEPS, help='only these')
    parser.add_argument(
        '--threads', type=int, nargs='+', default=[1, 2], help='of torch and the runtimes, in turn'
    )
    parser.add_argument('--runs', type=int, default=5, help='timed rounds')
    parser.add_argument('--out', type=Path, help='JSON file for a copy of the results')
    parser.add_argument('--docs', type=Path, help='page whose tables are updated')
    return parser


if __name__ == '__main__':
    main()
