"""The rows of the table, what they cost, and what is said about them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from mmengine.registry import DefaultScope
from rich.console import Console

from projects.street_scenes.comparison import (
    Result,
    above_lower_resolution,
    comparison_table,
    list_candidates,
    model_costs,
    model_latency,
    size_at_equal_macs,
    verdict,
)
from projects.street_scenes.dataset import WideSettings, make_dataset
from projects.street_scenes.demo import CANDIDATES
from sparsevit_mm import PruningSchedule
from sparsevit_mm.apis.configs import load_config, register_framework
from sparsevit_mm.checks.configs import build_model
from sparsevit_mm.models.swin_arch import SwinArch
from sparsevit_mm.profiling import backbone_macs
from sparsevit_mm.profiling.latency import Latency
from sparsevit_mm.pruning.prunable import find_prunable_backbone

ARCH = SwinArch(embed_dims=12, depths=(2, 2), num_heads=(1, 2))
CONFIG = str(
    Path(__file__).parents[1]
    / 'configs/mask-rcnn_sparsevit-mini-heads_fpn_adaptation_demo-wide-448x896.py'
)
TINY_IMAGES = {
    'train_dataloader.dataset.pipeline.2.scale': (224, 112),
    'train_dataloader.dataset.pipeline.3.crop_size': (56, 112),
    'val_dataloader.dataset.pipeline.1.scale': (224, 112),
    'test_dataloader.dataset.pipeline.1.scale': (224, 112),
}


@pytest.mark.parametrize('ratios', [0.3, [[0.6], [0.7]]])
def test_a_smaller_image_costs_as_much_as_skipped_windows(ratios):
    schedule, dense = PruningSchedule.parse(ratios, (2, 2)), PruningSchedule.dense((2, 2))
    width, height = size_at_equal_macs(ARCH, schedule, 448, 224)
    assert width < 448
    assert height == width / 2
    budget = backbone_macs(ARCH, schedule, 224, 448).total
    found = backbone_macs(ARCH, dense, height, width).total
    assert found == pytest.approx(budget, rel=0.1)
    others = [backbone_macs(ARCH, dense, w // 2, w).total for w in range(24, 448, 8)]
    assert min(abs(macs - budget) for macs in others) == abs(found - budget)


def test_rows_of_the_demo_are_schedules():
    rows = list_candidates((2, 2, 2, 2), CANDIDATES)
    assert rows[0].schedule == PruningSchedule.dense((2, 2, 2, 2))
    assert [row.schedule.scale for row in rows if row.schedule.is_dense] == [1, 0.85, 0.7, 0.5]
    sparse = [row for row in rows if not row.schedule.is_dense]
    assert all(row.schedule.scale == 1 for row in sparse)
    assert sparse[-1].schedule.head_ratios == (0.7, 0.7, 0, 0)
    assert len({row.key for row in rows}) == len(rows)


@pytest.fixture(scope='module')
def demo_model(tmp_path_factory):
    """The demo's model and config, on tiny scenes."""
    root = tmp_path_factory.mktemp('data') / 'scenes'
    settings = WideSettings(training=1, validation=2, width=224, height=112, shorter=1)
    make_dataset(root, settings, workers=1)
    loaders = ('train_dataloader', 'val_dataloader', 'test_dataloader')
    roots = {f'{loader}.dataset.data_root': f'{root}/' for loader in loaders}
    cfg = load_config(CONFIG, {**TINY_IMAGES, **roots})
    register_framework(cfg)
    with DefaultScope.overwrite_default_scope('mmdet'):
        return build_model(cfg).eval(), cfg


def test_costs_are_those_of_the_whole_model(demo_model):
    model, cfg = demo_model
    own = find_prunable_backbone(model).pruning_schedule
    rows = list_candidates((2, 2, 2, 2), CANDIDATES)
    found = dict(zip(CANDIDATES, model_costs(model, cfg, rows)))
    assert found['dense'][0] == found['backbone skips 50%'][0] == (224, 112)
    assert found['dense, 0.5×'][0] == (112, 56)
    dense, half = found['dense'][1], found['backbone skips 50%'][1]
    assert found['backbone, FPN, RPN 70%'][1] < found['backbone skips 70%'][1] < half < dense
    arch, schedule = find_prunable_backbone(model).arch, rows[0].schedule
    # Images are padded to multiples of 32.
    saved = backbone_macs(arch, schedule, 128, 224).total
    saved -= backbone_macs(arch, PruningSchedule.parse(0.5, (2, 2, 2, 2)), 128, 224).total
    assert dense - half == pytest.approx(saved / 1e9, rel=1e-6)
    assert find_prunable_backbone(model).pruning_schedule == own


