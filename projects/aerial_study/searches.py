"""Searches for schedules of adapted networks, on the validation frames."""

from __future__ import annotations

from projects.aerial_study.plan import SEARCHES, Arm
from projects.importance_study.plan import FOUND, Case
from projects.importance_study.run import StudyRun
from sparsevit_mm.apis.search import search
from sparsevit_mm.engine.search_loop import LOG_FILE, SCHEDULE_FILE
from sparsevit_mm.search.cost import MODEL

BUDGET = '0.45x..0.5x'
"""Of the MACs of the dense model on frames at full size: about those of a frame at 0.7x."""

EVALUATIONS, RANDOM = 36, 18
"""Schedules that evolution tries, and random search."""


def search_schedules(run: StudyRun, arm: Arm) -> None:
    """Searches for the schedules of an arm, unless they are there; goes on where it was stopped."""
    folder = run.search_folder(arm.case.search)
    if (folder / SCHEDULE_FILE).exists():
        return
    how = SEARCHES[arm.case.search]
    weights = arm.case.weights.partition(f'+{FOUND}')[0]  # those that are tuned come afterwards
    root = run.data.root(run.work_dir)
    evolution = dict(max_evaluations=EVALUATIONS, population=12, parents=4, seed=run.seed)
    search(
        run.config_file,
        str(run.weights(weights)),
        settings=dict(
            metric=run.data.metric,
            scales=how.scales,
            budget=dict(macs=BUDGET, of=MODEL),
            split=dict(part='val'),
            evolution=evolution,
            random_evaluations=RANDOM if 'random' in how.methods else 0,
            uniform=len(how.methods) > 1,
            resume=(folder / LOG_FILE).exists(),
        ),
        work_dir=str(folder),
        cfg_options={
            **run.test_options(Case(weights, arm.case.importance)),
            'val_dataloader.dataset.data_root': f'{root}/',
            'val_evaluator.ann_file': str(root / 'annotations' / 'val.json'),
        },
    )
