from __future__ import annotations

import numpy as np
import pytest
from mmengine.fileio import load

from sparsevit_mm.det3d.datasets.kitti_infos import (
    CLASSES,
    KittiObject,
    make_infos,
    read_calibration,
    read_labels,
)
from sparsevit_mm.errors import DataError
from tests.helpers.tiny_kitti import SIZE, write_kitti
from tests.tools.conftest import call_tool

LINE = 'Car 0.10 2 1.55 614.24 181.78 727.31 284.77 1.57 1.73 4.15 1.00 1.75 13.22 1.62'
USED = ['Pedestrian', 'Cyclist', 'Car']


def test_label_line():
    car = KittiObject.parse(LINE)
    assert (car.name, car.label, car.truncated, car.occluded) == ('Car', 2, 0.1, 2)
    assert car.size == (4.15, 1.57, 1.73)  # written as height, width, length
    assert car.bottom == (1.0, 1.75, 13.22)
    assert car.center.tolist() == [1.0, 1.75 - 1.57 / 2, 13.22]
    assert (car.rotation_y, car.score) == (1.62, 0)
    assert KittiObject.parse(LINE + ' 0.75').score == 0.75


def test_equals_mmdet3d_converter(tmp_path):
    """What the camera sees is what MMDetection3D's own converter writes."""
    from mmdet3d.datasets.convert_utils import get_kitti_style_2d_boxes

    root = write_kitti(tmp_path)
    make_infos(root, suffix='json')
    compared = 0
    for split, number in (('train', 3), ('val', 2)):
        content = load(root / f'kitti_infos_{split}.json')
        assert len(content['data_list']) == number
        for info in content['data_list']:
            frame = f'{info["sample_idx"]:06d}'
            objects = read_labels(root / 'training' / 'label_2' / f'{frame}.txt')
            matrices = read_calibration(root / 'training' / 'calib' / f'{frame}.txt')
            expected = get_kitti_style_2d_boxes(
                {
                    'image': {'image_idx': frame, 'image_shape': SIZE[::-1]},
                    'calib': {'P2': matrices['P2']},
                },
                annos={
                    'name': np.array([one.name for one in objects]),
                    'occluded': np.array([one.occluded for one in objects]),
                    'location': np.array([one.bottom for one in objects]),
                    'dimensions': np.array([one.size for one in objects]),
                    'rotation_y': np.array([one.rotation_y for one in objects]),
                },
            )
            found = info['cam_instances']['CAM2']
            assert len(found) == len(expected) > 0
            for ours, theirs in zip(found, expected):
                assert set(ours) == set(theirs)
                for key, value in theirs.items():
                    assert ours[key] == pytest.approx(value, rel=1e-5, abs=1e-4), key
                    compared += 1
            camera = info['images']['CAM2']
            assert camera['lidar2img'] == pytest.approx(
                np.array(camera['cam2img']) @ np.array(camera['lidar2cam'])
            )
    assert compared > 100


@pytest.mark.parametrize('suffix', ['pkl', 'json'])
@pytest.mark.parametrize('test_mode', [False, True])
def test_kitti_dataset_reads_them(tmp_path, suffix, test_mode):
    from mmdet3d.datasets import KittiDataset

    root = write_kitti(tmp_path, empty=(1,))
    make_infos(root, suffix=suffix)
    dataset = KittiDataset(
        data_root=str(root),
        ann_file=f'kitti_infos_train.{suffix}',
        data_prefix=dict(img='training/image_2'),
        modality=dict(use_lidar=False, use_camera=True),
        load_type='fov_image_based',
        box_type_3d='Camera',
        metainfo=dict(classes=USED),
        test_mode=test_mode,
    )
    assert len(dataset) == 3
    info = dataset.get_data_info(0)
    annotated = info['eval_ann_info' if test_mode else 'ann_info']
    first = KittiObject.parse(
        (root / 'training' / 'label_2' / '000000.txt').read_text().splitlines()[0]
    )
    boxes = annotated['gt_bboxes_3d']
    row = int((boxes.tensor[:, 0] - first.bottom[0]).abs().argmin())
    assert boxes.tensor[row].tolist() == pytest.approx(
        [*first.bottom, *first.size, first.rotation_y], abs=1e-5
    )
    assert annotated['gt_labels_3d'][row] == USED.index('Car')
    empty = dataset.get_data_info(1)['eval_ann_info' if test_mode else 'ann_info']
    assert len(empty['gt_labels_3d']) == 0
    if not test_mode:
        assert dataset.get_cat_ids(0) == {0, 1, 2}


def test_unlabeled_frames(tmp_path):
    root = write_kitti(tmp_path)
    (root / 'training').rename(root / 'testing')
    (root / 'testing' / 'label_2' / '000003.txt').unlink()
    (root / 'ImageSets' / 'test.txt').write_text('000003\n')
    (written,) = make_infos(root, ['test'], tmp_path / 'out', 'json')
    (info,) = load(written)['data_list']
    assert 'instances' not in info
    assert info['images']['CAM2']['img_path'] == '000003.png'


def spoil(root, name, content):
    path = root / name
    if content is None:
        path.unlink()
    else:
        path.write_text(content)


@pytest.mark.parametrize(
    ('name', 'content', 'message'),
    [
        ('ImageSets/val.txt', None, r'ImageSets.val.txt does not exist'),
        ('training/image_2/000003.png', None, 'no image 000003'),
        ('training/calib/000003.txt', None, 'calib.000003.txt does not exist'),
        ('training/calib/000003.txt', 'P2: 1 2 3\n', 'P2 in .* has 3 numbers'),
        ('training/calib/000003.txt', 'P0: ' + '1 ' * 12, r"has no P2, but only \['P0'\]"),
        ('training/label_2/000003.txt', '\nCar 0 0\n', 'line 2 is no label of KITTI: 3 fields'),
        ('training/label_2/000003.txt', LINE.replace('1.55', 'x'), 'line 1 .* could not convert'),
    ],
)
def test_wrong_files(tmp_path, name, content, message):
    root = write_kitti(tmp_path)
    spoil(root, name, content)
    with pytest.raises(DataError, match=message):
        make_infos(root)
    assert not list(root.glob('*.pkl'))  # not even those of the split that could be read


def test_unknown_suffix(tmp_path):
    with pytest.raises(DataError, match="suffix is 'yml'"):
        make_infos(write_kitti(tmp_path), suffix='yml')


def test_tool(tmp_path, capsys):
    call_tool('make_kitti_infos', write_kitti(tmp_path), '--out-dir', tmp_path / 'out')
    assert 'kitti_infos_train.pkl: 3 frames' in capsys.readouterr().out
    with pytest.raises(SystemExit) as stopped:
        call_tool('make_kitti_infos', tmp_path / 'nowhere')
    assert stopped.value.code != 0


def test_classes_are_mmdet3ds():
    from mmdet3d.datasets import KittiDataset

    assert KittiDataset.METAINFO['classes'] == CLASSES
