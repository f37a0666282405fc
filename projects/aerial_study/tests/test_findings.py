"""Arms against the dense curve, from made-up result files of which some are missing."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from projects.aerial_study.__main__ import main
from projects.aerial_study.findings import against_curve, collect, tables
from projects.aerial_study.plan import ARMS
from projects.aerial_study.plot import _SERIES, draw
from projects.importance_study.plan import DATA_SETS
from projects.importance_study.run import StudyRun
from projects.markdown import fill_in

ROOT = Path(__file__).parents[3]
PAGE, RESULTS = ROOT / 'docs/evidence.md', ROOT / 'projects/aerial_study/results/aerial.json'
GROUP = ARMS['sparsevit']
ARM = {arm.name: arm for arm in GROUP}
SPARSE = ARM['contrast, backbone 70%, heads 70%']
NAMES = ('dense at 1×', 'dense at 0.7×', 'dense at 0.5×', SPARSE.name)
AP = {'0': (0.16, 0.12, 0.06, 0.15), '1': (0.14, 0.10, 0.04, 0.14)}
GMACS = (32.0, 16.0, 8.0, 24.0)
MILLISECONDS = (320.0, 160.0, 80.0, 120.0)


@pytest.fixture
def work_dir(tmp_path):
    """Two seeds of three resolutions and of one sparse arm, as tests write them; costs are those of
    the same network trained for longer."""
    for seed, values in AP.items():
        for name, value in zip(NAMES, values):
            write_result(tmp_path, name, seed, {'bbox_mAP': value, 'bbox_mAP_s': value / 2})
    costs = {
        name: {
            'gmacs': {'model': macs, 'backbone': 2.0, 'neck': 1.0, 'bbox_head': macs - 3},
            'ms': {'model': ms, 'backbone': 20.0, 'neck': 10.0, 'bbox_head': ms - 50},
        }
        for name, macs, ms in zip(NAMES, GMACS, MILLISECONDS)
    }
    (tmp_path / 'aerial_study.json').write_text(
        json.dumps({'timed': {}, 'arms': {'sparsevit long': costs}})
    )
    return tmp_path


def write_result(work_dir, name, seed, metrics):
    run = StudyRun(DATA_SETS['aerial_cars'], int(seed), work_dir)
    path = run.result_file(ARM[name].case)
    path.parent.mkdir(parents=True, exist_ok=True)
    metrics = {f'coco/{key}': value for key, value in metrics.items()}
    shares = {'objects': {'overall': 0.6}, 'pixels': {'overall': 0.3}}
    path.write_text(json.dumps({'metrics': metrics, **shares}))


def found_in(work_dir):
    costs = json.loads((work_dir / 'aerial_study.json').read_text())['arms']
    return collect(work_dir, [0, 1, 2], costs)


def difference(work_dir, cost, metric='AP'):
    return against_curve(found_in(work_dir)['sparsevit'], GROUP, SPARSE, cost, metric)


def test_dense_curve_is_interpolated_at_the_cost_of_the_whole_model(work_dir):
    assert difference(work_dir, 'gmacs').values == pytest.approx((15 - 14, 14 - 12))
    assert difference(work_dir, 'ms').values == pytest.approx((15 - 9, 14 - 7))
    assert difference(work_dir, 'gmacs', 'AP small').values == pytest.approx((0.5, 1))
    assert difference(work_dir, 'gmacs', 'recall at 300') is None


def test_a_seed_whose_curve_is_not_whole_says_nothing(work_dir):
    for name in NAMES[::3]:
        write_result(work_dir, name, 2, {'bbox_mAP': 0.2, 'bbox_mAP_s': 0.2})
    assert len(difference(work_dir, 'gmacs').values) == 2
    write_result(work_dir, 'dense at 0.85×', 0, {'bbox_mAP': 0.16, 'bbox_mAP_s': 0.1})
    costs = json.loads((work_dir / 'aerial_study.json').read_text())
    costs['arms']['sparsevit long']['dense at 0.85×'] = {'gmacs': {'model': 24.0}}
    (work_dir / 'aerial_study.json').write_text(json.dumps(costs))
    assert difference(work_dir, 'gmacs').values == pytest.approx((-1,))


def test_tables_have_figures_verdicts_and_where_the_cost_is(work_dir):
    made = tables({'arms': found_in(work_dir)})
    assert (
        f'| {SPARSE.name} | 24.0 | 120.0 | 14.5 ± 0.7 (2 seeds) | 7.2 ± 0.4 (2 seeds) | 60% | 30% |'
    ) in made['sparsevit arms']
    head, _, *rows = made['sparsevit claim'].splitlines()
    assert (
        head == '| against lower resolution | AP | verdict | AP small | verdict | AP, each seed |'
    )
    cells = [row.strip('| ').split(' | ') for row in rows]
    better = [f'{SPARSE.name}, at equal GMACs', '+1.5 ± 0.7', 'better', '+0.8 ± 0.4', 'better']
    faster = [f'{SPARSE.name}, at equal ms', '+6.5 ± 0.7', 'better', '+3.2 ± 0.4', 'better']
    assert cells == [[*better, '+1.0, +2.0'], [*faster, '+6.0, +7.0']]
    parts = f'| {SPARSE.name} | 2.0 / 1.0 / 21.0 | 20.0 / 10.0 / 70.0 / 20.0 |'
    assert parts in made['sparsevit parts']
    assert made['sparsevit verdict'].startswith(
        'At equal GMACs of the whole model, 1 arms are compared with lower resolution (better: 1). '
        f'The largest difference in AP is +1.5 ± 0.7 (better), of *{SPARSE.name}*. At equal ms'
    )
    assert made['fastervit claim'] == '*not run yet*'


def test_an_arm_that_is_cheaper_than_the_curve_is_not_judged(work_dir):
    costs = json.loads((work_dir / 'aerial_study.json').read_text())
    costs['arms']['sparsevit long'][SPARSE.name]['gmacs']['model'] = 7.9
    (work_dir / 'aerial_study.json').write_text(json.dumps(costs))
    assert difference(work_dir, 'gmacs') is None
    row = f'| {SPARSE.name}, at equal GMACs |  | off the curve |  | off the curve |  |'
    assert row in tables({'arms': found_in(work_dir)})['sparsevit claim']


def test_recall_is_compared_where_results_have_it(work_dir):
    for seed, values in AP.items():
        for name, value in zip(NAMES, values):
            write_result(work_dir, name, seed, {'bbox_mAP': value, 'bbox_AR@300': 2 * value})
    assert difference(work_dir, 'gmacs', 'recall at 300').values == pytest.approx((2, 4))
    head = tables({'arms': found_in(work_dir)})['sparsevit claim'].splitlines()[0]
    assert '| AP | verdict | recall at 300 | verdict |' in head


def test_plot_shows_the_curve_over_resolution_and_over_costs(work_dir):
    over_resolution, over_macs, over_time = draw({'arms': found_in(work_dir)}).axes
    (curve,) = over_resolution.containers
    assert list(curve.lines[0].get_xdata()) == [0.5, 0.7, 1.0]
    assert list(curve.lines[0].get_ydata()) == pytest.approx([5, 11, 15])
    for axes in (over_macs, over_time):
        labels = {container.get_label() for container in axes.containers}
        assert labels == {'dense, lower resolution', 'backbone, neck and head skip'}


def test_report_step_writes_results_plot_and_page(work_dir, tmp_path, capsys):
    page = tmp_path / 'page.md'
    page.write_text('A\n<!-- sparsevit claim -->\nold\n<!-- end -->\nB\n')
    out = tmp_path / 'out'
    main(['--work-dir', str(work_dir), '--steps', 'report', '--out', str(out), '--docs', str(page)])
    report = json.loads((out / 'aerial.json').read_text())
    assert report['command'] == 'python -m projects.aerial_study --seeds 0 1 2'
    assert report['arms']['sparsevit'][SPARSE.name]['seeds']['0']['AP'] == 15.0
    assert (out / 'aerial.png').stat().st_size > 0
    claim = tables(report)['sparsevit claim']
    assert claim in capsys.readouterr().out
    assert page.read_text() == f'A\n<!-- sparsevit claim -->\n\n{claim}\n\n<!-- end -->\nB\n'


def test_hours_are_those_of_all_logs_of_runs(work_dir, tmp_path):
    for name, minutes in (('20260105_120000', 30), ('20260105_130000', 12)):
        log = tmp_path / 'aerial_cars' / 'seed0' / 'dense' / name / f'{name}.log'
        log.parent.mkdir(parents=True)
        log.write_text('')
        end = time.mktime(time.strptime(name, '%Y%m%d_%H%M%S')) + 60 * minutes
        os.utime(log, (end, end))
    main(['--work-dir', str(work_dir), '--steps', 'report', '--out', str(tmp_path / 'out')])
    report = json.loads((tmp_path / 'out' / 'aerial.json').read_text())
    assert report['hours'] == {'aerial_cars': 0.7}
    assert '| in all | 0.7 |' in tables(report)['hours']


def test_a_dense_network_that_a_cheaper_one_beats_is_no_rival(work_dir):
    write_result(work_dir, 'dense at 0.7×', '0', {'bbox_mAP': 0.18, 'bbox_mAP_s': 0.09})
    first, second = difference(work_dir, 'gmacs').values
    assert first == pytest.approx(15 - 18)  # 0.7× costs less than the arm, and full size has 16
    assert second == pytest.approx(14 - 12)


def test_page_says_what_the_results_say():
    page, report = PAGE.read_text(), json.loads(RESULTS.read_text())
    assert fill_in(page, tables(report)) == page


def test_networks_of_one_size_are_compared_with_dense_ones_of_one_size():
    names = (
        'dense, tuned at 0.7×',
        'dense, tuned at 0.6×',
        'backbone 70%, heads 70%, tuned at 0.85×',
    )
    found = {
        name: dict(
            seeds={'0': {'AP': ap}}, ms={'model': cost}, computed={'0': dict(objects=1, pixels=1)}
        )
        for name, ap, cost in zip(names, (20.0, 16.0, 17.0), (200.0, 100.0, 150.0))
    }
    made = tables({'arms': {'sparsevit long': found}})['sparsevit long own size']
    assert made.splitlines()[2:] == [
        f'| {names[2]}, at equal ms | -1.0 | one seed: no verdict | -1.0 |'
    ]


def test_every_network_that_is_tuned_is_in_the_series_of_its_kind():
    kinds = {
        arm.name: [name for name, (*_, is_member) in _SERIES.items() if is_member(arm)]
        for arm in ARMS['fastervit']
    }
    assert kinds['dense, tuned at 0.7×'] == ['dense, tuned at its size']
    assert kinds['contrast, backbone 70%, tuned at 0.7×'] == ['sparse, tuned at its size']
    assert kinds['contrast, backbone 70%, at 0.7×'] == ['backbone skips, contrast']
