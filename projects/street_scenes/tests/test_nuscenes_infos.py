"""3D boxes: what MMDetection3D reads from the files is where the scene and its masks are."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope

from projects.street_scenes.dataset import SPLITS, DemoSettings, make_dataset, visible_things
from projects.street_scenes.nuscenes_infos import CATEGORIES, NUSCENES_NAMES
from projects.street_scenes.render import render

pytest.importorskip('mmdet3d')
from mmdet3d.datasets import NuScenesDataset
from mmdet3d.structures import points_cam2img, points_img2cam

SETTINGS = DemoSettings(training=4, validation=2, width=224, height=112, seed=5)
CLASSES = ('car', 'pedestrian')


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp('data') / 'demo'
    make_dataset(root, SETTINGS, workers=2)
    return root


@pytest.fixture(autouse=True)
def scope():
    with DefaultScope.overwrite_default_scope('mmdet3d'):
        yield


def load(root, split='training', **options):
    return NuScenesDataset(
        data_root=str(root),
        ann_file=f'annotations/nuscenes_infos_{split}.json',
        data_prefix=dict(CAM_FRONT=f'images/{split}'),
        load_type='mv_image_based',
        box_type_3d='Camera',
        modality=dict(use_camera=True, use_lidar=False),
        use_valid_flag=True,
        metainfo=dict(classes=CLASSES),
        **options,
    )


def frames(root, split='training'):
    """Calibration, 3D boxes and labels of a split's frames as MMDetection3D has them."""
    dataset = load(root, split)
    for number in range(len(dataset)):
        info = dataset.get_data_info(number)
        cam2img = torch.tensor(info['images']['CAM_FRONT']['cam2img'])
        yield cam2img, info['ann_info']['gt_bboxes_3d'], info['ann_info']


def test_projected_corners_are_the_boxes_in_the_image_and_hold_the_masks(root):
    """A mask ends half a pixel beyond its last pixel's center, and a center lies in the box."""
    tightness = []
    for split in SPLITS:
        coco = json.loads((root / 'annotations' / f'instances_{split}.json').read_text())
        for number, (cam2img, boxes, ann_info) in enumerate(frames(root, split)):
            corners = points_cam2img(boxes.corners.reshape(-1, 3), cam2img).reshape(-1, 8, 2)
            size = torch.tensor([SETTINGS.width, SETTINGS.height])
            low = corners.amin(1).clamp(min=0)
            high = torch.minimum(corners.amax(1), size)
            np.testing.assert_allclose(torch.cat([low, high], 1), ann_info['gt_bboxes'], atol=0.01)
            masks = [a for a in coco['annotations'] if a['image_id'] == number]
            masks = [mask for mask in masks if mask['category_id'] < 3]  # signs have no 3D boxes
            assert len(masks) == len(boxes)
            for mask, (left, top), (right, bottom) in zip(masks, low.tolist(), high.tolist()):
                x, y, width, height = mask['bbox']
                assert left - 0.51 <= x
                assert top - 0.51 <= y
                assert x + width <= right + 0.51
                assert y + height <= bottom + 0.51
                if mask['category_id'] == 1:
                    tightness.append(width * height / ((right - left) * (bottom - top)))
    assert np.median(tightness) > 0.8


def test_visible_points_lie_in_the_boxes(root):
    """Pixels and depths, taken back through the calibration, end up inside in all three axes."""
    checked = 0
    for number, (cam2img, boxes, _) in enumerate(frames(root)):
        scene = SETTINGS.scene('training', number)
        rendering = render(scene)
        things = [
            thing
            for thing in visible_things(scene, rendering)
            if scene.objects[thing].category in NUSCENES_NAMES
        ]
        for thing, box in zip(things, boxes.tensor.double()):
            rows, cols = np.nonzero(rendering.object_ids == thing)
            pixels = np.stack([cols + 0.5, rows + 0.5, rendering.depth[rows, cols]], 1)
            points = points_img2cam(torch.from_numpy(pixels), cam2img.double()) - box[:3]
            along = points[:, 0] * box[6].cos() - points[:, 2] * box[6].sin()
            across = points[:, 0] * box[6].sin() + points[:, 2] * box[6].cos()
            assert (along.abs() <= box[3] / 2 + 0.02).all()
            assert (across.abs() <= box[5] / 2 + 0.02).all()
            assert (points[:, 1] <= 0.02).all()  # the box's origin is the middle of its bottom
            assert (points[:, 1] >= -box[4] - 0.02).all()
            checked += 1
    assert checked > 10


