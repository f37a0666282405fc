"""Draws 3D boxes around a vehicle from above, alone or beside the images of its cameras."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.patches import Patch
from numpy.typing import NDArray
from PIL import Image

from sparsevit_mm.det3d.drawing.camera_view import draw_boxes_3d
from sparsevit_mm.visualization.style import FAINT_INK, INK, new_drawing, to_pixels

_PANEL_WIDTH = 480  # pixels of a camera's image
_GAP, _TITLE = 6, 30  # pixels
_MAX_SIDE = 960  # pixels of the view from above, which is twice the width of a camera's image
_COLUMNS = 3
_FAINT, _VEHICLE = '#c9ced6', '#5c6370'

_BOTTOM = (0, 4, 7, 3)  # bottom corners in MMDetection3D's order, the two at the rear first


@dataclass(frozen=True)
class BoxesInFrame:
    """Boxes to draw, in one frame.

    Attributes:
        corners: (N, 8, 3) in meters, in MMDetection3D's order.
        colors: RGB, 0-255, one per box.
        captions: One per box, or none.
    """

    corners: NDArray[np.float64]
    colors: Sequence[tuple[int, int, int]]
    captions: Sequence[str] = ()

    def moved(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns the (N, 8, 3) corners in another frame; `matrix` (4, 4) maps this one to it."""
        return self.corners @ matrix[:3, :3].T + matrix[:3, 3]


@dataclass(frozen=True)
class CameraImage:
    """An image of a camera with its calibration.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        cam2img: (3, 3) projection into its pixels.
        lidar2cam: (4, 4) transform from the frame of the boxes to the camera's.
    """

    image: NDArray[np.uint8]
    cam2img: NDArray[np.float64]
    lidar2cam: NDArray[np.float64]


