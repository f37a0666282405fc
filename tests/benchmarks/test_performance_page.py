"""The page says what the results files say, and the targets what their rows say."""

import pytest
from PIL import Image

pytest.importorskip(
    'benchmarks.counted',
    reason='this torch has no table of the operations that it counts',
    exc_type=ImportError,
)

from benchmarks.performance_page import PAGES, PLOT, RESULTS, rewritten, sparse_heads_table
from benchmarks.plots import fingerprint
from benchmarks.results_file import load
from benchmarks.targets import SUMMARY, TARGETS, deviation_from_line, over_macs, ratio


def row(network, median, **more):
    case = dict(height=672, width=672, batch=1, dtype='fp32', mode='eager')
    return case | dict(network=network, median=median) | more


def test_pages_are_what_the_results_say():
    texts = [page.read_text() for page in PAGES]
    assert texts == [rewritten(text) for text in texts]
    for text, rows in zip(texts, (SUMMARY, TARGETS)):
        for row in rows:
            assert row.what in text


def test_the_plot_shows_the_results():
    with Image.open(PLOT) as image:
        assert image.text['Description'] == fingerprint(load(RESULTS / 'performance_cpu.json'))


def test_a_row_of_the_plot_changes_its_fingerprint():
    rows = [row('SparseViT-T dense', 300.0), row('SparseViT-T cfg2', 200.0)]
    before = fingerprint({'resolution 672': dict(rows=rows)})
    rows[1]['median'] = 201.0
    assert fingerprint({'resolution 672': dict(rows=rows)}) != before
    alone = {'resolution 672': dict(rows=rows[1:])}  # without the dense one of its run
    assert fingerprint(alone) == fingerprint({})


def test_ratios_come_from_one_run_and_prefer_processor_time():
    rows = [
        row('mmdet Swin-T', 300.0, cpu_median=240.0),
        row('SparseViT-T dense', 260.0, cpu_median=200.0, gmacs=40.0),
        row('SparseViT-T cfg2', 150.0, cpu_median=147.0, gmacs=28.0),
    ]
    sections = {'swin 672': dict(rows=rows), 'other': dict(rows=rows[:1])}
    case = dict(batch=1, dtype='fp32', mode='eager')
    pair = ('mmdet Swin-T', 'SparseViT-T dense')
    assert ratio(sections, 'swin 672', *pair, **case) == pytest.approx(1.2)
    assert ratio(sections, 'other', *pair, **case) is None
    assert over_macs(sections, 'cfg2', **case) == pytest.approx(1.05)
    assert over_macs(sections, 'cfg3', **case) is None


def test_the_best_mode_of_each_counts_on_a_gpu():
    case = dict(batch=4, dtype='fp16')
    rows = [
        row('SparseViT-T dense', 10.0, **case, gmacs=4.0),
        row('SparseViT-T dense', 8.0, **case, gmacs=4.0),
        row('SparseViT-T cfg2', 6.0, **case, gmacs=3.0),
    ]
    rows[1]['mode'] = 'graph'
    sections = {'swin 672': dict(rows=rows)}
    assert ratio(sections, 'swin 672', 'SparseViT-T dense', 'SparseViT-T cfg2', **case) == 8 / 6
    assert over_macs(sections, 'cfg2', **case) == pytest.approx(1.0)


def test_deviation_is_the_largest_from_the_mean_time_of_a_pixel():
    def at(side, median):
        return dict(row('SparseViT-T dense', median), height=side, width=side)

    sections = {
        'resolution 100': dict(rows=[at(100, 10_000.0)]),
        'resolution 200': dict(rows=[at(200, 48_000.0)]),
        'swin 672': dict(rows=[at(672, 1.0)]),
    }
    found = deviation_from_line(sections, 'SparseViT-T dense')
    assert found == pytest.approx(0.1 / 1.1)
    assert deviation_from_line({}, 'SparseViT-T dense') is None


def test_time_besides_macs_is_where_the_line_meets_zero_macs():
    rows = [
        row('SparseViT-T dense', 101.0, cpu_median=100.0, gmacs=40.0),
        row('SparseViT-T uniform 0.6', 52.0, cpu_median=50.0, gmacs=15.0),
    ]
    (target,) = (target for target in TARGETS if target.what.startswith('time besides MACs'))
    assert target.cpu({'swin 672': dict(rows=rows)}) == '20 of 100 ms'


def test_sparse_heads_are_over_the_dense_model_of_their_form():
    network = 'UPerNet, backbone at cfg2, heads 0.72 / 0 / 0 / 0'
    rows = [row(network, 60.0, form='inference form', cpu_median=50.0, over_dense=0.6666)]
    at_512, at_1024 = (target for target in TARGETS if target.what.startswith('UPerNet'))
    assert at_1024.cpu({'sparse heads': dict(rows=rows)}) is None
    found = at_512.cpu({'sparse heads': dict(rows=rows)})
    assert found == 'inference form, heads 0.72 / 0 / 0 / 0: 0.67'
    assert '| 50 | 0.67 |' in sparse_heads_table({'sparse heads': dict(rows=rows)})


def test_nothing_is_said_about_what_was_not_measured():
    for target in (*SUMMARY, *TARGETS):
        for read in (target.cpu, target.gpu):
            assert read is None or read({}) is None
