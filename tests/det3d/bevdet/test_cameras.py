"""Order, poses and refusals of what is read from MMDetection3D's infos."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
from PIL import Image

pytest.importorskip('mmdet3d')
from sparsevit_mm.det3d.bevdet.cameras import NUSCENES_CAMERAS, CameraRig, LoadCameraImages
from sparsevit_mm.det3d.bevdet.image_augmentation import CameraAugmentation
from sparsevit_mm.errors import ConfigError, DataError
from tests.helpers.ring import ring_info


@pytest.fixture
def info():
    return ring_info(np.random.default_rng(0))


def written(info, folder, names=NUSCENES_CAMERAS):
    info = deepcopy(info)
    for number, name in enumerate(names):
        path = folder / f'{name}.png'
        Image.new('RGB', (40, 20), (number, 0, 200)).save(path)
        info['images'][name]['img_path'] = str(path)
    return info


def test_cameras_come_in_the_order_asked_for_whatever_that_of_the_infos(info, tmp_path):
    info = written(info, tmp_path)
    info['images'] = dict(reversed(info['images'].items()))
    results = LoadCameraImages().transform(deepcopy(info))
    assert [image[0, 0].tolist() for image in results['img']] == [[200, 0, n] for n in range(6)]
    assert [path.rsplit('/')[-1][:-4] for path in results['filename']] == list(NUSCENES_CAMERAS)
    for number, name in enumerate(NUSCENES_CAMERAS):
        np.testing.assert_array_equal(results['cam2img'][number], info['images'][name]['cam2img'])
    two = LoadCameraImages(cameras=('CAM_BACK', 'CAM_FRONT')).transform(deepcopy(info))
    assert [image[0, 0, 2] for image in two['img']] == [4, 1]
    assert two['cam2bev'].shape == (2, 4, 4)
    assert list(two['images']) == ['CAM_BACK', 'CAM_FRONT']


def test_the_map_is_the_lidars_frame(info):
    rig = CameraRig.from_info(info)
    np.testing.assert_array_equal(rig.lidar2bev, np.eye(4))
    for number, name in enumerate(NUSCENES_CAMERAS):
        lidar2cam = np.array(info['images'][name]['lidar2cam'])
        np.testing.assert_allclose(rig.cam2bev[number] @ lidar2cam, np.eye(4), atol=1e-12)


def test_the_map_is_the_vehicles_frame_when_the_front_camera_fired(info):
    rig = CameraRig.from_info(info, bev_frame='ego')
    for number, name in enumerate(NUSCENES_CAMERAS):
        camera = info['images'][name]
        # The made-up infos say where the vehicle truly was when each camera fired.
        front = np.linalg.inv(info['images']['CAM_FRONT']['ego2global'])
        expected = front @ camera['ego2global'] @ np.array(camera['cam2ego'])
        np.testing.assert_allclose(rig.cam2bev[number], expected, atol=1e-9)
    lidar2global = np.array(info['ego2global']) @ info['lidar_points']['lidar2ego']
    np.testing.assert_allclose(rig.lidar2bev, front @ lidar2global, atol=1e-9)
    # Without the compensation it would be off by what the vehicle drove.
    static = info['images']['CAM_BACK']['cam2ego']
    assert np.abs(rig.cam2bev[4] - static).max() > 0.01


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda i: i['images'].pop('CAM_BACK'), 'frame made-up has no camera CAM_BACK, but only'),
        (lambda i: i.pop('images'), 'has no camera CAM_FRONT_LEFT'),
        (
            lambda i: i['images']['CAM_BACK'].update(cam2img=[[0, 0, 1], [0, 9, 2], [0, 0, 1]]),
            'cam2img of CAM_BACK in frame made-up is .* can be inverted',
        ),
        (
            lambda i: i['images']['CAM_BACK'].update(
                cam2img=[[np.nan, 0, 1], [0, 9, 2], [0, 0, 1]]
            ),
            'can be inverted',
        ),
        (
            lambda i: i['images']['CAM_BACK'].update(cam2img=np.ones((3, 4))),
            r'has the shape \(3, 4\), but must have \(3, 3\)',
        ),
        (lambda i: i['images']['CAM_BACK'].pop('lidar2cam'), 'lidar2cam of CAM_BACK .* is missing'),
    ],
)
def test_refuses_a_frame(info, change, message):
    change(info)
    with pytest.raises(DataError, match=message) as error:
        LoadCameraImages().transform(info)
    assert '\n' not in str(error.value)


def test_refuses_broken_images(info, tmp_path):
    info = written(info, tmp_path)
    path = tmp_path / 'CAM_BACK.png'
    content = path.read_bytes()
    path.write_bytes(b'')
    with pytest.raises(ConfigError, match=r'CAM_BACK\.png cannot be read: it is empty'):
        LoadCameraImages().transform(deepcopy(info))
    path.write_bytes(content[:-20])
    with pytest.raises(ConfigError, match=r'CAM_BACK\.png cannot be read: its end is missing'):
        LoadCameraImages().transform(deepcopy(info))
    path.write_bytes(b'no image at all')
    with pytest.raises(ConfigError, match='is not an image'):
        LoadCameraImages().transform(deepcopy(info))
    path.unlink()
    with pytest.raises(ConfigError, match=r'CAM_BACK\.png cannot be read: No such file'):
        LoadCameraImages().transform(deepcopy(info))


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(bev_frame='world'), "bev_frame is 'world'"),
        (dict(cameras=()), r'cameras is \(\)'),
        (dict(cameras=('A', 'A')), 'each once'),
    ],
)
def test_refuses_arguments(options, message):
    with pytest.raises(ConfigError, match=message):
        LoadCameraImages(**options)


def test_homogeneous_intrinsics_are_understood(info):
    expected = CameraRig.from_info(info).cam2img
    for camera in info['images'].values():
        whole = np.eye(4)
        whole[:3, :3] = camera['cam2img']
        camera['cam2img'] = whole.tolist()
    np.testing.assert_array_equal(CameraRig.from_info(info).cam2img, expected)


def test_cameras_of_unequal_resolution_keep_their_own_sizes(info, tmp_path):
    """A wide camera is scaled by its own width, not by that of the widest one, and not padded."""
    info = written(info, tmp_path)
    sizes = [(60 + 20 * number, 40 + 10 * number) for number in range(6)]
    for (width, height), name in zip(sizes, NUSCENES_CAMERAS):
        Image.new('RGB', (width, height), (200, 200, 200)).save(tmp_path / f'{name}.png')
    results = LoadCameraImages().transform(deepcopy(info))
    assert [image.shape for image in results['img']] == [(h, w, 3) for w, h in sizes]
    assert results['ori_shape'] == [(h, w) for w, h in sizes]
    augmented = CameraAugmentation(size=(16, 48), training=False).transform(results)
    for (width, height), image, matrix in zip(sizes, augmented['img'], augmented['img_aug']):
        assert image.shape == (16, 48, 3)
        assert image.min() == 200, 'no pixel is padding'
        # The raw image's width becomes the whole width, its lower edge the lower edge.
        right_bottom = matrix @ [width, height, 1]
        np.testing.assert_allclose(right_bottom[0], 48)
        np.testing.assert_allclose(right_bottom[1], 16, atol=1)
        np.testing.assert_allclose(matrix[0, 0], 48 / width)


def test_numbers_of_images_are_as_before(info, tmp_path):
    info = written(info, tmp_path)
    results = LoadCameraImages(to_float32=True).transform(deepcopy(info))
    assert results['img_shape'] == results['ori_shape'] == results['pad_shape'] == (20, 40)
    assert {image.dtype for image in results['img']} == {np.dtype(np.float32)}
    assert results['num_views'] == 6
    with pytest.raises(ConfigError, match='num_ref_frames is 1, but must be 0'):
        LoadCameraImages(num_ref_frames=1)
