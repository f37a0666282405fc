"""The sweep of sparse heads tells what came of a config, and counts it."""

import pytest
from mmengine.config import Config

from benchmarks.head_sweep import BACKBONE, counts, try_heads
from benchmarks.swap_sweep import plan, shipped_configs
from sparsevit_mm.apis.configs import register_framework


@pytest.mark.parametrize(
    'name, outcome, words',
    [
        ('fcos_r50-caffe_fpn_gn-head_1x_coco.py', 'applied', ''),
        ('deformable-detr_r50_16xb2-50e_coco.py', 'refused', 'attends to whole maps'),
    ],
)
def test_a_config_is_applied_or_refused_with_the_reason(name, outcome, words):
    register_framework(Config(dict(default_scope='mmdet')))
    (path,) = (path for path in shipped_configs('mmdet') if path.name == name)
    found = try_heads(plan('mmdet', path, BACKBONE)[1])
    assert found['outcome'] == outcome and words in found.get('reason', '')


def test_groups_and_their_configs_are_counted():
    report = dict(
        configs={'a': 'mmdet 1', 'b': 'mmdet 1', 'c': 'mmdet 2', 'd': 'no swap: refused'},
        runs={'mmdet 1': dict(outcome='applied'), 'mmdet 2': dict(outcome='refused', reason='x')},
    )
    assert counts(report) == dict(
        groups=dict(applied=1, refused=1),
        configs={'applied': 2, 'refused': 1, 'no swap: refused': 1},
    )
