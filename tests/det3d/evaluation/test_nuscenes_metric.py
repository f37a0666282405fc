from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from mmdet3d.structures import CameraInstance3DBoxes, LiDARInstance3DBoxes

from sparsevit_mm.det3d.evaluation import NuScenesDetectionMetric
from sparsevit_mm.errors import ConfigError, DataError
from sparsevit_mm.registry import METRICS
from tests.helpers.random_boxes import disturbed, random_frame

CLASSES = ('pedestrian', 'car', 'barrier')  # another order than that of the infos
CATEGORIES = {'car': 0, 'truck': 1, 'barrier': 2, 'pedestrian': 3}


def rotation(yaw, pitch=0.0):
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]]
    lean = np.eye(4)
    lean[np.ix_([0, 2], [0, 2])] = [[np.cos(pitch), np.sin(pitch)], [-np.sin(pitch), np.cos(pitch)]]
    return turn @ lean


def lidar_infos(rng, frames=6):
    """Infos of frames with random poses, and detections in the LiDAR's frame."""
    infos, detections = [], []
    for number in range(frames):
        truth = random_frame(rng, 30, classes=4, reach=55)
        found = disturbed(rng, truth, spread=0.2, classes=4)
        lidar2ego, ego2global = rotation(-np.pi / 2, 0.02), rotation(rng.uniform(-3, 3), 0.01)
        lidar2ego[:3, 3], ego2global[:3, 3] = [0.9, 0, 1.8], rng.uniform(-500, 500, 3)
        instances = [
            {
                'bbox_3d': [*truth.centers[i], *truth.sizes[i], truth.yaws[i]],
                'bbox_label_3d': int(truth.labels[i]),
                'bbox_3d_isvalid': bool(i % 5),
                'velocity': truth.velocities[i, :2].tolist() if i % 4 else [np.nan, np.nan],
            }
            for i in range(len(truth))
        ]
        infos.append(
            {
                'sample_idx': number,
                'token': f'frame{number}',
                'ego2global': ego2global.tolist(),
                'lidar_points': {'lidar2ego': lidar2ego.tolist()},
                'instances': instances,
            }
        )
        labels = np.array([(1, -1, 2, 0)[label] for label in found.labels])
        rows = np.concatenate(
            [found.centers, found.sizes, found.yaws[:, None], found.velocities[:, :2]], axis=1
        )[labels >= 0]
        detections.append(
            {
                'sample_idx': number,
                'pred_instances_3d': {
                    'bboxes_3d': LiDARInstance3DBoxes(rows, box_dim=9, origin=(0.5, 0.5, 0.5)),
                    'scores_3d': torch.tensor(found.scores[labels >= 0]),
                    'labels_3d': torch.tensor(labels[labels >= 0]),
                },
            }
        )
    return {'metainfo': {'categories': CATEGORIES}, 'data_list': infos}, detections


def written(tmp_path, infos):
    path = tmp_path / 'infos.json'
    path.write_text(json.dumps(infos))
    return str(path)


def scored(metric, samples, classes=CLASSES):
    metric.dataset_meta = {'classes': classes}
    metric.process(None, samples)
    return metric.evaluate(len(samples))


def test_equals_nuscenes_own_path(tmp_path):
    """MMDetection3D's conversion into the world, nuscenes-devkit's matching, the same numbers."""
    algo = pytest.importorskip('nuscenes.eval.detection.algo', reason='no nuscenes-devkit')
    from mmdet3d.evaluation.metrics.nuscenes_metric import (
        lidar_nusc_box_to_global,
        output_to_nusc_box,
    )
    from nuscenes.eval.common.data_classes import EvalBoxes
    from nuscenes.eval.common.utils import center_distance
    from nuscenes.eval.detection.config import config_factory
    from nuscenes.eval.detection.data_classes import DetectionBox

    infos, samples = lidar_infos(np.random.default_rng(3))
    numbers = scored(NuScenesDetectionMetric(written(tmp_path, infos)), samples)

    config = config_factory('detection_cvpr_2019')
    truth, found = EvalBoxes(), EvalBoxes()
    infos_names = list(CATEGORIES)
    for info, sample in zip(infos['data_list'], samples):
        annotated = [
            one
            for one in info['instances']
            if one['bbox_3d_isvalid'] and infos_names[one['bbox_label_3d']] in CLASSES
        ]
        rows = np.array([[*one['bbox_3d'], *one['velocity']] for one in annotated])
        labels = [CLASSES.index(infos_names[one['bbox_label_3d']]) for one in annotated]
        annotated_boxes = {
            'bboxes_3d': LiDARInstance3DBoxes(rows, box_dim=9, origin=(0.5, 0.5, 0.5)),
            'scores_3d': torch.ones(len(rows)),
            'labels_3d': torch.tensor(labels),
        }
        for side, boxes in ((truth, annotated_boxes), (found, sample['pred_instances_3d'])):
            world, _ = output_to_nusc_box(boxes)
            world = lidar_nusc_box_to_global(info, world, CLASSES, config)
            side.add_boxes(
                info['token'],
                [
                    DetectionBox(
                        sample_token=info['token'],
                        translation=tuple(box.center),
                        size=tuple(box.wlh),
                        rotation=tuple(box.orientation.elements),
                        velocity=tuple(box.velocity[:2]),
                        detection_name=CLASSES[box.label],
                        detection_score=float(box.score),
                    )
                    for box in world
                ],
            )
    for name in CLASSES:
        for threshold in (0.5, 1.0, 2.0, 4.0):
            data = algo.accumulate(truth, found, name, center_distance, threshold)
            value = numbers[f'nuscenes/{name}_AP_{threshold}m']
            assert value == pytest.approx(algo.calc_ap(data, 0.1, 0.1), abs=1e-9)
            assert value > 0
            if threshold == 2:
                for ours, theirs in (
                    ('ATE', 'trans_err'),
                    ('ASE', 'scale_err'),
                    ('AOE', 'orient_err'),
                ):
                    expected = algo.calc_tp(data, 0.1, theirs)
                    assert numbers[f'nuscenes/{name}_{ours}'] == pytest.approx(expected, abs=1e-4)
                if name != 'barrier':
                    expected = algo.calc_tp(data, 0.1, 'vel_err')
                    assert numbers[f'nuscenes/{name}_AVE'] == pytest.approx(expected, abs=1e-4)
    assert 'nuscenes/barrier_AVE' not in numbers
    assert 'nuscenes/mAAE' not in numbers  # neither side knows attributes


