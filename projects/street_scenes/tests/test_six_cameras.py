"""Six cameras around a vehicle: boxes in the LiDAR's frame are where every camera shows things."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope

from projects.street_scenes.dataset import SPLITS, visible_things
from projects.street_scenes.nuscenes_infos import CATEGORIES, NUSCENES_NAMES
from projects.street_scenes.render import render
from projects.street_scenes.six_cameras import SixCameraSettings, make_six_camera_dataset
from projects.street_scenes.surroundings import CAMERA_NAMES, sample_surroundings
from sparsevit_mm.errors import ConfigError

pytest.importorskip('mmdet3d')
from mmdet3d.datasets import NuScenesDataset
from mmdet3d.datasets.transforms import LoadMultiViewImageFromFiles
from mmdet3d.structures import points_cam2img

SETTINGS = SixCameraSettings(training=2, validation=1, width=128, height=64, seed=3)
CLASSES = ('car', 'pedestrian')


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp('data') / 'six'
    assert make_six_camera_dataset(root, SETTINGS, workers=2)
    return root


@pytest.fixture(scope='module')
def drawn():
    """Scenes and renderings of the first training frame, by camera."""
    scenes = SETTINGS.scenes('training', 0)
    return scenes, {name: render(scene) for name, scene in scenes.items()}


@pytest.fixture(autouse=True)
def scope():
    with DefaultScope.overwrite_default_scope('mmdet3d'):
        yield


def load(root, split='training', load_type='frame_based', box_type='LiDAR', **options):
    return NuScenesDataset(
        data_root=str(root),
        ann_file=f'annotations/nuscenes_infos_{split}.json',
        data_prefix={name: f'samples/{name}' for name in CAMERA_NAMES},
        load_type=load_type,
        box_type_3d=box_type,
        modality=dict(use_camera=True, use_lidar=False),
        metainfo=dict(classes=CLASSES),
        **options,
    )


def labeled_things(drawn):
    """Numbers of the things that some camera sees well enough and that nuScenes has a class for."""
    seen = {n for name in CAMERA_NAMES for n in visible_things(drawn[0][name], drawn[1][name])}
    objects = drawn[0]['CAM_FRONT'].objects
    return [number for number in sorted(seen) if objects[number].category in NUSCENES_NAMES]


def test_stock_data_set_reads_frames_boxes_and_pictures(root):
    for split, count in zip(SPLITS, (2, 1)):
        dataset = load(root, split, use_valid_flag=True)
        assert len(dataset) == count
        for number in range(count):
            info = dataset.get_data_info(number)
            assert tuple(info['images']) == CAMERA_NAMES
            boxes = info['ann_info']['gt_bboxes_3d']
            assert len(boxes) > 5
            assert boxes.tensor.shape[1] == 9
            assert set(info['ann_info']['gt_labels_3d']) <= {0, 1}
            loaded = LoadMultiViewImageFromFiles(num_views=6)(info)
            assert {image.shape for image in loaded['img']} == {(64, 128, 3)}
    assert len(load(root, use_valid_flag=False)) == 2, 'points are counted, too'


def test_boxes_stand_on_the_ground_all_around_the_vehicle(root):
    boxes = [load(root).get_data_info(n)['ann_info']['gt_bboxes_3d'] for n in range(2)]
    for one in boxes:
        np.testing.assert_allclose(one.bottom_height, -1.84, atol=0.15)
        x, y = one.gravity_center[:, 0], one.gravity_center[:, 1]
        assert (y > 3).any() and (y < -3).any(), 'ahead (y in the frame of a LiDAR) and behind'
        assert (x > 1.5).any() and (x < -1.5).any()


@pytest.mark.parametrize('name', CAMERA_NAMES)
def test_projected_boxes_hold_what_the_camera_shows(root, drawn, name):
    """LiDAR to camera to pixels, as a detector of six cameras does it."""
    rendering = drawn[1][name]
    info = load(root).get_data_info(0)
    camera, boxes = info['images'][name], info['ann_info']['gt_bboxes_3d']
    to_camera = torch.tensor(camera['lidar2cam'])
    corners = boxes.corners @ to_camera[:3, :3].T + to_camera[:3, 3]
    pixels = points_cam2img(corners.reshape(-1, 3), torch.tensor(camera['cam2img']))
    pixels = pixels.reshape(-1, 8, 2).numpy()
    labeled = labeled_things(drawn)
    assert len(labeled) == len(boxes)
    checked = 0
    for number, outline, depths in zip(labeled, pixels, corners[..., 2]):
        rows, cols = np.nonzero(rendering.object_ids == number)
        if len(rows) and (depths > 0.1).all():
            left, top = outline.min(0)
            right, bottom = outline.max(0)
            assert left - 0.51 <= cols.min() and cols.max() + 1 <= right + 0.51
            assert top - 0.51 <= rows.min() and rows.max() + 1 <= bottom + 0.51
            checked += 1
        elif (depths < 0).all():
            assert not len(rows), 'it is behind this camera'
    assert checked > 0


def test_what_a_camera_shows_lies_inside_the_boxes(root, drawn):
    """Pixels with their depths, taken back into the LiDAR's frame, in all three axes."""
    info = load(root).get_data_info(0)
    boxes = info['ann_info']['gt_bboxes_3d']
    scenes, renderings = drawn
    labeled = labeled_things(drawn)
    parts = (boxes.gravity_center.numpy(), boxes.dims.numpy(), boxes.yaw.numpy())
    cameras_of = dict.fromkeys(labeled, 0)
    for name in CAMERA_NAMES:
        rendering, camera = renderings[name], info['images'][name]
        to_lidar = np.linalg.inv(np.array(camera['lidar2cam']))
        to_ray = np.linalg.inv(np.array(camera['cam2img']))
        for number, center, size, turn in zip(labeled, *parts):
            rows, cols = np.nonzero(rendering.object_ids == number)
            if not len(rows):
                continue
            cameras_of[number] += 1
            pixels = np.stack([cols + 0.5, rows + 0.5, np.ones(len(rows))], 1)
            seen = (pixels @ to_ray.T) * rendering.depth[rows, cols, None]
            points = seen @ to_lidar[:3, :3].T + to_lidar[:3, 3]
            offset = points - center
            along = offset[:, 0] * np.cos(turn) + offset[:, 1] * np.sin(turn)
            across = offset[:, 1] * np.cos(turn) - offset[:, 0] * np.sin(turn)
            inside = np.abs(np.stack([along, across, offset[:, 2]], 1)) <= size / 2 + 0.03
            assert inside.all()
    assert min(cameras_of.values()) > 0
    assert max(cameras_of.values()) > 1, 'neighboring cameras overlap'


