"""Made-up calibration: six cameras in a ring around a vehicle, none of it needs a framework."""

from __future__ import annotations

import numpy as np

YAWS = {
    'CAM_FRONT_LEFT': 0.96,
    'CAM_FRONT': 0.0,
    'CAM_FRONT_RIGHT': -0.96,
    'CAM_BACK_LEFT': 1.92,
    'CAM_BACK': 3.14,
    'CAM_BACK_RIGHT': -1.92,
}
HEIGHT, WIDTH = 225, 400


def rotation(yaw=0.0, pitch=0.0, roll=0.0):
    """(3, 3), x forward, y left, z up."""
    cos, sin = np.cos([yaw, pitch, roll]), np.sin([yaw, pitch, roll])
    about_z = np.array([[cos[0], -sin[0], 0], [sin[0], cos[0], 0], [0, 0, 1]])
    about_y = np.array([[cos[1], 0, sin[1]], [0, 1, 0], [-sin[1], 0, cos[1]]])
    about_x = np.array([[1, 0, 0], [0, cos[2], -sin[2]], [0, sin[2], cos[2]]])
    return about_z @ about_y @ about_x


def pose(turn, place):
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turn, place
    return matrix


def ring_info(rng, cameras=tuple(YAWS)):
    """An info of MMDetection3D: the vehicle moves, so cameras and LiDAR see it at other poses."""
    axes = np.array([[0, 0, 1], [-1, 0, 0], [0, -1, 0.0]])  # right, down, forward
    lidar2ego = pose(rotation(-np.pi / 2, 0.01, -0.02), [0.94, 0, 1.84])
    ego2global = pose(rotation(rng.uniform(-3, 3)), rng.uniform(-500, 500, 3))
    images = {}
    for name in cameras:
        focal = rng.uniform(170, 220)
        yaw = YAWS[name] + rng.normal(0, 0.02)
        cam2ego = pose(
            rotation(yaw, *rng.normal(0, 0.01, 2)) @ axes,
            [1 + 0.7 * np.cos(yaw), 0.5 * np.sin(yaw), 1.5],
        )
        moved = pose(rotation(rng.normal(0, 0.005)), [rng.uniform(-0.4, 0.4), 0.02, 0])
        ego2global_then = ego2global @ moved
        cam2global = ego2global_then @ cam2ego
        images[name] = dict(
            img_path=f'{name}.jpg',
            height=HEIGHT,
            width=WIDTH,
            cam2img=[[focal, 0, WIDTH / 2 + 3], [0, focal, HEIGHT / 2 - 2], [0, 0, 1]],
            cam2ego=cam2ego.tolist(),
            lidar2cam=(np.linalg.inv(cam2global) @ ego2global @ lidar2ego).tolist(),
            ego2global=ego2global_then.tolist(),
        )
    return dict(
        sample_idx=0,
        token='made-up',
        ego2global=ego2global.tolist(),
        lidar_points=dict(lidar2ego=lidar2ego.tolist(), num_pts_feats=5, lidar_path='none.bin'),
        images=images,
        instances=[],
    )