def camera_infos(rng, cameras=2, frames=3):
    """Infos of images, and samples as `NuScenesDataset` numbers them, all found."""
    infos, samples = [], []
    for number in range(frames):
        info = {'sample_idx': number, 'images': {}, 'cam_instances': {}}
        for camera in range(cameras):
            places = rng.uniform([-10, 0, 5], [10, 2, 45], (6, 3))
            rows = np.concatenate(
                [places, rng.uniform(1, 4, (6, 3)), rng.uniform(-3, 3, (6, 1)), np.zeros((6, 2))], 1
            )
            labels = rng.integers(0, 2, 6)
            # The vehicle's frame: x forward, y left, z up; the second camera looks back.
            cam2ego = np.array([[0, 0, 1, 1.0], [-1, 0, 0, 0], [0, -1, 0, 1.5], [0, 0, 0, 1]])
            cam2ego = rotation(np.pi * camera) @ cam2ego
            name = f'CAM{camera}/{number}.jpg'
            info['images'][f'CAM{camera}'] = {'cam2ego': cam2ego.tolist(), 'img_path': name}
            info['cam_instances'][f'CAM{camera}'] = [
                {
                    'bbox_3d': rows[i, :7].tolist(),
                    'bbox_label_3d': int(labels[i]),
                    'velocity': [0.0, 0.0],
                    'attr_label': int(i),
                }
                for i in range(6)
            ]
            samples.append(
                {
                    'sample_idx': len(samples),
                    'img_path': f'data/{name}',
                    'pred_instances_3d': {
                        'bboxes_3d': CameraInstance3DBoxes(rows, box_dim=9, origin=(0.5, 0.5, 0.5)),
                        'scores_3d': torch.rand(6),
                        'labels_3d': torch.tensor(labels),
                        'attr_labels': torch.arange(6),
                    },
                }
            )
        infos.append(info)
    return {'metainfo': {'categories': {'car': 0, 'pedestrian': 1}}, 'data_list': infos}, samples


def test_cameras_images_by_infos(tmp_path):
    infos, samples = camera_infos(np.random.default_rng(0))
    metric = NuScenesDetectionMetric(written(tmp_path, infos), 'mv_image_based')
    numbers = scored(metric, samples, ('car', 'pedestrian'))
    assert numbers['nuscenes/NDS'] == pytest.approx(1, abs=1e-4)
    assert numbers['nuscenes/mAAE'] == 0
    # Boxes of one camera in the other's frame are found nowhere.
    first, second = samples[0]['pred_instances_3d'], samples[1]['pred_instances_3d']
    samples[0]['pred_instances_3d'], samples[1]['pred_instances_3d'] = second, first
    metric = NuScenesDetectionMetric(written(tmp_path, infos), 'mv_image_based')
    mixed = scored(metric, samples, ('car', 'pedestrian'))
    assert mixed['nuscenes/mAP'] < 0.9


