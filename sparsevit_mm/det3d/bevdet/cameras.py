"""Loads the images of the cameras around a vehicle, in a fixed order, with their calibration.

Fields read from MMDetection3D's info files (version 2): `images[camera]` with `img_path`, `cam2img`
and `lidar2cam`; for the ego frame also `cam2ego` of one camera.

`lidar2cam` includes the vehicle's motion between the times of the LiDAR and of the camera, some
milliseconds apart; composing `cam2ego` and `lidar2ego` would leave that out (up to 0.4 m on
nuScenes). The vehicle's pose when a camera fired is therefore
ego2global · lidar2ego · lidar2cam⁻¹ · cam2ego⁻¹.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import mmcv
import numpy as np
from mmdet3d.datasets.transforms import LoadMultiViewImageFromFiles
from mmengine.fileio import get
from numpy.typing import NDArray

from sparsevit_mm.checks.images import check_complete
from sparsevit_mm.errors import ConfigError, DataError
from sparsevit_mm.registry import TRANSFORMS

NUSCENES_CAMERAS = (
    'CAM_FRONT_LEFT',
    'CAM_FRONT',
    'CAM_FRONT_RIGHT',
    'CAM_BACK_LEFT',
    'CAM_BACK',
    'CAM_BACK_RIGHT',
)
"""Cameras of nuScenes in the order of BEVDet's authors."""

FRAMES = ('lidar', 'ego')


@dataclass(frozen=True)
class CameraRig:
    """Calibration of the N cameras of a frame.

    Attributes:
        cam2img: (N, 3, 3) projections into pixels of the raw images.
        cam2bev: (N, 4, 4) poses of the cameras in the map's frame, each when it fired, meters.
        lidar2bev: (4, 4) from the LiDAR's frame, which annotated boxes are in, to the map's.
    """

    cam2img: NDArray[np.float64]
    cam2bev: NDArray[np.float64]
    lidar2bev: NDArray[np.float64]

    @classmethod
    def from_info(
        cls,
        info: Mapping[str, Any],
        cameras: Sequence[str] = NUSCENES_CAMERAS,
        bev_frame: str = 'lidar',
        ego_camera: str = 'CAM_FRONT',
    ) -> CameraRig:
        """Reads the calibration of a frame.

        Args:
            info: MMDetection3D's info of the frame.
            cameras: Names of the cameras, in the order of the result.
            bev_frame: Frame of the map: 'lidar', or 'ego' for the vehicle's frame at the time when
                `ego_camera` fired.
            ego_camera: Camera whose time defines the ego frame.

        Raises:
            ConfigError: If `bev_frame` is unknown.
            DataError: If a camera or one of its matrices is missing, or a matrix is not invertible.
        """
        if bev_frame not in FRAMES:
            raise ConfigError(f'bev_frame is {bev_frame!r}, but must be one of {FRAMES}.')
        lidar2cam = {name: _matrix(info, name, 'lidar2cam', 4) for name in cameras}
        lidar2bev = np.eye(4)
        if bev_frame == 'ego':
            # (vehicle's pose when the camera fired)⁻¹ · ego2global · lidar2ego, see the module.
            lidar2bev = _matrix(info, ego_camera, 'cam2ego', 4) @ _matrix(
                info, ego_camera, 'lidar2cam', 4
            )
        return cls(
            np.stack([_matrix(info, name, 'cam2img', 3) for name in cameras]),
            np.stack([lidar2bev @ np.linalg.inv(lidar2cam[name]) for name in cameras]),
            lidar2bev,
        )


