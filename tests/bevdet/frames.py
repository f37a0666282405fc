"""Made-up frames: six cameras in a ring around a vehicle, and boxes on the ground."""

from __future__ import annotations

import numpy as np
import torch
from mmdet3d.structures import LiDARInstance3DBoxes

from sparsevit_mm.bevdet.cameras import NUSCENES_CAMERAS

YAWS = dict(zip(NUSCENES_CAMERAS, np.deg2rad([55, 0, -55, 110, 180, -110])))
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


def ring_info(rng, cameras=NUSCENES_CAMERAS):
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


def boxes_at(middles, rng, velocity=True):
    """Boxes of random sizes and headings, (N, 3) middles in the LiDAR's frame."""
    middles = np.asarray(middles, dtype=np.float64).reshape(-1, 3)
    count = len(middles)
    columns = [middles, rng.uniform(0.5, 4, (count, 3)), rng.uniform(-3, 3, (count, 1))]
    if velocity:
        columns.append(rng.normal(0, 3, (count, 2)))
    table = torch.as_tensor(np.concatenate(columns, axis=1), dtype=torch.float32)
    return LiDARInstance3DBoxes(table, box_dim=table.shape[1], origin=(0.5, 0.5, 0.5))