def test_latency_runs_each_schedule_at_its_size_and_puts_the_own_one_back(demo_model):
    model, cfg = demo_model
    backbone = find_prunable_backbone(model)
    own, seen = backbone.pruning_schedule, set()
    backbone.window_observer = lambda selection: seen.add((selection.stage, selection.num_kept))
    fields = {'dense': {}, 'small': {'scale': 0.5}, 'half': {'ratios': [0.5, 0.0, 0.0, 0.0]}}
    rows, rounds = list_candidates((2, 2, 2, 2), fields), []
    found = model_latency(
        model, cfg, rows, range(2), runs=2, progress=lambda *round: rounds.append(round)
    )
    assert rounds == [(number, 4) for number in range(1, 5)]
    backbone.window_observer = None
    # Padded to 128 x 224 and 64 x 128 pixels, the first maps have 5 x 8 and 3 x 5 windows.
    assert {kept for stage, kept in seen if stage == 0} == {40, 15, 20}
    assert [len(latency.runs) for latency in found] == [2, 2, 2]
    assert backbone.pruning_schedule == own


def result(name, ms, box_ap, **fields):
    (candidate,) = list_candidates((2, 2), {name: fields})
    return Result(candidate, (896, 448), ms / 10, Latency((ms,)), box_ap, box_ap - 2)


DENSE = [
    result('dense', 400, 30),
    result('dense, 0.7×', 200, 26, scale=0.7),
    result('dense, 0.5×', 100, 18, scale=0.5),
]


@pytest.mark.parametrize(
    'box_ap, says',
    [
        (29, 'pay here at equal time of the model. The best row, "half", saves 25% of the time of '
             'the whole model and loses 1.0 points of box AP; a smaller image that saves as much '
             'loses 2.0 points of box AP.'),
        (27, 'do not pay here at equal time of the model. The best row, "half", saves 25% of the '
             'time of the whole model and loses 3.0 points of box AP; a smaller image that saves '
             'as much loses 2.0 points of box AP.'),
    ],
)  # fmt: skip
def test_the_verdict_is_that_of_the_numbers(box_ap, says):
    results = [
        *DENSE,
        result('worse', 300, 20, ratios=0.7),
        result('half', 300, box_ap, ratios=0.5),
    ]
    assert above_lower_resolution(results[-1], results) == pytest.approx(box_ap - 28)
    assert f'Skipped windows {says}' in verdict(results)


@pytest.mark.parametrize(
    'full_ap, why',
    [
        (30, 'it computes 75% of the MACs in 75% of the time, and "dense, 0.7×" 50% of the MACs in '
             '50% of the time.'),
        (25, '"dense, 0.7×" is the best of the dense rows, so the full resolution'),
    ],
)  # fmt: skip
def test_the_verdict_says_why_skipping_does_not_pay(full_ap, why):
    full, *smaller = DENSE
    results = [replace(full, box_ap=full_ap), *smaller, result('half', 300, 20, ratios=0.5)]
    assert f'Why: {why}' in verdict(results)
    results[-1] = result('half', 300, 40, ratios=0.5)
    assert 'Why' not in verdict(results)


@pytest.mark.parametrize('ms, why', [(401, 'none is faster than'), (99, 'no dense row is as fast')])
def test_nothing_is_said_beyond_the_dense_rows(ms, why):
    results = [*DENSE, result('half', ms, 40, ratios=0.5)]
    assert above_lower_resolution(results[-1], results) is None
    assert why in verdict(results)


def test_table_fits_a_terminal_and_compares_at_equal_time():
    results = [*DENSE, result('backbone, FPN, RPN 70%', 300, 29.26, ratios=0.5)]
    console = Console(width=80)
    with console.capture() as text:
        console.print(comparison_table(results))
    lines = text.get().splitlines()
    assert all(len(line) <= 80 for line in lines)
    (row,) = [line for line in lines if 'FPN' in line]
    cells = [cell.strip() for cell in row.strip('│').split('│')]
    assert cells == ['backbone, FPN, RPN 70%', '896×448', '30.0', '300', '29.3', '27.3', '+1.3']