@TRANSFORMS.register_module()
class LoadCameraImages(LoadMultiViewImageFromFiles):
    """Loads the images of all cameras in a fixed order, with their calibration.

    Extends MMDetection3D's `LoadMultiViewImageFromFiles`. Adds the keys `cam2img` (N, 3, 3),
    `cam2bev` (N, 4, 4), `lidar2bev` (4, 4), `img_aug` (N, 3, 3) and `bev_aug` (3, 3), see
    `Calibration`. Every image keeps its own size, where MMDetection3D pads all to the largest:
    `img_shape`, `ori_shape` and `pad_shape` are lists of sizes where they differ. Broken images and
    wrong calibration stop the run with an error that names them.

    Args:
        cameras: Names of the cameras in the info files, in the order of the images.
        bev_frame: Frame of the map, 'lidar' or 'ego', see `CameraRig.from_info`.
        ego_camera: Camera whose time defines the ego frame.
        color_type: As in `LoadMultiViewImageFromFiles`.
        **loading: Further arguments of `LoadMultiViewImageFromFiles`.

    Raises:
        ConfigError: If `cameras` is empty or has repeats, `bev_frame` is unknown, or earlier frames
            are asked for.
    """

    def __init__(
        self,
        cameras: Sequence[str] = NUSCENES_CAMERAS,
        bev_frame: str = 'lidar',
        ego_camera: str = 'CAM_FRONT',
        color_type: str = 'color',
        **loading: Any,
    ) -> None:
        super().__init__(color_type=color_type, num_views=len(cameras), **loading)
        if not cameras or len(set(cameras)) < len(cameras):
            raise ConfigError(
                f'cameras is {tuple(cameras)}, but must name at least one, and each once.'
            )
        if bev_frame not in FRAMES:
            raise ConfigError(f'bev_frame is {bev_frame!r}, but must be one of {FRAMES}.')
        if self.num_ref_frames > 0:
            raise ConfigError(
                f'num_ref_frames is {self.num_ref_frames}, but must be 0: one frame is loaded.'
            )
        self.cameras = tuple(cameras)
        self.bev_frame = bev_frame
        self.ego_camera = ego_camera

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Loads a frame.

        Raises:
            ConfigError: If an image is missing or broken.
            DataError: If a camera is missing or its calibration is wrong.
        """
        rig = CameraRig.from_info(results, self.cameras, self.bev_frame, self.ego_camera)
        results['images'] = {name: results['images'][name] for name in self.cameras}
        paths = [str(camera['img_path']) for camera in results['images'].values()]
        if self.backend_args is None:  # reading twice from anywhere else would cost too much
            for path in paths:
                check_complete(path)
        images = [self._read(path) for path in paths]
        sizes = [image.shape[:2] for image in images]
        size = sizes[0] if len(set(sizes)) == 1 else sizes
        results.update(filename=paths, img=images, num_views=self.num_views)
        results.update(img_shape=size, ori_shape=size, pad_shape=size)
        if self.set_default_scale:
            results['scale_factor'] = 1.0
        results['lidar2cam'] = [camera['lidar2cam'] for camera in results['images'].values()]
        results['ori_cam2img'] = [camera['cam2img'] for camera in results['images'].values()]
        results['cam2img'], results['cam2bev'] = rig.cam2img, rig.cam2bev
        results['lidar2bev'] = rig.lidar2bev
        results['img_aug'] = np.tile(np.eye(3), (len(self.cameras), 1, 1))
        results['bev_aug'] = np.eye(3)
        return results

    def _read(self, path: str) -> NDArray[Any]:
        image = mmcv.imfrombytes(get(path, backend_args=self.backend_args), flag=self.color_type)
        if image is None:
            raise ConfigError(f'the image {path} cannot be read: it is not an image.')
        return image.astype(np.float32) if self.to_float32 else image


def _matrix(info: Mapping[str, Any], camera: str, key: str, side: int) -> NDArray[np.float64]:
    """Reads a square matrix of a camera and checks it."""
    frame = f'frame {info.get("token", info.get("sample_idx"))}'
    images = info.get('images') or {}
    if camera not in images:
        raise DataError(f'{frame} has no camera {camera}, but only {sorted(images)}.')
    if key not in images[camera]:
        raise DataError(
            f'{key} of {camera} in {frame} is missing: there is only {sorted(images[camera])}.'
        )
    matrix = np.asarray(images[camera][key], dtype=np.float64)
    if key == 'cam2img' and matrix.shape == (4, 4) and np.array_equal(matrix[:, 3], [0, 0, 0, 1]):
        matrix = matrix[:3, :3]
    if matrix.shape != (side, side):
        raise DataError(
            f'{key} of {camera} in {frame} has the shape {matrix.shape}, but must have '
            f'{(side, side)}.'
        )
    if not np.isfinite(matrix).all() or np.linalg.matrix_rank(matrix) < side:
        raise DataError(
            f'{key} of {camera} in {frame} is {matrix.tolist()}, but must be a matrix that can be '
            'inverted.'
        )
    return matrix
