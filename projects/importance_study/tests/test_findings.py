"""Tables and the page from results of which some are missing."""

from __future__ import annotations

from projects.importance_study.findings import table, tables
from projects.importance_study.plan import DATA_SETS
from projects.markdown import fill_in
from projects.seeds import mean_and_spread


def record(metric, objects):
    share = {'stages': [objects, objects / 2], 'overall': objects}
    return {'metric': metric, 'objects': share, 'pixels': {**share, 'overall': 0.3}, 'macs': 2e9}


REPORT = {
    'results': {
        'camvid': {
            'peak-peak-0.7-1': {'0': record(12.0, 0.6), '1': record(14.0, 0.8)},
            'longer-l2-0-1': {str(seed): record(20.0 + seed, 1.0) for seed in range(3)},
        }
    }
}


def test_table_has_means_spreads_and_what_was_not_run():
    lines = table(REPORT, DATA_SETS['camvid']).splitlines()
    assert lines[0].startswith('| adapted and tested with | dense | 50% skipped | 70% skipped |')
    assert (
        '| `peak` | not run yet | not run yet | 13.0 ± 1.4 (2 seeds) | 70% | 30% | 70 / 35 |'
        in lines
    )
    assert '21.0 ± 1.0 at 1×, not run yet at 0.7×, not run yet at 0.5×' in lines[-1]


def test_page_is_filled_in_between_its_marks():
    page = 'A\n<!-- camvid -->\n\nold\n\n<!-- end -->\nB\n<!-- coco_mini -->\n<!-- end -->\nC\n'
    filled = fill_in(page, tables(REPORT))
    assert 'old' not in filled and '13.0 ± 1.4' in filled
    assert filled.endswith('<!-- coco_mini -->\n\n*not run yet*\n\n<!-- end -->\nC\n')
    assert fill_in(filled, tables(REPORT)) == filled


def test_mean_and_spread_says_how_many_seeds_there_are():
    assert mean_and_spread([1.0]) == '1.0 (1 seed)'
    assert mean_and_spread([1.0, 2.0, 3.0]) == '2.0 ± 1.0'