def test_middles_depths_and_labels(root):
    for cam2img, boxes, ann_info in frames(root):
        middles = points_cam2img(boxes.gravity_center, cam2img, with_depth=True)
        np.testing.assert_allclose(middles[:, :2], ann_info['centers_2d'], atol=0.01)
        np.testing.assert_allclose(middles[:, 2], ann_info['depths'], rtol=1e-5)
        assert set(ann_info['gt_labels_3d']) <= {0, 1}
        people = ann_info['gt_labels_3d'] == 1
        assert (boxes.tensor[people, 4] > 1.4).all(), 'people are tall'
        assert (boxes.tensor[~people, 3] > 3.5).all(), 'cars are long'
        assert set(ann_info['attr_labels']) <= {3, 6}


def test_calibration_leads_from_the_vehicle_into_the_image(root):
    info = json.loads((root / 'annotations' / 'nuscenes_infos_validation.json').read_text())
    assert info['metainfo']['categories'] == {name: i for i, name in enumerate(CATEGORIES)}
    assert tuple(NuScenesDataset.METAINFO['classes']) == CATEGORIES
    for number, frame in enumerate(info['data_list']):
        scene = SETTINGS.scene('validation', number)
        corners = np.concatenate([thing.box.corners() for thing in scene.objects[-30:]])
        image = frame['images']['CAM_FRONT']
        to_camera = np.array(image['lidar2cam'])
        np.testing.assert_allclose(np.array(image['cam2ego']) @ to_camera, np.eye(4), atol=1e-12)
        in_camera = corners @ to_camera[:3, :3].T + to_camera[:3, 3]
        projected = in_camera @ np.array(image['cam2img']).T
        pixels, depth = scene.camera.project(corners)
        np.testing.assert_allclose(projected[:, 2], depth, atol=1e-9)
        ahead = depth > 0
        np.testing.assert_allclose(
            projected[ahead, :2] / depth[ahead, None], pixels[ahead] + 0.5, atol=1e-6
        )


def test_mirrored_boxes_stay_on_the_mirrored_objects(root):
    """MMDetection3D's own flip: centers agree with the flipped calibration to a third of a pixel,
    because it does not know of a camera's pitch.
    """
    steps = [
        dict(type='LoadImageFromFileMono3D'),
        dict(
            type='LoadAnnotations3D',
            with_bbox=True,
            with_label=True,
            with_attr_label=True,
            with_bbox_3d=True,
            with_label_3d=True,
            with_bbox_depth=True,
        ),
        dict(type='RandomFlip3D', flip_ratio_bev_horizontal=1.0),
    ]
    dataset = load(root, pipeline=copy.deepcopy(steps), filter_empty_gt=False)
    for number in range(len(dataset)):
        flipped = dataset.pipeline(
            dict(
                dataset.get_data_info(number),
                box_type_3d=dataset.box_type_3d,
                box_mode_3d=dataset.box_mode_3d,
            )
        )
        assert flipped['flip']
        cam2img = torch.tensor(np.array(flipped['cam2img']), dtype=torch.float32)
        middles = points_cam2img(flipped['gt_bboxes_3d'].gravity_center, cam2img)
        np.testing.assert_allclose(middles, flipped['centers_2d'], atol=0.35)


def test_frames_without_things_are_empty(root):
    infos = json.loads((root / 'annotations' / 'nuscenes_infos_training.json').read_text())
    infos['data_list'][0]['cam_instances']['CAM_FRONT'] = []
    path = root / 'annotations' / 'nuscenes_infos_empty.json'
    path.write_text(json.dumps(infos))
    dataset = load(root, 'training', test_mode=True)
    assert len(dataset) == 4
