"""Compares allocations over seeds, each also with weights that were adapted with it.

    SPARSEVIT_MM_DATA=data python -m projects.allocation_study.seeds --work-dir STUDY

`STUDY` is the work dir of the importance study, whose networks are trained now if they are not
there. Results in it are not computed again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from projects.allocation_study import six_cameras
from projects.allocation_study.bench import Bench
from projects.allocation_study.six_cameras import six_cameras_table
from projects.allocation_study.trial import Trial
from projects.importance_study.plan import DATA_SETS, LEARNED, Case
from projects.importance_study.run import StudyRun
from projects.markdown import publish, table
from projects.seeds import NOT_RUN, Statistic, mean_and_spread
from sparsevit_mm.apis.configs import load_config, register_framework
from sparsevit_mm.apis.user_errors import user_errors_exit
from sparsevit_mm.files import replace_text

RATIOS = (0.5, 0.7)
SIX_CAMERAS = 'six_cameras'
COMPARED = ('aerial_cars', 'camvid', SIX_CAMERAS)
"""The data sets of the page."""

SCALES = {'aerial_cars': 0.7}
"""Factor of the frames' size where it is not 1."""


@dataclass(frozen=True)
class Arm:
    """How windows are shared out.

    Attributes:
        allocation: In the test, see `Trial`.
        weights: Name of the training, see `StudyRun.weights`.
        title: Name in tables.
    """

    allocation: str
    weights: str
    title: str

    @property
    def importance(self) -> str:
        """What ranks the windows."""
        return self.weights.partition('+')[0]

    @property
    def relative_to(self) -> str:
        """What makes scores comparable, see `Trial`; those of a probe are so by themselves."""
        return 'nothing' if self.importance == LEARNED else 'mean'

    @property
    def base(self) -> Arm:
        """What it is compared with: images that keep the same share each."""
        return next(arm for arm in ARMS if arm.importance == self.importance)

    def key(self, ratio: float) -> str:
        """Name in files."""
        return f'{self.weights}-{self.allocation}-{ratio:g}'


ARMS = (
    Arm('image', 'contrast', "`'image'`"),
    Arm('batch', 'contrast', "`'batch'`"),
    Arm('batch', 'contrast+batch', "`'batch'`, adapted with it"),
    Arm('image', 'contrast+batch', "`'image'`, adapted with `'batch'`"),
    Arm('calibrated', 'contrast', "`'calibrated'`"),
    Arm('image', LEARNED, "`'image'`, ranked by `'learned'`"),
    Arm('batch', LEARNED, "`'batch'`, ranked by `'learned'`"),
    Arm('calibrated', LEARNED, "`'calibrated'`, ranked by `'learned'`"),
)
"""The first of each importance is what others of it are compared with."""


def measure(run: StudyRun) -> dict[str, Any]:
    """Metric and shares of every arm of a run, by its key."""
    out = results_file(run)
    found: dict[str, Any] = json.loads(out.read_text()) if out.exists() else {}
    for weights in dict.fromkeys(arm.weights for arm in ARMS):
        arms = [arm for arm in ARMS if arm.weights == weights]
        if all(arm.key(ratio) in found for arm in arms for ratio in RATIOS):
            continue
        importance = arms[0].importance
        case = Case(weights, importance, scale=SCALES.get(run.data.name, 1.0))
        config, checkpoint = run.config_file, str(run.weights(weights))
        options = run.test_options(case)
        options.pop('test_evaluator.outfile_prefix', None)
        bench = Bench(config, checkpoint, importance, options=options)
        for arm in arms:
            for ratio in RATIOS:
                if arm.key(ratio) not in found:
                    found[arm.key(ratio)] = one = _tested(bench, arm, ratio)
                    replace_text(out, json.dumps(found, indent=1) + '\n')
                    shown = one[run.data.metric]
                    print(
                        f'{run.data.name}, seed {run.seed}, {arm.key(ratio)}: {shown}', flush=True
                    )
    return found


def results_file(run: StudyRun) -> Path:
    """File with the results of `measure`."""
    return run.folder / 'allocations.json'


def _tested(bench: Bench, arm: Arm, ratio: float) -> dict[str, Any]:
    collected: Any = {} if arm.allocation == 'calibrated' else None
    trial = Trial(arm.allocation, arm.relative_to, collected=collected)
    if arm.allocation == 'calibrated':
        bench.calibrate(trial, ratio, bench.other_split('val'))
    return bench.evaluate(trial, ratio)


def tables(results: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """A Markdown table for each data set, by its name.

    Args:
        results: By data set and seed, what `measure` or `run_seed` found.
    """
    made = {
        name: _table(name, list(results.get(name, {}).values()))
        for name in COMPARED
        if name != SIX_CAMERAS
    }
    return {**made, SIX_CAMERAS: six_cameras_table(results.get(SIX_CAMERAS, {}))}


def _table(name: str, found: Sequence[Mapping[str, Any]]) -> str:
    wanted = {arm.key(ratio) for arm in ARMS for ratio in RATIOS}
    seeds = [seed for seed in found if wanted <= seed.keys()]
    if not seeds:
        return f'*{NOT_RUN}*'
    data = DATA_SETS[name]
    head, rows = ['allocation'], []
    for ratio in RATIOS:
        head += [f'{data.metric_title}, {ratio:.0%} skipped', 'difference', 'windows computed']
    for arm in ARMS:
        cells = [arm.title]
        for ratio in RATIOS:
            own = [seed[arm.key(ratio)] for seed in seeds]
            metrics = [one[data.metric] * data.factor for one in own]
            base = [seed[arm.base.key(ratio)][data.metric] * data.factor for seed in seeds]
            gains = Statistic(tuple(mine - its for mine, its in zip(metrics, base)))
            against = '' if arm == arm.base else f'{gains.text("+")}, {gains.verdict}'
            share = fmean(one['cost_share'] for one in own)
            cells += [mean_and_spread(metrics), against, f'{share:.0%}']
        rows.append(cells)
    return table(head, rows)


def _measured(name: str, seed: int, work_dir: Path, run_now: bool) -> Path:
    """File with the results of a seed, which are completed if need be."""
    if name == SIX_CAMERAS:
        if run_now:
            six_cameras.run_seed(seed, work_dir / SIX_CAMERAS)
        return six_cameras.results_file(seed, work_dir / SIX_CAMERAS)
    run = StudyRun(DATA_SETS[name], seed, work_dir)
    if run_now:
        run.prepare()
        register_framework(load_config(run.config_file))
        measure(run)
    return results_file(run)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures what is missing, and reports."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/importance_study'))
    parser.add_argument('--data', nargs='+', choices=COMPARED, default=COMPARED)
    parser.add_argument('--seeds', nargs='+', type=int, default=[0, 1, 2])
    parser.add_argument('--report', action='store_true', help='only report what is there')
    parser.add_argument('--out', type=Path, help='JSON file of all results')
    parser.add_argument('--docs', type=Path, help='page whose tables are renewed')
    args = parser.parse_args(arguments)
    results: dict[str, dict[str, Any]] = {}
    with user_errors_exit():
        for name in COMPARED:  # the report has all that is there
            for seed in args.seeds:
                run_now = name in args.data and not args.report
                path = _measured(name, seed, args.work_dir, run_now)
                if path.exists():
                    results.setdefault(name, {})[str(seed)] = json.loads(path.read_text())
        if args.out is not None:
            replace_text(args.out, json.dumps(results, indent=1) + '\n')
        publish(tables(results), args.docs)


if __name__ == '__main__':
    main()
