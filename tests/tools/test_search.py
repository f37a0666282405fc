"""tools/search.py: whole searches, one that is killed, one on two processes, wrong input."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
import torch

from sparsevit_mm import WindowPruningHook
from tests.engine.test_search_loop import candidates, without_times
from tests.tools.conftest import ROOT, call_tool, files_below, load_tool, run_tool, start_tool

SEARCH = ['--macs', '0.7x', '--of', 'backbone', '--share', '0.5']
SEARCH += ['--population', '8', '--parents', '3']


def arguments(tiny, trained, work_dir, *more):
    checkpoint = trained / 'epoch_3.pth'
    metric = ['--metric', 'coco/bbox_mAP']
    return [tiny.detector, checkpoint, *SEARCH, *metric, '--work-dir', work_dir, *more]


@pytest.fixture(scope='module')
def searched(tiny, trained, tmp_path_factory):
    """The work dir of a search without interruption."""
    work_dir = tmp_path_factory.mktemp('searched')
    run = run_tool('search', *arguments(tiny, trained, work_dir, '--evaluations', '14'))
    assert run.code == 0, run.stderr
    assert 'evolution 14/14' in run.stdout
    assert 'Average Precision' not in run.stdout.split('schedules to choose from')[1]
    # What the search will do is said before the first screen is full, and so is what is wrong.
    before = run.stdout.split('schedules to choose from')[0]
    assert len(before.splitlines()) < 30, before
    assert 'images, too few to tell schedules apart: hold out more with split.share' in run.stdout
    return work_dir


def assert_same_search(one, two):
    results = [json.loads((folder / 'schedule.json').read_text()) for folder in (one, two)]
    assert without_times(results[0]) == without_times(results[1])
    logs = [[without_times(line) for line in candidates(folder)] for folder in (one, two)]
    assert logs[0] == logs[1]


def test_result_goes_into_the_hook_and_the_test_tool(tiny, trained, searched, tmp_path):
    path = searched / 'schedule.json'
    result = json.loads(path.read_text())
    assert [list(stage) for stage in WindowPruningHook(str(path)).schedule.ratios] == result[
        'ratios'
    ]
    assert 0 < result['settings']['split']['found'] < 16
    assert files_below(searched)[-7:] == [
        'detector.py', 'held_out.json', 'metric_over_cost.png', 'ratios.png', 'schedule.json',
        'search.json', 'searched.py',
    ]  # fmt: skip
    call_tool(
        'test', tiny.detector, trained / 'epoch_3.pth', '--schedule', path, '--work-dir', tmp_path
    )


def test_killed_search_goes_on_to_the_same_result(tiny, trained, searched, tmp_path):
    more = ['--evaluations', '14']
    process = start_tool(
        'search', *arguments(tiny, trained, tmp_path, *more), start_new_session=True
    )
    log, deadline = tmp_path / 'candidates.jsonl', time.monotonic() + 120
    while not (log.exists() and len(log.read_text().splitlines()) > 13):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / 'schedule.json').exists()
    run = run_tool('search', *arguments(tiny, trained, tmp_path, *more, '--resume'))
    assert run.code == 0, run.stderr
    assert 'evaluations are known from before' in run.stdout
    assert_same_search(tmp_path, searched)


@pytest.mark.slow
def test_two_processes_find_what_one_finds(tiny, trained, searched, tmp_path):
    command = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2']
    command += [ROOT / 'tools' / 'search.py', *arguments(tiny, trained, tmp_path)]
    environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT)}
    run = subprocess.run(
        [*map(str, command), '--evaluations', '14', '--launcher', 'pytorch'],
        env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert_same_search(tmp_path, searched)
    assert json.loads((tmp_path / 'schedule.json').read_text())['times']['processes'] == 2


def test_segmentor_under_a_latency_budget(tiny, tmp_path):
    call_tool('train', tiny.segmentor, '--work-dir', tmp_path / 'trained')
    call_tool(
        'search', tiny.segmentor, tmp_path / 'trained' / 'epoch_1.pth', '--latency', '9x',
        '--metric', 'mIoU', '--share', '0.5', '--images', '2', '--evaluations', '3',
        '--cfg-options', 'test_cfg.budget.runs=2', '--work-dir', tmp_path / 'search',
    )  # fmt: skip
    result = json.loads((tmp_path / 'search' / 'schedule.json').read_text())
    assert result['settings']['split']['found'] == 2
    assert result['cost']['unit'] == 'ms'
    assert (tmp_path / 'search' / 'latency_table.json').exists()


@pytest.mark.parametrize('kind', ['--macs', '--latency'])
def test_a_budget_is_of_the_model_unless_it_is_said_to_be_of_the_backbone(
    kind, tiny, trained, tmp_path, clock_of_windows
):
    """Of a config whose budget is of the backbone, too."""
    config = tmp_path / 'papers.py'
    config.write_text(
        f'_base_ = {str(tiny.detector)!r}\n'
        "budget = dict(macs='0.9x', of='backbone', shape=(64, 64))\n"
        "test_cfg = dict(type='sparsevit_mm.ScheduleSearchLoop', budget=budget)\n"
    )
    few = ['--metric', 'loss', '--share', '0.5', '--population', '2', '--parents', '1']
    few += ['--evaluations', '2', '--cfg-options', 'test_cfg.budget.runs=2']
    few += ['test_cfg.uniform=False']
    found = {}
    for of in ('model', 'backbone'):
        work_dir = tmp_path / of
        more = ['--of', 'backbone'] if of == 'backbone' else []
        call_tool(
            'search', config, trained / 'epoch_3.pth', kind, '0.9x', '--work-dir', work_dir,
            *more, *few,
        )  # fmt: skip
        found[of] = json.loads((work_dir / 'schedule.json').read_text())
        assert found[of]['cost']['of'] == found[of]['settings']['budget']['of'] == of
    assert found['model']['settings']['budget']['shape'] == [60, 84]
    assert found['backbone']['settings']['budget']['shape'] == [64, 64]
    if kind == '--macs':
        call_tool('get_flops', config, '--shape', 60, 84, '--out', tmp_path / 'cost.json')
        counted = json.loads((tmp_path / 'cost.json').read_text())
        outside = counted['macs'] - counted['backbone']['macs']
        dense = outside + counted['backbone']['dense_macs']
        assert found['model']['cost']['dense'] == dense
        assert found['model']['cost']['predicted'] == found['model']['cost']['measured']


def test_of_a_model_the_reachable_range_is_told_and_nothing_kept(
    tiny, trained, tmp_path, capsys, clock_of_windows
):
    """On a clock of windows: a dense run takes 1,000 ms, one without four fifths of them 200."""
    with pytest.raises(SystemExit):
        call_tool(
            'search', tiny.detector, trained / 'epoch_3.pth', '--latency', '100ms', '--metric',
            'loss', '--share', '0.5', '--work-dir', tmp_path,
        )  # fmt: skip
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error == (
        'error: the budget of at most 100.0 ms for the model cannot be met: the cheapest schedule '
        'takes 200.0 ms here, the dense one 1000.0 ms.'
    )
    kept = {path.name for path in tmp_path.rglob('*') if path.suffix in ('.json', '.jsonl')}
    assert not kept & {'schedule.json', 'candidates.jsonl', 'search.json', 'latency_table.json'}


CASES = {
    'no budget': (['--metric', 'mIoU'], 'exactly one of them must be given'),
    'no metric': (['--macs', '0.6x'], 'metric is missing'),
    'unknown metric': (
        ['--macs', '0.9x', '--metric', 'mIoU', '--share', '0.5'],
        "metric is 'mIoU', but must be one of coco/bbox_mAP, coco/bbox_mAP_50",
    ),
    'impossible budget': (
        ['--macs', '0.01x', '--metric', 'mIoU', '--share', '0.5'],
        'cannot be met: the schedules of this network and these choices cost .* to ',
    ),
    'impossible latency': (
        ['--latency', '0.00001', '--metric', 'mIoU', '--share', '0.5'],
        'cannot be met: the cheapest schedule takes .* here, the dense one ',
    ),
    'empty split': (
        ['--macs', '0.6x', '--metric', 'mIoU', '--share', '1e-9'],
        'none of the 16 images falls into the held-out part',
    ),
    'unreadable table': (
        ['--latency', '9x', '--metric', 'mIoU', '--share', '0.5', '--latency-table', 'no.json'],
        'the latency table no.json cannot be read',
    ),
    'unwritable work dir': (
        ['--macs', '1x', '--metric', 'mIoU', '--work-dir', '/dev/null/x'], 'nothing can be written',
    ),
}  # fmt: skip


@pytest.mark.parametrize('case', CASES)
def test_wrong_input_is_one_sentence(case, tiny, trained, tmp_path, monkeypatch, capsys):
    options, message = CASES[case]
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        load_tool('search').main([str(tiny.detector), str(trained / 'epoch_3.pth'), *options])
    assert stopped.value.code == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith('error: ')
    assert re.search(message, error), error
    assert not list(tmp_path.rglob('candidates.jsonl'))
    assert not list(tmp_path.rglob('schedule.json'))


def test_a_backbone_without_a_schedule_is_one_sentence(tiny, trained, tmp_path):
    run = run_tool(
        'search', tiny.plain, trained / 'epoch_3.pth', *SEARCH, '--metric', 'coco/bbox_mAP',
        '--work-dir', tmp_path / 'work',
    )  # fmt: skip
    assert run.code == 1
    assert 'the backbone SwinTransformer has no pruning schedule' in run.stderr
    assert 'Traceback' not in run.stderr
    assert not (tmp_path / 'work').exists()


def test_a_checkpoint_of_something_else_is_one_sentence(tiny, tmp_path):
    torch.save({'state_dict': {'weight': torch.zeros(2)}, 'meta': {}}, tmp_path / 'other.pth')
    run = run_tool(
        'search', tiny.detector, tmp_path / 'other.pth', *SEARCH, '--metric', 'coco/bbox_mAP',
        '--work-dir', tmp_path / 'work',
    )  # fmt: skip
    assert run.code == 1
    assert run.stderr.strip().splitlines()[-1].startswith('error: ')
    assert 'Traceback' not in run.stderr
    assert not (tmp_path / 'work').exists()
