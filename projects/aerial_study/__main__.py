"""Does skipping windows beat a lower resolution at equal cost of the model? Small cars from above.

Trains, searches, tests, counts, times and reports. It shares the work dir, trainings and tests of
the importance study; what is there is not computed again.

    SPARSEVIT_MM_DATA=data python -m projects.aerial_study --work-dir work_dirs/importance_study
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from projects.aerial_study.costs import interleaved_ms, model_gmacs
from projects.aerial_study.emptiness import scores_by_group
from projects.aerial_study.findings import collect, cost_name, tables
from projects.aerial_study.plan import ARMS, Arm
from projects.aerial_study.plot import draw
from projects.aerial_study.searches import search_schedules
from projects.importance_study.plan import DATA_SETS
from projects.importance_study.run import StudyRun
from projects.markdown import publish
from projects.runs import hours_of_runs
from sparsevit_mm.apis.user_errors import user_errors_exit
from sparsevit_mm.files import replace_text, written_whole
from sparsevit_mm.search.measure import device_name

STEPS = ('test', 'count', 'time', 'report')
TIMED_FRAMES, REPEATS = 3, 3


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the chosen steps."""
    args = _parser().parse_args(arguments)
    arms = {
        network: [arm for arm in ARMS[network] if args.arms is None or arm.name in args.arms]
        for network in args.networks
    }
    with user_errors_exit():
        if 'test' in args.steps:
            for seed in args.seeds:
                for arm in (arm for group in arms.values() for arm in group):
                    run = _run(arm, seed, args.work_dir, prepare=True)
                    if arm.case.search:
                        search_schedules(run, arm)
                    metric = run.measure(arm.case)
                    print(f'{arm.data}, seed {seed}, {arm.name}: {metric["metric"]}', flush=True)
        costs = CostFile(args.work_dir / 'aerial_study.json')
        for network, group in arms.items():
            if any(arm.priced_as != arm.data for arm in group):
                continue  # costs are those of another network
            timed_as = {
                cost_name(arm, seed): (arm, _run(arm, seed, args.work_dir))
                for arm in group
                for seed in (args.seeds if arm.differs_by_seed else args.seeds[:1])
            }
            if 'count' in args.steps:
                for name, (arm, run) in timed_as.items():
                    if not costs.has(network, name, 'gmacs'):
                        same = [
                            other
                            for other, (twin, its_run) in timed_as.items()
                            if arm.costs_the_same_as(twin) and run.seed == its_run.seed
                        ]
                        macs = model_gmacs(run, arm.case)
                        costs.add(network, dict.fromkeys(same, macs), 'gmacs')
            if 'time' in args.steps:
                runs = {name: (run, arm.case) for name, (arm, run) in timed_as.items()}
                timed = interleaved_ms(runs, range(args.frames), args.repeats)
                costs.add(network, timed, 'ms')
                costs.say_how(args.frames, args.repeats)
        if 'report' in args.steps:
            report = {
                'command': _command(args.seeds),
                'timed': costs.found['timed'],
                'arms': collect(args.work_dir, args.seeds, costs.found['arms']),
                'emptiness': _emptiness(args.work_dir, args.seeds),
                'hours': _hours(args.work_dir),
            }
            write_report(report, args.out or args.work_dir, args.docs)


def write_report(report: dict[str, Any], out: Path, docs: Path | None) -> None:
    """Writes results and plot, prints the tables, and updates those of the page and its plot."""
    out.mkdir(parents=True, exist_ok=True)
    replace_text(out / 'aerial.json', json.dumps(report, indent=1) + '\n')
    plots = [out / 'aerial.png']
    if docs is not None:
        plots.append(docs.parent / 'images' / 'evidence_aerial.png')
    for path in plots:
        with written_whole(path) as file:
            draw(report).savefig(file)
    publish(tables(report), docs)


class CostFile:
    """What arms cost, saved after every change.

    Args:
        path: JSON file; read if it is there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        empty: dict[str, Any] = {'timed': {}, 'arms': {}}
        self.found = json.loads(path.read_text()) if path.exists() else empty

    def has(self, network: str, arm: str, cost: str) -> bool:
        """Whether a cost of an arm is known."""
        return cost in self.found['arms'].get(network, {}).get(arm, {})

    def add(self, network: str, costs: dict[str, Any], cost: str) -> None:
        """Adds a cost by arm."""
        arms = self.found['arms'].setdefault(network, {})
        for name, value in costs.items():
            arms.setdefault(name, {})[cost] = value
        self._save()

    def say_how(self, frames: int, repeats: int) -> None:
        """Says what was timed, and on what."""
        self.found['timed'] = {
            'machine': device_name(torch.device('cpu')),
            'threads': torch.get_num_threads(),
            'torch': torch.__version__,
            'frames': frames,
            'repeats': repeats,
        }
        self._save()

    def _save(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        replace_text(self.path, json.dumps(self.found, indent=1) + '\n')


def _emptiness(work_dir: Path, seeds: Sequence[int]) -> dict[str, Any]:
    """Scores by the share of empty frame, for each network whose boxes on real frames are there."""
    found = {}
    for network, arms in ARMS.items():
        tested = [
            arm
            for arm in arms
            if any(_run(arm, seed, work_dir).boxes_file(arm.case).exists() for seed in seeds)
        ]
        if tested and DATA_SETS[tested[0].data].folder is not None:
            runs = [_run(tested[0], seed, work_dir) for seed in seeds]
            found[network] = scores_by_group(runs, tested)
    return found


def _hours(work_dir: Path) -> dict[str, float]:
    """Hours of the trainings, searches and tests of every data set that was run."""
    names = dict.fromkeys(arm.data for arms in ARMS.values() for arm in arms)
    hours = {name: round(hours_of_runs(work_dir / name), 2) for name in names}
    return {name: spent for name, spent in hours.items() if spent}


def _run(arm: Arm, seed: int, work_dir: Path, prepare: bool = False) -> StudyRun:
    run = StudyRun(DATA_SETS[arm.data], seed, work_dir)
    if prepare:
        run.prepare()
    return run


def _command(seeds: Sequence[int]) -> str:
    return f'python -m projects.aerial_study --seeds {" ".join(map(str, seeds))}'


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/importance_study'))
    parser.add_argument('--out', type=Path, help='folder of the results; by default the work dir')
    parser.add_argument('--docs', type=Path, help='page whose tables are updated')
    parser.add_argument('--networks', nargs='+', choices=ARMS, default=list(ARMS))
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    names = dict.fromkeys(arm.name for group in ARMS.values() for arm in group)
    parser.add_argument('--arms', nargs='+', choices=names, metavar='ARM', help='only these')
    parser.add_argument('--steps', nargs='+', choices=STEPS, default=STEPS, help='only these')
    parser.add_argument('--frames', type=int, default=TIMED_FRAMES, help='how many are timed')
    parser.add_argument('--repeats', type=int, default=REPEATS, help='of each timed frame')
    return parser


if __name__ == '__main__':
    main()
