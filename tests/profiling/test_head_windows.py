"""The windows of necks and heads, counted and told."""

from __future__ import annotations

import io

import pytest
import torch
from mmengine.config import Config
from rich.console import Console

from sparsevit_mm.models.sparse_heads import make_heads_sparse
from sparsevit_mm.profiling.cost_report import cost_report, cost_table
from sparsevit_mm.profiling.head_windows import head_convolutions
from sparsevit_mm.profiling.model_macs import model_macs
from tests.helpers.head_networks import detector, segmentor, two_stage

NETWORKS = {
    'UPerNet': (segmentor, (0.6, 0.3, 0, 0), (0.8, 0.5, 0, 0)),
    'RetinaNet': (detector, (0, 0.5, 0.5, 0), (0, 0.75, 0.3, 0)),
    'Faster R-CNN': (two_stage, (0.6, 0.5, 0, 0), (0.3, 0.7, 0, 0)),
}
SIDES = (150, 224)


def counted(model, ratios):
    model.backbone.pruning_schedule = dict(ratios=0.0, head_ratios=ratios)
    images = torch.rand(1, 3, *SIDES)

    def run():
        maps = model.extract_feat(images)
        name = next(n for n in ('rpn_head', 'bbox_head', 'decode_head') if hasattr(model, n))
        getattr(model, name)(maps)

    windows = sum(c.kept * c.calls * c.window_macs for c in head_convolutions(model, *SIDES))
    return model_macs(model, run).total, windows


@pytest.mark.parametrize('name', NETWORKS)
def test_the_windows_are_all_that_differs_between_ratios(name):
    build, first, second = NETWORKS[name]
    model = make_heads_sparse(build().eval())
    (macs, windows), (other_macs, other_windows) = counted(model, first), counted(model, second)
    assert macs - other_macs == windows - other_windows != 0


def test_a_dense_model_has_no_windows():
    assert head_convolutions(segmentor(), 64, 64) == ()
    model = make_heads_sparse(segmentor())
    assert all(conv.kept == conv.total for conv in head_convolutions(model, 64, 64))


def test_names_stages_and_windows():
    model = make_heads_sparse(detector(), (0, 0.5, 0, 0))
    found = {(conv.name, conv.stage): conv for conv in head_convolutions(model, 224, 448)}
    conv = found['neck.fpn_convs.0.conv', 1]
    assert (conv.kept, conv.total, conv.calls) == (16, 32, 1)
    assert conv.window_macs == 49 * 9 * 16 * 16
    assert found['bbox_head.retina_cls', 2].kept == found['bbox_head.retina_cls', 2].total == 8


@pytest.mark.parametrize(
    'build, head, ratios',
    [(two_stage, 'rpn_head', (0.7, 0.5, 0, 0)), (detector, 'bbox_head', (0, 0.7, 0.5, 0))],
)
def test_the_report_has_the_dense_cost_beside_it_and_each_part_its_own(build, head, ratios):
    model = make_heads_sparse(build().eval(), ratios)
    cfg = Config(dict(default_scope='mmdet'))
    report = cost_report(model, cfg, *SIDES, backbone=model.backbone)
    assert sum(report.parts.values()) == report.macs
    assert report.parts['neck'] < report.dense_parts['neck']
    assert report.parts[head] < report.dense_parts[head]
    model.backbone.pruning_schedule = 0.0
    dense = cost_report(model, cfg, *SIDES, backbone=model.backbone)
    assert report.dense_parts == dense.parts == dense.dense_parts
    text = io.StringIO()
    Console(file=text, width=120).print(cost_table(report))
    assert f'neck and head at stage {int(ratios[0] == 0)}' in text.getvalue()
