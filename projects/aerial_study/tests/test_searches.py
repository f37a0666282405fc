"""Searches for schedules, on made-up frames."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from mmengine.config import Config

from projects.aerial_study import searches
from projects.aerial_study.costs import model_gmacs
from projects.aerial_study.findings import collect, cost_name
from projects.aerial_study.plan import ARMS, Arm
from projects.aerial_study.searches import search_schedules
from projects.importance_study.plan import Case, tuned_to

LONG = {arm.name: arm for arm in ARMS['sparsevit long']}


@pytest.mark.slow
def test_schedules_are_searched_once_tested_and_priced_seed_by_seed(run, monkeypatch):
    # A network that learned nothing finds nothing, and MMDetection then reports no AP.
    run = replace(run, data=replace(run.data, metric='loss'))
    monkeypatch.setattr(searches, 'EVALUATIONS', 1)
    monkeypatch.setattr(searches, 'BUDGET', '0.6x..0.9x')  # the coarse pass of so small frames
    arm = Arm('searched', Case('contrast+heads', 'contrast', search='ratios'), 'aerial_cars')
    assert arm.differs_by_seed
    search_schedules(run, arm)
    path = run.search_folder('ratios') / 'schedule.json'
    found, written = json.loads(path.read_text()), path.stat().st_mtime_ns
    assert 0.6 <= found['cost']['predicted'] / found['cost']['dense'] <= 0.9
    search_schedules(run, arm)
    assert path.stat().st_mtime_ns == written

    schedule = run.found_schedule(arm.case)
    assert [list(stage) for stage in schedule.ratios] == found['ratios']
    macs = model_gmacs(run, arm.case)
    assert macs['model'] == pytest.approx(found['cost']['measured'] / 1e9, abs=2e-3)
    run.measure(arm.case)
    monkeypatch.setitem(ARMS, 'sparsevit', [arm])
    costs = {'sparsevit': {cost_name(arm, 0): {'gmacs': macs}}}
    record = collect(run.work_dir, [0, 1], costs)['sparsevit']['searched']
    assert record['by_seed']['0']['schedule']['ratios'] == found['ratios']
    assert record['gmacs'] == record['by_seed']['0']['gmacs'] == macs

    weights = f'contrast+heads+{tuned_to("ratios", "evolution")}'
    tuned = Arm('tuned', replace(arm.case, weights=weights), 'aerial_cars')
    search_schedules(run, tuned)
    run.measure(tuned.case)
    (dumped,) = (run.folder / weights).glob('*.py')
    trained = Config.fromfile(dumped)
    assert trained.model.backbone.pruning_ratios == found['ratios']
    assert trained.model.head_ratios == found['head_ratios']
    assert not trained.custom_hooks, 'no random schedules'
    assert tuned.costs_the_same_as(arm)


def test_searched_arms_have_a_name_for_each_search_and_method():
    assert [name for name in LONG if name.startswith('searched')] == [
        'searched ratios, evolution',
        'searched scale and ratios, evolution',
        'searched scale and ratios, random',
        'searched scale and ratios, uniform within the budget',
        'searched scale and ratios, evolution, tuned',
    ]