@pytest.mark.parametrize('kind', [CameraInstance3DBoxes, LiDARInstance3DBoxes])
def test_ground_truth_of_data_samples(kind):
    rows = np.array([[1.0, 1, 20, 4, 1.5, 2, 0.3], [20, 3, 1, 4, 2, 1.5, 0.3]])
    rows = rows[[0 if kind is CameraInstance3DBoxes else 1]]
    boxes = kind(rows, origin=(0.5, 0.5, 0.5))
    moved = kind(rows + np.array([0, 0, 0.6, 0, 0, 0, 0]), origin=(0.5, 0.5, 0.5))
    sample = {
        'eval_ann_info': {'gt_bboxes_3d': boxes, 'gt_labels_3d': np.array([1])},
        'pred_instances_3d': {
            'bboxes_3d': moved,
            'scores_3d': torch.ones(1),
            'labels_3d': torch.ones(1, dtype=torch.long),
        },
    }
    numbers = scored(NuScenesDetectionMetric(), [sample])
    # The third axis is a camera's depth, but a LiDAR's height, which does not count.
    in_camera = kind is CameraInstance3DBoxes
    assert numbers['nuscenes/car_AP_0.5m'] == pytest.approx(0 if in_camera else 1)
    assert numbers['nuscenes/car_ATE'] == pytest.approx(0.6 if in_camera else 0, abs=1e-5)
    assert 'nuscenes/mAVE' not in numbers
    assert 'nuscenes/pedestrian_AP' not in numbers


def test_class_range_is_measured_from_the_vehicle(tmp_path):
    infos, samples = camera_infos(np.random.default_rng(0))
    path = written(tmp_path, infos)
    near = NuScenesDetectionMetric(path, 'mv_image_based', class_range={'car': 0.1})
    numbers = scored(near, samples, ('car', 'pedestrian'))
    assert 'nuscenes/car_AP' not in numbers
    assert numbers['nuscenes/pedestrian_AP'] == pytest.approx(1)


def test_nothing_detected():
    empty = {
        'bboxes_3d': LiDARInstance3DBoxes(torch.zeros(0, 7)),
        'scores_3d': torch.zeros(0),
        'labels_3d': torch.zeros(0, dtype=torch.long),
    }
    truth = {
        'gt_bboxes_3d': LiDARInstance3DBoxes(torch.ones(2, 7)),
        'gt_labels_3d': np.array([0, -1]),
        'attr_labels': np.array([3, 8]),
    }
    numbers = scored(
        NuScenesDetectionMetric(), [{'pred_instances_3d': empty, 'eval_ann_info': truth}]
    )
    assert numbers['nuscenes/NDS'] == 0
    assert numbers['nuscenes/mATE'] == 1
    # Nothing annotated either.
    truth = {
        'gt_bboxes_3d': LiDARInstance3DBoxes(torch.zeros(0, 7)),
        'gt_labels_3d': np.zeros(0),
        'attr_labels': np.array(0),
    }
    numbers = scored(
        NuScenesDetectionMetric(), [{'pred_instances_3d': empty, 'eval_ann_info': truth}]
    )
    assert numbers == {'nuscenes/mAP': 0, 'nuscenes/NDS': 0}


@pytest.mark.parametrize('place', [2, 6])  # another frame's image; none
def test_infos_of_another_data_set(tmp_path, place):
    infos, samples = camera_infos(np.random.default_rng(0))
    samples[0]['sample_idx'] = place
    metric = NuScenesDetectionMetric(written(tmp_path, infos), 'mv_image_based')
    with pytest.raises(DataError, match=f'sample_idx {place} '):
        scored(metric, samples, ('car', 'pedestrian'))


@pytest.mark.parametrize('load_type', ['mv_image_based', 'frame_based'])
def test_a_part_of_the_samples_is_judged_as_a_file_of_its_own(tmp_path, load_type):
    """Samples of a part are numbered anew, so their images tell them apart."""
    infos, samples = camera_infos(np.random.default_rng(0), frames=5)
    if load_type == 'mv_image_based':
        chosen = samples[2:4] + samples[8:]
    else:
        frames, samples = lidar_infos(np.random.default_rng(3))
        for info, of_images, sample in zip(infos['data_list'], frames['data_list'], samples):
            info.update(of_images)
            sample['img_path'] = [f'data/{one["img_path"]}' for one in info['images'].values()]
        infos['metainfo'], chosen = frames['metainfo'], [samples[1], samples[4]]
    part = {**infos, 'data_list': [infos['data_list'][1], infos['data_list'][4]]}
    for number, sample in enumerate(chosen):
        sample['sample_idx'] = number
    (tmp_path / 'part').mkdir()
    own_file = NuScenesDetectionMetric(written(tmp_path / 'part', part), load_type)
    expected = scored(own_file, chosen)
    assert 0 < expected['nuscenes/NDS'] < 1
    path = written(tmp_path, infos)
    assert scored(NuScenesDetectionMetric(path, load_type, is_whole=False), chosen) == expected
    chosen[0]['img_path'] = None
    with pytest.raises(DataError, match='0 samples of .* have the images None of a data sample'):
        scored(NuScenesDetectionMetric(path, load_type, is_whole=False), chosen)


def test_refusals():
    with pytest.raises(ConfigError, match='load_type'):
        NuScenesDetectionMetric(load_type='fov_image_based')
    _, samples = camera_infos(np.random.default_rng(0), frames=1)
    with pytest.raises(DataError, match='eval_ann_info'):
        scored(NuScenesDetectionMetric(), samples)


def test_built_by_name():
    assert METRICS.build({'type': 'sparsevit_mm.NuScenesDetectionMetric'})
