"""The whole detector: released sizes, hooks, losses, predictions, frames."""

from __future__ import annotations

import subprocess
import sys
from copy import deepcopy
from types import SimpleNamespace

import numpy as np
import pytest
import torch

pytest.importorskip('mmdet3d')
from mmdet3d.structures import Det3DDataSample, LiDARInstance3DBoxes
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.structures import InstanceData

from sparsevit_mm.det3d.bevdet.cameras import CameraRig
from sparsevit_mm.engine.hooks import SparsityAdaptationHook, WindowPruningHook
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.profiling.cost_report import cost_report
from sparsevit_mm.pruning.prunable import find_prunable_backbone
from tests.helpers.bevdet_networks import (
    RESNET,
    SPARSEVIT,
    SWIN,
    build,
    num_parameters,
    released,
    small,
)
from tests.helpers.boxes import boxes_at
from tests.helpers.ring import pose, ring_info, rotation


@pytest.mark.parametrize(
    ('backbone', 'context', 'parameters'),
    [
        (SWIN, 64, 55_723_451),
        (SPARSEVIT, 64, 55_723_451),
        (RESNET, 64, 47_975_297),
        (RESNET, 80, 55_690_097),
    ],
)
def test_parameters_of_the_released_networks(backbone, context, parameters):
    assert num_parameters(build(released(backbone, context))) == parameters


