"""Figures over seeds, sparse variants against the dense curve, and the page they are printed on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from projects.camvid_study.findings import (
    against_curve,
    against_variant,
    over_seeds,
    seeds_of,
)
from projects.camvid_study.page import tables
from projects.camvid_study.plan import CLASSES, SMALL_CLASSES, VARIANTS
from projects.camvid_study.plot import draw_tradeoff
from projects.markdown import fill_in
from projects.seeds import Statistic
from sparsevit_mm.errors import ConfigError

ROOT = Path(__file__).parents[3]
RESULTS = ROOT / 'projects/camvid_study/results/camvid.json'
PAGE = ROOT / 'docs' / 'evidence_camvid.md'
VARIANT = {variant.key: variant for variant in VARIANTS}
SPARSE = VARIANT['searched-0.5x-finetuned']


def record(iou, macs, milliseconds, small=None):
    found = dict.fromkeys(CLASSES, iou)
    found |= dict.fromkeys(SMALL_CLASSES, iou if small is None else small)
    latency = dict(median=milliseconds, quartiles=[milliseconds, milliseconds])
    schedule = [[0.5, 0.5], [0.0, 0.0], [0.0] * 6, [0.0, 0.0]]
    return dict(
        mIoU=iou, IoU=found, macs=macs, schedule=schedule, backbone_ms=latency, network_ms=latency
    )


@pytest.fixture
def report():
    """Two seeds; dense networks at 10, 20 and 40 ms, a sparse one at 30."""
    return {
        'variants': {
            'dense-at-320-240': {'0': record(30, 1e9, 10), '1': record(32, 1e9, 10)},
            'dense-at-400-300': {'0': record(40, 2e9, 20), '1': record(40, 2e9, 20)},
            'dense-at-480-360': {'0': record(44, 4e9, 40), '1': record(50, 4e9, 40)},
            'searched-0.5x-finetuned': {'0': record(45, 2e9, 30), '1': record(47, 2e9, 30)},
        }
    }


def test_dense_curve_is_interpolated_at_the_cost_of_the_sparse_variant(report):
    at_equal_latency = against_curve(report, SPARSE, 'network_ms', CLASSES)
    assert at_equal_latency.values == pytest.approx((45 - 42, 47 - 45))
    at_equal_macs = against_curve(report, SPARSE, 'macs', CLASSES)
    assert at_equal_macs.values == pytest.approx((5, 7))


def test_nothing_is_extrapolated(report):
    for variant in report['variants']['searched-0.5x-finetuned'].values():
        variant['network_ms'] = dict(median=41.0)
    assert against_curve(report, SPARSE, 'network_ms', CLASSES) is None


def test_seeds_without_a_curve_are_left_out(report):
    del report['variants']['dense-at-320-240']['1']
    assert seeds_of(report, SPARSE, VARIANT['dense-at-320-240']) == ['0']
    assert against_curve(report, SPARSE, 'macs', CLASSES).values == pytest.approx((5, 7))
    del report['variants']['dense-at-400-300']['1']
    assert against_curve(report, SPARSE, 'macs', CLASSES).values == pytest.approx((5,))
    assert len(over_seeds(report, SPARSE, CLASSES).values) == 2
    assert over_seeds(report, VARIANT['uniform-0.5x-finetuned'], CLASSES) is None
    assert against_variant(report, SPARSE, VARIANT['uniform-0.5x-finetuned'], CLASSES) is None


@pytest.mark.parametrize(
    'values, verdict',
    [
        ((2.0, 3.0, 2.5), 'better'),
        ((-2.0, -3.0, -2.5), 'worse'),
        ((2.0, -0.1, 2.0), "within the seeds' spread"),
        ((0.1, 4.0, 0.2), "within the seeds' spread"),
        ((2.0,), 'one seed: no verdict'),
    ],
)
def test_a_difference_must_stand_out_from_the_spread_of_the_seeds(values, verdict):
    assert Statistic(values).verdict == verdict


def test_small_objects_are_scored_alone(report):
    report['variants']['searched-0.5x-finetuned']['0'] = record(45, 2e9, 30, small=1)
    assert over_seeds(report, SPARSE, SMALL_CLASSES).values == (1, 47)


def test_page_is_filled_in_once_and_for_all(report):
    page = (
        'Before\n<!-- variants -->\nold\n<!-- end -->\nbetween\n<!-- claim -->\n<!-- end -->\nafter'
    )
    filled = fill_in(page, tables(report))
    assert 'old' not in filled
    assert tables(report)['variants'] in filled
    assert tables(report)['claim'] in filled
    assert filled.startswith('Before\n')
    assert filled.endswith('\nafter')
    assert fill_in(filled, tables(report)) == filled
    with pytest.raises(ConfigError, match="has a table 'other'"):
        fill_in('<!-- other -->\n<!-- end -->', tables(report))


def test_tables_say_what_was_found(report):
    made = tables(report)
    costs = '1000 | 10.0 ± 0.0 | 10.0 ± 0.0'
    assert (
        f'| dense at 320×240 | 320×240 | {costs} | 31.0 ± 1.4 | 31.0 ± 1.4 | 2 |'
        in made['variants']
    )
    assert 'equal latency of the network | +2.5 ± 0.7 | better |' in made['claim']
    assert 'searched 0.7x, finetuned' not in made['variants']


def test_picture_has_a_panel_for_every_metric_and_cost(report):
    axes = draw_tradeoff(report).axes
    assert len(axes) == 6
    lines = {container.get_label() for container in axes[0].containers}
    assert lines == {'dense, lower resolution', 'searched, finetuned'}


def test_page_says_what_the_results_say():
    page = PAGE.read_text()
    assert fill_in(page, tables(json.loads(RESULTS.read_text()))) == page
