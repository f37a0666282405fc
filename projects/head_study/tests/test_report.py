"""The table of whatever was found so far, and the cases that make it."""

from __future__ import annotations

from projects.head_study.__main__ import table
from projects.head_study.costs import model_gmacs
from projects.head_study.plan import CASES
from projects.importance_study.plan import DATA_SETS
from projects.importance_study.run import StudyRun
from projects.street_scenes.dataset import DemoSettings


def test_table_compares_with_dense_and_says_what_was_not_run():
    found = {'gmacs': {'dense': 10.0, 'backbone 0.5': 8.0}, 'seconds': {'backbone 0.5': 1.0}}
    results = {name: {} for name in CASES} | {'dense': {'0': {'metric': 12.0}}}
    lines = table(DATA_SETS['aerial_cars'], found, results).splitlines()
    assert '| dense | 12.0 (1 seed) | 10.0 | 1.00 | – |' in lines
    assert '| backbone 0.5 | not run yet | 8.0 | 0.80 | – |' in lines
    assert '| backbone 0.7 | not run yet | not run yet | – | – |' in lines
    assert len(lines) == 2 + len(CASES)


def test_every_case_has_files_of_its_own():
    assert len({case.key for case in CASES.values()}) == len(CASES)


def test_sparse_heads_cost_less_of_the_whole_model(tmp_path):
    run = StudyRun(DATA_SETS['drawn_segmentation'], 0, tmp_path, {}, DemoSettings(1, 1))
    run.prepare()
    names = ('dense', 'backbone 0.5', 'backbone 0.5, heads 0.5')
    dense, backbone, heads = (model_gmacs(run, CASES[name]) for name in names)
    assert heads < backbone < dense
