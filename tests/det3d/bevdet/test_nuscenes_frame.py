"""One real key frame of nuScenes, where SPARSEVIT_MM_DATA names a folder with nuscenes_frame.

It holds what MMDetection3D's demo ships: six images, a LiDAR sweep and the infos of one frame.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip('mmdet3d')
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, METRICS, DefaultScope

from sparsevit_mm.apis.configs import load_config
from sparsevit_mm.det3d.bevdet.cameras import NUSCENES_CAMERAS, CameraRig
from sparsevit_mm.det3d.bevdet.detector import calibration_of
from sparsevit_mm.det3d.bevdet.lift_splat import BEVGrid, frustum, unproject
from tests.helpers.bevdet_networks import CLASSES, build, small

ROOT = Path(__file__).parents[3]
FOLDER = Path(os.environ.get('SPARSEVIT_MM_DATA', 'nowhere')) / 'nuscenes_frame'
CONFIG = ROOT / 'configs/sparsevit/nuscenes/bevdet_swin-t-p4-w7_8xb8-cyclic-20e_nus-3d-256x704.py'

pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(), reason='SPARSEVIT_MM_DATA names no folder with nuscenes_frame'
)


@pytest.fixture(autouse=True)
def scope():
    with DefaultScope.overwrite_default_scope('mmdet3d'):
        yield


def frame_data(split, **changes):
    """The frame as the shipped config reads nuScenes, images in one folder."""
    cfg = load_config(str(CONFIG))
    loader = cfg.train_dataloader.dataset if split == 'train' else cfg.val_dataloader
    dataset = loader.dataset
    (infos,) = FOLDER.glob('*.pkl')
    dataset.update(
        data_root=str(FOLDER),
        ann_file=infos.name,
        data_prefix=dict.fromkeys(NUSCENES_CAMERAS, ''),
    )
    for step in dataset.pipeline:
        if step.type in changes:
            step.update(changes[step.type])
    return DATASETS.build(dataset)


STILL = {
    'sparsevit_mm.BEVAugmentation': dict(max_degrees=0, scale=(1, 1), flip_x_prob=0, flip_y_prob=0)
}


def unaugmented(size, bev_frame='lidar'):
    return {
        **STILL,
        'sparsevit_mm.LoadCameraImages': dict(bev_frame=bev_frame),
        'sparsevit_mm.CameraAugmentation': dict(size=size, training=False),
    }


def test_what_the_config_reads():
    sample = frame_data('train', **unaugmented((256, 704)))[0]['data_samples']
    # 69 are annotated; valid ones of the map's range and the model's classes stay.
    assert len(sample.gt_instances_3d.labels_3d) == 50
    info = frame_data('val').get_data_info(0)
    names = [info['images'][name]['img_path'] for name in NUSCENES_CAMERAS]
    assert sample.img_path == names
    assert sample.cam2img.shape == (6, 3, 3)


@pytest.mark.parametrize('bev_frame', ['lidar', 'ego'])
def test_annotated_boxes_land_in_their_cells_from_every_camera(bev_frame):
    """Pixels of annotated middles, lifted at their depth, fall into the cells of the targets."""
    sample = frame_data('train', **unaugmented((256, 704), bev_frame))[0]['data_samples']
    info = frame_data('val').get_data_info(0)
    middles = torch.tensor([thing['bbox_3d'][:3] for thing in info['instances']]).double()
    to_bev = torch.tensor(sample.lidar2bev)
    in_bev = middles @ to_bev[:3, :3].T + to_bev[:3, 3]
    calibration = calibration_of([sample], 'cpu')
    grid = BEVGrid(x=(-80, 80, 0.8), y=(-80, 80, 0.8), z=(-10, 10, 20))
    expected, _ = grid.locate(in_bev)
    seen = torch.zeros(len(middles), dtype=torch.int)
    for number, name in enumerate(NUSCENES_CAMERAS):
        lidar2cam = torch.tensor(info['images'][name]['lidar2cam']).double()
        in_camera = middles @ lidar2cam[:3, :3].T + lidar2cam[:3, 3]
        raw = in_camera @ calibration.cam2img[0, number].T
        pixels = raw / raw[:, 2:] @ calibration.img_aug[0, number].T
        inside = (in_camera[:, 2] > 0) & (pixels[:, :2] >= 0).all(1)
        inside &= (pixels[:, :2] < torch.tensor([704, 256])).all(1)
        pixels[:, 2] = in_camera[:, 2]
        points = unproject(pixels[inside], calibration)[0, number]
        torch.testing.assert_close(points, in_bev[inside], rtol=0, atol=1e-4)
        cells, there = grid.locate(points)
        assert there.all()
        # A rounding error may take a middle over an edge, which 1e-4 m seldom does.
        assert (cells == expected[inside]).all(1).float().mean() > 0.98
        seen[inside] += 1
    assert (seen > 0).sum() > 50


def test_frustum_covers_what_is_annotated():
    """Every cell with a valid box in some camera's image is reached by some point."""
    sample = frame_data('train', **unaugmented((256, 704)))[0]['data_samples']
    pixels = frustum(torch.arange(1.0, 60.0, dtype=torch.float64), 16, 44, 16)
    points = unproject(pixels, calibration_of([sample], 'cpu')).flatten(0, -2)[:, :2]
    middles = sample.gt_instances_3d.bboxes_3d.gravity_center[:, :2].double()
    assert (torch.cdist(middles, points).amin(dim=1) < 1.2).float().mean() > 0.95