def draw_surroundings(
    cameras: Mapping[str, CameraImage],
    predicted: BoxesInFrame,
    annotated: BoxesInFrame | None = None,
    *,
    lidar2ego: NDArray[np.float64] | None = None,
    reach: float = 50.0,
) -> NDArray[np.uint8]:
    """Draws boxes over the images of all cameras, with a view from above below them.

    Args:
        cameras: Images by name, drawn in rows of three.
        predicted: Boxes, drawn in their colors.
        annotated: Boxes, drawn in white below the predicted ones; from above as black outlines.
        lidar2ego: (4, 4) transform from the frame of the boxes to the vehicle's (x forward,
            y left); the identity by default.
        reach: Distance from the vehicle to each side of the view from above, in meters.

    Returns:
        (height, width, 3) uint8 RGB.
    """
    layers = [predicted] if annotated is None else [annotated, predicted]
    panels = [_panel(name, camera, layers) for name, camera in cameras.items()]
    height, width = (max(panel.shape[axis] for panel in panels) for axis in (0, 1))
    columns = min(_COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    across, down = columns * (width + _GAP) - _GAP, rows * (height + _GAP)
    side = min(across, _MAX_SIDE)
    above = draw_birds_eye(predicted, annotated, lidar2ego=lidar2ego, reach=reach, side=side)
    canvas = np.full((down + side, across, 3), 255, np.uint8)
    for number, panel in enumerate(panels):
        top, left = number // columns * (height + _GAP), number % columns * (width + _GAP)
        canvas[top : top + panel.shape[0], left : left + panel.shape[1]] = panel
    left = (across - side) // 2
    canvas[down:, left : left + side] = above
    return canvas


def draw_birds_eye(
    predicted: BoxesInFrame,
    annotated: BoxesInFrame | None = None,
    *,
    lidar2ego: NDArray[np.float64] | None = None,
    reach: float = 50.0,
    side: int = 540,
) -> NDArray[np.uint8]:
    """Draws boxes from above, the vehicle in the middle and heading upward.

    Args:
        predicted: Boxes, filled in their colors, with a line to the front.
        annotated: Boxes, drawn as black outlines.
        lidar2ego: As in `draw_surroundings`.
        reach: Distance from the vehicle to each side of the view, in meters.
        side: Height and width in pixels.

    Returns:
        (side, side, 3) uint8 RGB.
    """
    to_ego = np.eye(4) if lidar2ego is None else np.asarray(lidar2ego, np.float64)
    figure, size = new_drawing(side, side), side / 70
    axes = figure.add_axes((0.02, 0.02, 0.96, 0.96))
    axes.set_xlim(-reach, reach)
    axes.set_ylim(-reach, reach)
    axes.set_aspect('equal')
    axes.set_xticks([])
    axes.set_yticks([])
    step = 10 if reach > 20 else 5
    for radius in range(step, int(reach) + 1, step):
        turn = np.linspace(0, 2 * np.pi, 181)
        axes.plot(radius * np.cos(turn), radius * np.sin(turn), color=_FAINT, linewidth=0.6)
        axes.text(
            0, radius, f'{radius} m', color=FAINT_INK, fontsize=size, ha='center', va='bottom'
        )
    vehicle = np.array([[-1.0, -0.9], [3.7, -0.9], [3.7, 0.9], [-1.0, 0.9]])
    axes.add_collection(PolyCollection([_from_above(vehicle)], facecolor=_VEHICLE, zorder=2))
    _draw_outlines(axes, predicted.moved(to_ego), _hex(predicted.colors), filled=True)
    handles = [
        Patch(facecolor=_FAINT, edgecolor=FAINT_INK, label='predicted, in the color of its class')
    ]
    if annotated is not None:
        _draw_outlines(axes, annotated.moved(to_ego), [INK] * len(annotated.corners))
        handles.append(Patch(facecolor='none', edgecolor=INK, linewidth=1.5, label='annotated'))
    handles.append(Patch(facecolor=_VEHICLE, label='the vehicle, front up'))
    axes.legend(handles=handles, loc='lower right', fontsize=size, framealpha=0.9)
    return to_pixels(figure)


def _draw_outlines(
    axes: Axes, corners: NDArray[np.float64], colors: Sequence[str], filled: bool = False
) -> None:
    outlines = [_from_above(box[list(_BOTTOM), :2]) for box in corners]
    # From the middle to the middle of the front, the side between the second corner and the third.
    fronts = [np.stack([outline.mean(0), outline[1:3].mean(0)]) for outline in outlines]
    for color, outline, front in zip(colors, outlines, fronts):
        axes.add_collection(
            PolyCollection(
                [outline],
                facecolor=color if filled else 'none',
                edgecolor=color,
                alpha=0.55 if filled else 1.0,
                linewidth=1.6,
                zorder=3 if filled else 4,
            )
        )
        axes.add_collection(LineCollection([front], colors=[color], linewidth=1.6, zorder=4))


def _from_above(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Maps (N, 2) points (x forward, y left) to plot coordinates with x pointing up."""
    return np.stack([-points[:, 1], points[:, 0]], axis=1)


def _hex(colors: Sequence[tuple[int, int, int]]) -> list[str]:
    return ['#{:02x}{:02x}{:02x}'.format(*color) for color in colors]


def _panel(name: str, camera: CameraImage, layers: Sequence[BoxesInFrame]) -> NDArray[np.uint8]:
    height, width = camera.image.shape[:2]
    scale = _PANEL_WIDTH / width
    size = (_PANEL_WIDTH, round(height * scale))
    resample = Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BICUBIC
    image = np.asarray(Image.fromarray(camera.image).resize(size, resample))
    to_panel = np.diag([scale, scale, 1]) @ camera.cam2img
    for boxes in layers:
        corners = boxes.moved(camera.lidar2cam)
        image = draw_boxes_3d(image, corners, to_panel, boxes.colors, boxes.captions)
    titled = np.full((size[1] + _TITLE, size[0], 3), 255, np.uint8)
    titled[_TITLE:] = image
    cv2.putText(
        titled, name, (4, _TITLE - 9), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (22, 25, 31), 1, cv2.LINE_AA
    )
    return titled