def test_each_camera_is_a_data_set_of_its_own(root):
    dataset = load(root, load_type='mv_image_based', box_type='Camera', use_valid_flag=True)
    assert len(dataset) == 6 * 2
    for number in range(6):
        info = dataset.get_data_info(number)
        (camera,) = info['images'].values()
        boxes = info['ann_info']['gt_bboxes_3d']
        middles = points_cam2img(boxes.gravity_center, torch.tensor(camera['cam2img']))
        np.testing.assert_allclose(middles, info['ann_info']['centers_2d'], atol=0.01)


def test_equal_settings_are_not_made_again(root, tmp_path):
    assert not make_six_camera_dataset(root, SETTINGS)
    infos = json.loads((root / 'annotations' / 'nuscenes_infos_training.json').read_text())
    assert infos['metainfo']['categories'] == {name: i for i, name in enumerate(CATEGORIES)}
    names = [i['img_path'] for f in infos['data_list'] for i in f['images'].values()]
    assert len(set(names)) == len(names), 'a calibration is found by the name of a picture'
    (tmp_path / 'thesis.txt').write_text('all of it')
    with pytest.raises(ConfigError, match='no demo data set'):
        make_six_camera_dataset(tmp_path, SETTINGS)


def test_things_do_not_stand_inside_each_other_or_in_the_vehicle():
    for seed in range(6):
        _, objects = sample_surroundings(np.random.default_rng(seed))
        cars = [thing.box for thing in objects if thing.category == 'car']
        outlines = [box.corners()[:, :2] for box in cars]
        for number, first in enumerate(outlines):
            lowest, highest = first.min(0), first.max(0)
            assert not (
                lowest[0] < 4 and highest[0] > -1 and lowest[1] < 0.9 and highest[1] > -0.9
            ), cars[number]
            for second in outlines[number + 1 :]:
                apart = (second.min(0) > highest - 0.3) | (second.max(0) < lowest + 0.3)
                assert apart.any()