def test_the_ego_frame_is_compensated_for_motion():
    """The infos' static poses are up to 0.4 m off what the cameras saw."""
    info = frame_data('val').get_data_info(0)
    rig = CameraRig.from_info(info, bev_frame='ego')
    static = np.array([info['images'][name]['cam2ego'] for name in NUSCENES_CAMERAS])
    off = np.linalg.norm(rig.cam2bev[:, :3, 3] - static[:, :3, 3], axis=1)
    assert off[1] < 1e-9  # CAM_FRONT defines the frame
    assert 0.05 < off.max() < 1


def test_results_are_formatted_for_nuscenes(tmp_path):
    torch.manual_seed(0)
    model = build(small(size=51.2)).eval()
    model.bbox_head.bbox_coder.score_threshold = 0.0
    data = frame_data('val', **{'sparsevit_mm.CameraAugmentation': dict(size=(64, 176))})
    with torch.no_grad():
        (sample,) = model.test_step(pseudo_collate([data[0]]))
    (infos,) = FOLDER.glob('*.pkl')
    metric = METRICS.build(
        dict(
            type='NuScenesMetric',
            data_root=str(FOLDER),
            ann_file=str(infos),
            format_only=True,
            modality=dict(use_camera=True, use_lidar=False),
            jsonfile_prefix=str(tmp_path / 'results'),
        )
    )
    metric.dataset_meta = data.metainfo
    metric.process({}, [sample.to_dict()])
    metric.evaluate(1)
    (path,) = tmp_path.rglob('*.json')
    results = json.loads(path.read_text())
    assert results['meta'] == dict(use_camera=True, use_lidar=False)
    ((token, boxes),) = results['results'].items()
    assert token == data.get_data_info(0)['token']
    assert 0 < len(boxes) <= 500
    assert {box['detection_name'] for box in boxes} <= set(CLASSES)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_learns_the_frame_by_heart():
    """From scratch, with a small network: its objects are found within 2 m."""
    torch.manual_seed(0)
    size = (128, 352)
    model = build(small(size=51.2, cells=64))
    model.init_weights()
    data = frame_data('train', **unaugmented(size))[0]
    batch = pseudo_collate([data])
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.01)
    steps = 400
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    model.train()
    for step in range(steps):
        inputs = model.data_preprocessor(batch, True)
        losses = model(**inputs, mode='loss')
        optimizer.zero_grad()
        loss = sum(losses.values())
        loss.backward()
        if step % 40 == 0:
            print(f'step {step}: loss {float(loss):.2f}')
        torch.nn.utils.clip_grad_norm_(model.parameters(), 35)
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        (sample,) = model.eval().test_step(batch)
    truth, found = data['data_samples'].gt_instances_3d, sample.pred_instances_3d
    found = found[found.scores_3d > 0.3]
    distances = torch.cdist(
        truth.bboxes_3d.gravity_center[:, :2], found.bboxes_3d.gravity_center[:, :2]
    )
    distances[truth.labels_3d[:, None] != found.labels_3d] = torch.inf
    hit = distances.amin(dim=1) < 2
    right = distances.amin(dim=0) < 2
    print(f'{int(hit.sum())} of {len(hit)} objects found, {int(right.sum())} of {len(right)} right')
    assert hit.float().mean() > 0.9
    assert right.float().mean() > 0.9