@pytest.mark.parametrize(('height', 'width'), [(256, 704), (288, 792), (224, 616), (192, 528)])
def test_every_input_of_the_paper_fits(height, width):
    """Also those whose maps are no multiples of each other."""
    model = build(small(size=8)).eval()
    with torch.no_grad():
        features = model.neck(model.backbone(torch.randn(1, 3, height, width)))
    assert features.shape[2:] == (-(-height // 16), -(-width // 16))


def frames(count, seed=0, boxes=6, **rig):
    """A batch as a data loader gives it: two frames of six cameras."""
    rng = np.random.default_rng(seed)
    images, samples = [], []
    for _ in range(count):
        calibration = CameraRig.from_info(ring_info(rng), **rig)
        sample = Det3DDataSample(
            metainfo=dict(
                cam2img=calibration.cam2img,
                cam2bev=calibration.cam2bev,
                lidar2bev=calibration.lidar2bev,
                img_aug=np.tile(np.diag([0.2, 0.2, 1.0]), (6, 1, 1)),
                bev_aug=np.eye(3),
                box_type_3d=LiDARInstance3DBoxes,
            )
        )
        middles = np.column_stack([rng.uniform(-7, 7, (boxes, 2)), rng.uniform(-1, 0, boxes)])
        sample.gt_instances_3d = InstanceData(
            bboxes_3d=boxes_at(middles, rng), labels_3d=torch.tensor(rng.integers(0, 10, boxes))
        )
        images.append(torch.tensor(rng.integers(0, 256, (6, 3, 45, 80), dtype=np.uint8)))
        samples.append(sample)
    return dict(inputs=dict(img=images), data_samples=samples)


def step_data(model, batch):
    return model.data_preprocessor(deepcopy(batch), True)


def test_a_training_step_reaches_every_parameter():
    model = build(small())
    model.init_weights()
    losses = model(**step_data(model, frames(2)), mode='loss')
    assert {f'task{t}.loss_{part}' for t in range(6) for part in ('heatmap', 'bbox')} == set(losses)
    sum(losses.values()).backward()
    without = [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None or not torch.isfinite(parameter.grad).all()
    ]
    assert without == []


def test_frames_of_a_batch_do_not_mix():
    torch.manual_seed(0)
    model = build(small()).eval()
    both = frames(2)
    with torch.no_grad():
        together = model.extract_feat(**_inputs(model, both))
        for number in range(2):
            one = dict(
                inputs=dict(img=both['inputs']['img'][number : number + 1]),
                data_samples=both['data_samples'][number : number + 1],
            )
            alone = model.extract_feat(**_inputs(model, one))
            torch.testing.assert_close(together[number : number + 1], alone, rtol=1e-4, atol=1e-5)


def _inputs(model, batch):
    return model.data_preprocessor(deepcopy(batch), False)


def test_order_of_the_cameras_does_not_matter_if_their_calibration_goes_along():
    torch.manual_seed(0)
    model = build(small()).eval()
    batch = frames(1)
    swapped = deepcopy(batch)
    order = [3, 1, 0, 5, 4, 2]
    swapped['inputs']['img'][0] = swapped['inputs']['img'][0][order]
    meta = swapped['data_samples'][0]
    meta.set_metainfo({key: meta.metainfo[key][order] for key in ('cam2img', 'cam2bev', 'img_aug')})
    with torch.no_grad():
        one, other = (model.extract_feat(**_inputs(model, b)) for b in (batch, swapped))
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_predictions_are_in_the_lidars_frame_whatever_the_maps():
    torch.manual_seed(0)
    model = build(small()).eval()
    model.bbox_head.bbox_coder.score_threshold = 0.0
    batch = frames(1)
    (plain,) = model.test_step(deepcopy(batch))
    assert len(plain.pred_instances_3d) > 100
    # The same cameras in a map that is turned and moved: the same map, so the same boxes in it.
    moved = deepcopy(batch)
    lidar2bev = pose(rotation(0.7), [1.0, -2.0, 0.3])
    moved['data_samples'][0].set_metainfo(dict(lidar2bev=lidar2bev))
    (found,) = model.test_step(moved)
    corners = found.pred_instances_3d.bboxes_3d.corners.double()
    in_map = corners @ torch.tensor(lidar2bev[:3, :3]).T + torch.tensor(lidar2bev[:3, 3])
    torch.testing.assert_close(
        in_map, plain.pred_instances_3d.bboxes_3d.corners.double(), rtol=0, atol=1e-3
    )
    assert torch.equal(found.pred_instances_3d.scores_3d, plain.pred_instances_3d.scores_3d)


def test_pruning_reaches_the_backbone():
    torch.manual_seed(0)
    model = build(small()).eval()
    backbone = find_prunable_backbone(model)
    assert backbone is model.backbone
    batch, kept = _inputs(model, frames(1)), []
    backbone.window_observer = lambda selection: kept.append(selection.num_kept)
    with torch.no_grad():
        dense = model.extract_feat(**batch)
        backbone.pruning_schedule = 0.5
        dense_kept, kept = kept, []
        backbone.window_observer = lambda selection: kept.append(selection.num_kept)
        pruned = model.extract_feat(**batch)
    assert sum(kept) < sum(dense_kept)
    assert not torch.allclose(dense, pruned)

    runner = SimpleNamespace(
        model=model, iter=3, message_hub=MessageHub('bevdet'), cfg=Config(dict(model=dict()))
    )
    WindowPruningHook(schedule=0.3).before_train(runner)
    assert {r for stage in backbone.pruning_schedule.ratios for r in stage} == {0.3}
    SparsityAdaptationHook().before_train_iter(runner, 0)
    assert {r for stage in backbone.pruning_schedule.ratios for r in stage} != {0.3}
    losses = model(**step_data(model, frames(1)), mode='loss')
    assert torch.isfinite(sum(losses.values()))


def test_maps_of_all_tasks_without_boxes_to_learn():
    model = build(small()).eval()
    maps = model(**_inputs(model, frames(1)), mode='tensor')
    assert [of_task[0]['heatmap'].shape[1] for of_task in maps] == [1, 2, 2, 1, 2, 2]
    assert maps[0][0]['reg'].shape == (1, 2, 32, 32)


def test_unknown_velocities_and_no_boxes_give_finite_losses():
    model = build(small())
    batch = frames(2)
    batch['data_samples'][0].gt_instances_3d.bboxes_3d.tensor[:, 7:] = torch.nan
    batch['data_samples'][1].gt_instances_3d = InstanceData(
        bboxes_3d=LiDARInstance3DBoxes(torch.zeros(0, 9), box_dim=9),
        labels_3d=torch.zeros(0, dtype=torch.long),
    )
    losses = model(**step_data(model, batch), mode='loss')
    assert torch.isfinite(sum(losses.values()))


def test_macs_of_a_frame_by_part():
    model = build(small())
    cfg = Config(dict(default_scope='mmdet3d'))
    report = cost_report(model, cfg, 64, 176, batch=6, backbone=model.backbone)
    assert set(report.parts) == {
        'backbone', 'neck', 'view_transform', 'bev_backbone', 'bev_neck', 'bbox_head',
    }  # fmt: skip
    assert report.backbone.macs == pytest.approx(report.parts['backbone'], rel=0.01)
    pixels = 6 * 4 * 11
    convolution, points = pixels * 32 * (59 + 16), pixels * 59 * 3 * 3
    assert report.parts['view_transform'] == pytest.approx(convolution + points, rel=0.01)


def test_refuses_single_images_and_missing_calibration():
    model = build(small()).eval()
    batch = _inputs(model, frames(1))
    with pytest.raises(ConfigError, match=r'the images have the shape \(6, 3, 45, 80\)'):
        model(dict(imgs=batch['inputs']['imgs'][0]), batch['data_samples'], mode='tensor')
    bare = [Det3DDataSample(metainfo=dict(cam2img=np.eye(3)))]
    with pytest.raises(ConfigError, match='the data samples lack cam2bev, img_aug, bev_aug: load'):
        model(batch['inputs'], bare, mode='tensor')


def test_names_are_found_after_their_import_and_the_package_stays_light():
    code = """
import sys
import sparsevit_mm, sparsevit_mm.det3d
from sparsevit_mm.registry import MODELS
assert MODELS.get('SparseViT') and not {'mmcv', 'mmdet', 'mmdet3d'} & set(sys.modules)
from mmengine.config import Config
from mmengine.registry import MODELS, TRANSFORMS, DefaultScope
import sparsevit_mm.det3d.bevdet
with DefaultScope.overwrite_default_scope('mmdet3d'):
    for name in ('BEVDet', 'BEVDetHead', 'LiftSplat', 'FPNLSS', 'OneLevelFPN', 'BEVResNet'):
        assert MODELS.get(f'sparsevit_mm.{name}').__name__ == name
    for name in ('LoadCameraImages', 'CameraAugmentation', 'BEVAugmentation'):
        assert TRANSFORMS.get(f'sparsevit_mm.{name}').__name__ == name
"""
    subprocess.run([sys.executable, '-c', code], check=True, timeout=120)
