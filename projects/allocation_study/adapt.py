"""Adapts the dense network of the importance study while images of a batch share their windows.

    SPARSEVIT_MM_DATA=data python -m projects.allocation_study.adapt --work-dir STUDY --seed 0

`STUDY` is the work dir of the importance study, whose dense network is trained now if it is not
there. The last line is the checkpoint's path.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from projects.importance_study.plan import DATA_SETS
from projects.importance_study.run import StudyRun
from sparsevit_mm.apis.user_errors import user_errors_exit

WEIGHTS = 'contrast+batch'


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains and prints where the weights are."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/importance_study'))
    parser.add_argument('--data', choices=DATA_SETS, default='aerial_cars')
    parser.add_argument('--seed', type=int, default=0)
    args = parser.parse_args(arguments)
    with user_errors_exit():
        run = StudyRun(DATA_SETS[args.data], args.seed, args.work_dir)
        run.prepare()
        print(run.weights(WEIGHTS))


if __name__ == '__main__':
    main()
