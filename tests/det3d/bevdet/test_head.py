"""The head against MMDetection3D's, and what it does otherwise."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch

pytest.importorskip('mmdet3d')
from mmdet3d.models.dense_heads import CenterHead
from mmdet3d.structures import LiDARInstance3DBoxes
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import InstanceData

from sparsevit_mm.det3d.bevdet.head import BEVDetHead
from sparsevit_mm.errors import ConfigError
from tests.helpers.bevdet_networks import TEST_CFG, small

META = dict(box_type_3d=LiDARInstance3DBoxes)


@pytest.fixture(autouse=True)
def scope():
    with DefaultScope.overwrite_default_scope('mmdet3d'):
        yield


def head_cfg(test_cfg, kind='sparsevit_mm.BEVDetHead'):
    cfg = small()
    return dict(cfg['bbox_head'], type=kind, train_cfg=cfg['train_cfg'], test_cfg=test_cfg)


def build(test_cfg=TEST_CFG, kind='sparsevit_mm.BEVDetHead'):
    return MODELS.build(deepcopy(head_cfg(test_cfg, kind)))


def random_maps(head, seed=0, low=-3.0):
    """Maps of a bold network: every task finds something."""
    torch.manual_seed(seed)
    sizes = dict(reg=2, height=1, dim=3, rot=2, vel=2)
    found = []
    for classes in head.num_classes:
        maps = {name: torch.randn(2, channels, 32, 32) for name, channels in sizes.items()}
        maps['reg'] = maps['reg'].sigmoid()
        maps['dim'] = maps['dim'] * 0.3
        maps['heatmap'] = torch.randn(2, classes, 32, 32) + low
        found.append([maps])
    return found


@pytest.mark.parametrize(('nms_type', 'low'), [('rotate', -4.5), ('circle', -3.0)])
def test_equals_centerhead_where_all_tasks_are_suppressed_alike(nms_type, low):
    test_cfg = dict(
        TEST_CFG,
        nms_type=nms_type,
        nms_thr=0.2,
        nms_rescale_factor=None,
        score_threshold=0.1,
        post_center_limit_range=[-61.2, -61.2, -10.0, 61.2, 61.2, 10.0],
    )
    mine, theirs = build(test_cfg), build(test_cfg, 'CenterHead')
    assert type(theirs) is CenterHead
    maps = random_maps(mine, low=low)
    expected = theirs.predict_by_feat(deepcopy(maps), [META] * 2)
    found = mine.predict_by_feat(deepcopy(maps), [META] * 2)
    for one, other in zip(found, expected):
        assert 100 < len(one) < 6 * 83
        assert torch.equal(one.bboxes_3d.tensor, other.bboxes_3d.tensor)
        assert torch.equal(one.scores_3d, other.scores_3d)
        assert torch.equal(one.labels_3d, other.labels_3d.long())


def suppressed(head, task, boxes, scores, labels):
    table = torch.tensor(boxes)
    return head._suppress(
        task, table, torch.tensor(scores), torch.tensor(labels), LiDARInstance3DBoxes
    ).tolist()


def row(x, y, size, yaw=0.0):
    return [x, y, 0, *size, yaw, 0, 0]


def test_scale_nms_reaches_things_that_do_not_touch():
    """Two pedestrians 1 m apart: one too many, once their sizes are multiplied by 4.5."""
    people = [row(5, 5, (0.7, 0.7, 1.7)), row(6, 5, (0.7, 0.7, 1.7)), row(7.3, 5, (0.7, 0.7, 1.7))]
    scores = [0.8, 0.9, 0.5]
    assert suppressed(build(), 5, people, scores, [0, 0, 0]) == [1, 2]
    plain = build(dict(TEST_CFG, nms_rescale_factor=None))
    assert suppressed(plain, 5, people, scores, [0, 0, 0]) == [1, 0, 2]
    # A traffic cone of the same task has the factor 9.
    cones = [row(5, 5, (0.4, 0.4, 1.0)), row(6, 5, (0.4, 0.4, 1.0))]
    assert suppressed(build(), 5, cones, [0.8, 0.9], [1, 1]) == [1]
    assert suppressed(build(), 5, cones, [0.8, 0.9], [0, 0]) == [1, 0]


def test_circle_nms_of_barriers_goes_by_distance():
    boxes = [row(5, 5, (2, 0.5, 1)), row(5.9, 5, (2, 0.5, 1)), row(6.2, 5, (2, 0.5, 1))]
    assert suppressed(build(), 3, boxes, [0.9, 0.8, 0.7], [0, 0, 0]) == [0, 2]


def test_no_more_than_the_evaluator_takes():
    head = build()
    found = head.predict_by_feat(random_maps(head, low=2.0), [META] * 2)
    assert all(len(instances) <= 498 for instances in found)
    assert max(len(instances) for instances in found) > 300


def test_sizes_come_out_unscaled_and_bottoms_below_middles():
    head = build()
    maps = random_maps(head, low=-9.0)
    for [of_task] in maps:
        of_task['heatmap'][0, 0, 10, 20] = 3.0
    found = head.predict_by_feat(deepcopy(maps), [META] * 2)[0]
    assert found.labels_3d.tolist() == [0, 1, 3, 5, 6, 8]
    for number, [of_task] in enumerate(maps):
        at = {name: part[0, :, 10, 20] for name, part in of_task.items()}
        table = found.bboxes_3d.tensor[number]
        torch.testing.assert_close(table[3:6], at['dim'].exp())
        torch.testing.assert_close(found.bboxes_3d.gravity_center[number, 2:], at['height'])
        torch.testing.assert_close(table[0], (20 + at['reg'][0]) * 0.5 - 8)  # columns are x
        torch.testing.assert_close(table[1], (10 + at['reg'][1]) * 0.5 - 8)  # rows are y
        torch.testing.assert_close(table[7:], at['vel'])


def test_finds_nothing_quietly():
    head = build()
    for instances in head.predict_by_feat(random_maps(head, low=-20.0), [META] * 2):
        assert instances.bboxes_3d.tensor.shape == (0, 9)
        assert len(instances.scores_3d) == len(instances.labels_3d) == 0


def test_loss_without_boxes_and_in_half_precision():
    head = build()
    none = InstanceData(
        bboxes_3d=LiDARInstance3DBoxes(torch.zeros(0, 9), box_dim=9),
        labels_3d=torch.zeros(0, dtype=torch.long),
    )
    bev = torch.randn(1, 32, 32, 32)
    losses = head.loss_by_feat(head([bev]), [none])
    assert all(torch.isfinite(value) for value in losses.values())
    with torch.autocast('cpu', torch.bfloat16):
        maps = head([bev])
    assert {part.dtype for [of_task] in maps for part in of_task.values()} == {torch.float32}


@pytest.mark.parametrize(
    ('changed', 'message'),
    [
        (dict(nms_type='round'), 'nms_type is round'),
        (dict(nms_thr=[0.2, 0.5]), r'nms_thr is \[0\.2, 0\.5\], .* each of the 6 tasks'),
        (dict(nms_rescale_factor=[[1.0]] * 6), 'a factor for every class'),
    ],
)
def test_refuses(changed, message):
    with pytest.raises(ConfigError, match=message):
        build(dict(TEST_CFG, **changed))


def test_trains_without_a_test_cfg():
    assert isinstance(build(None), BEVDetHead)


def test_heatmaps_begin_at_their_bias():
    """Few cells hold anything; MMDetection3D's own head does not reach its tasks' layers."""
    head = build()
    head.init_weights()
    for task in head.task_heads:
        assert (task.heatmap[-1].bias == -2.19).all()


def test_boxes_without_velocity_train_like_boxes_that_stand_still():
    head = build()
    rows = torch.tensor(
        [[1.0, 2.0, -1.0, 4.0, 2.0, 1.5, 0.3], [-5.0, 3.0, -1.0, 1.0, 1.0, 1.8, 1.0]]
    )
    targets = []
    for table in (rows, torch.cat([rows, torch.zeros(2, 2)], dim=1)):
        boxes = LiDARInstance3DBoxes(table, box_dim=table.shape[1])
        instances = InstanceData(bboxes_3d=boxes, labels_3d=torch.tensor([0, 0]))
        targets.append(head.get_targets([instances]))
    for without, still in zip(*targets):
        for a, b in zip(without, still):
            torch.testing.assert_close(a, b)
