"""Evaluations on disk, and going on from a file that a kill left."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from sparsevit_mm.errors import ConfigError
from sparsevit_mm.pruning.schedule import PruningSchedule
from sparsevit_mm.search.records import (
    Evaluation,
    EvaluationLog,
    check_same_search,
    fingerprint_of,
    save_settings,
)


def evaluation(ratio, metric=0.1):
    schedule = PruningSchedule.parse(ratio, (2, 3))
    return Evaluation(schedule, 7.25, 'mutation', 2, {'mIoU': metric}, 0.5)


def test_what_is_added_is_on_disk(tmp_path):
    path, third = tmp_path / 'log.jsonl', 1 / 3
    log = EvaluationLog()
    log.add(evaluation(0.1, third))
    assert not path.exists()
    log.write_to(path)
    log.add(evaluation(0.2, math.nan))
    again = EvaluationLog(EvaluationLog.read(path))
    assert len(again) == 2
    assert again.find(PruningSchedule.parse(0.1, (2, 3))) == evaluation(0.1, third)
    assert math.isnan(again.find(PruningSchedule.parse(0.2, (2, 3))).metrics['mIoU'])
    assert again.find(PruningSchedule.parse(0.3, (2, 3))) is None
    assert EvaluationLog.read(tmp_path / 'none.jsonl') == []


@pytest.mark.parametrize('lost', [1, 5, 60])
def test_a_line_that_was_cut_off_is_dropped(tmp_path, lost):
    path = tmp_path / 'log.jsonl'
    log = EvaluationLog()
    log.write_to(path)
    log.add(evaluation(0.1))
    one = path.read_bytes()
    log.add(evaluation(0.2))
    two = path.read_bytes()
    path.write_bytes(two[:-lost])
    again = EvaluationLog(EvaluationLog.read(path))
    assert len(again) == 1
    again.write_to(path)
    assert path.read_bytes() == one
    again.add(evaluation(0.2))
    assert path.read_bytes() == two


def test_evaluations_of_another_search_are_refused(tmp_path):
    path = tmp_path / 'log.jsonl'
    mine, other = (fingerprint_of({'checkpoint': name}) for name in 'ab')
    log = EvaluationLog(fingerprint=mine)
    log.write_to(path)
    log.add(evaluation(0.1))
    assert EvaluationLog.read(path, mine) == [evaluation(0.1)]
    for fingerprint in (other, None):
        with pytest.raises(ConfigError, match='line 1 of .* another checkpoint, config or data'):
            EvaluationLog.read(path, fingerprint)


@pytest.mark.parametrize('line', ['{', '[]', '{}', '[' * 10**5, '{"schedule": [[0.5, 0.1]]}'])
def test_a_broken_line_is_one_sentence(tmp_path, line):
    (tmp_path / 'log.jsonl').write_text(f'{line}\n')
    with pytest.raises(ConfigError, match='line 1 of .* was not written by a search'):
        EvaluationLog.read(tmp_path / 'log.jsonl')


def test_broken_settings_are_one_sentence(tmp_path):
    (tmp_path / 'search.json').write_text('[1]')
    with pytest.raises(ConfigError, match='was not written by a search'):
        check_same_search(tmp_path / 'search.json', {}, resume=True)
    (tmp_path / 'search.json').write_text('{')
    with pytest.raises(ConfigError, match='cannot be read: it is not valid JSON'):
        check_same_search(tmp_path / 'search.json', {}, resume=True)


def test_only_the_same_search_goes_on(tmp_path):
    path, settings = tmp_path / 'search.json', {'seed': 1, 'depths': (2, 2)}
    check_same_search(path, settings, resume=False)
    save_settings(path, settings)
    check_same_search(path, settings, resume=True)
    with pytest.raises(ConfigError, match='holds a search already'):
        check_same_search(path, settings, resume=False)
    with pytest.raises(ConfigError, match='cannot be resumed: its seed is 1, but now it is 2'):
        check_same_search(path, {**settings, 'seed': 2}, resume=True)


def test_importance_is_kept(tmp_path):
    path = tmp_path / 'log.jsonl'
    log = EvaluationLog()
    log.write_to(path)
    tried = [replace(evaluation(0.1).schedule, importance=name) for name in (None, 'l2', 'peak')]
    for number, schedule in enumerate(tried):
        log.add(replace(evaluation(0.1, number), schedule=schedule))
    again = EvaluationLog(EvaluationLog.read(path))
    assert [again.find(schedule).metrics['mIoU'] for schedule in tried] == [0, 1, 2]
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line.get('importance') for line in lines] == [None, 'l2', 'peak']
