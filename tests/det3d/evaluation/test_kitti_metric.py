from __future__ import annotations

import numpy as np
import pytest
import torch
from mmdet3d.structures import CameraInstance3DBoxes, LiDARInstance3DBoxes
from mmengine.fileio import load

from sparsevit_mm.det3d.datasets.kitti_infos import make_infos
from sparsevit_mm.det3d.evaluation import KittiAPMetric
from sparsevit_mm.det3d.evaluation.kitti_ap import DIFFICULTIES
from sparsevit_mm.errors import ConfigError, DataError
from sparsevit_mm.registry import METRICS
from tests.helpers.tiny_kitti import write_kitti

CLASSES = ('Pedestrian', 'Cyclist', 'Car')
INFOS_LABELS = {2: 2, 0: 0, 1: 1}  # of Car, Pedestrian and Cyclist


@pytest.fixture
def infos(tmp_path):
    root = write_kitti(tmp_path, {'val': range(9)})
    (path,) = make_infos(root, ['val'])
    return str(path)


def right_detections(infos, offset=0.0):
    """All annotated objects, `offset` meters too high."""
    samples = []
    for place, info in enumerate(load(infos)['data_list']):
        known = [one for one in info['instances'] if one['bbox_label'] in INFOS_LABELS]
        rows = torch.tensor([one['bbox_3d'] for one in known])
        rows[:, 1] -= offset
        samples.append(
            {
                'sample_idx': place,
                'img_path': f'data/{info["images"]["CAM2"]["img_path"]}',
                'pred_instances_3d': {
                    'bboxes_3d': CameraInstance3DBoxes(rows),
                    'scores_3d': torch.rand(len(rows)),
                    'labels_3d': torch.tensor([INFOS_LABELS[one['bbox_label']] for one in known]),
                },
            }
        )
    return samples


def scored(infos, samples, classes=CLASSES):
    metric = KittiAPMetric(infos)
    metric.dataset_meta = {'classes': classes}
    metric.process(None, samples)
    return metric.evaluate(len(samples))


def test_right_detections(infos):
    numbers = scored(infos, right_detections(infos))
    # 54 cars, all easy, and 9 of the others, which reach 9 of 41 steps.
    assert numbers['KITTI/Car_3D_AP40_easy_strict'] == 100
    assert numbers['KITTI/Car_BEV_AP11_moderate_loose'] == 100
    assert numbers['KITTI/Cyclist_3D_AP40_moderate_strict'] == pytest.approx(100 * 8 / 40)
    assert numbers['KITTI/Pedestrian_BEV_AP11_hard_loose'] == pytest.approx(100 * 3 / 11)
    mean = (100 + 20 + 20) / 3
    assert numbers['KITTI/Overall_3D_AP40_moderate'] == pytest.approx(mean)
    names = {f'KITTI/Car_2D_AP40_{difficulty}_strict' for difficulty in DIFFICULTIES}
    assert names <= set(numbers)
    assert 'KITTI/Car_2D_AP40_easy_loose' not in numbers


def test_detections_too_high(infos):
    numbers = scored(infos, right_detections(infos, offset=0.6))
    assert numbers['KITTI/Car_3D_AP40_easy_strict'] == 0
    assert numbers['KITTI/Car_BEV_AP40_easy_strict'] == 100


def test_boxes_in_the_image(infos, monkeypatch):
    """The rectangle of a detection is that of its corners, cut off at the image's border."""
    from mmdet3d.structures import points_cam2img

    from sparsevit_mm.det3d.evaluation import kitti_metric

    seen = []
    monkeypatch.setattr(
        kitti_metric, 'ClassComparison', lambda truth, found, kind: seen.append(found) or Nothing()
    )
    samples = right_detections(infos)
    scored(infos, samples)
    (first, *_), image = seen[0], load(infos)['data_list'][0]['images']['CAM2']
    boxes = samples[0]['pred_instances_3d']['bboxes_3d']
    points = points_cam2img(boxes.corners, torch.tensor(image['cam2img'])).numpy()
    expected = np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1)
    expected = expected.clip(0, [image['width'], image['height']] * 2)
    inside = (expected[:, 2:] > expected[:, :2]).all(axis=1) & (
        boxes.corners[..., 2].min(1)[0] > 1
    ).numpy()
    assert 4 < inside.sum() <= len(first)
    for rectangle in expected[inside]:
        assert np.abs(first.boxes_2d - rectangle).max(axis=1).min() < 1e-3


class Nothing:
    def precision(self, *_):
        return np.zeros(41)


def test_detections_out_of_sight_are_left_out(infos):
    samples = right_detections(infos)
    for sample in samples:
        found = sample['pred_instances_3d']
        found['bboxes_3d'].tensor[:, 0] += 1000
    assert scored(infos, samples)['KITTI/Car_BEV_AP40_hard_loose'] == 0


def test_nothing_detected(infos):
    samples = right_detections(infos)
    for sample in samples:
        sample['pred_instances_3d'] = {
            'bboxes_3d': CameraInstance3DBoxes(torch.zeros(0, 7)),
            'scores_3d': torch.zeros(0),
            'labels_3d': torch.zeros(0, dtype=torch.long),
        }
    assert set(scored(infos, samples).values()) == {0}


def test_refusals(infos):
    samples = right_detections(infos)
    with pytest.raises(ConfigError, match="'Tram'"):
        scored(infos, samples, (*CLASSES, 'Tram'))
    samples[0]['img_path'] = 'data/000007.png'
    with pytest.raises(DataError, match='sample_idx 0 and img_path'):
        scored(infos, samples)
    samples[0]['pred_instances_3d']['bboxes_3d'] = LiDARInstance3DBoxes(torch.zeros(1, 7))
    with pytest.raises(DataError, match='LiDARInstance3DBoxes'):
        scored(infos, samples)


def test_built_by_name():
    assert METRICS.build({'type': 'sparsevit_mm.KittiAPMetric', 'ann_file': 'infos.pkl'})
