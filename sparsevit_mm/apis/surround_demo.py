"""Runs a BEVDet on frames of several cameras and draws its boxes and kept windows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope
from mmengine.structures import BaseDataElement
from numpy.typing import NDArray

from sparsevit_mm.apis.inference import COLORS, ImagePredictor
from sparsevit_mm.det3d.datasets.infos import read_infos
from sparsevit_mm.det3d.drawing.birds_eye import BoxesInFrame, CameraImage, draw_surroundings
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.pruning.selection import WindowSelection
from sparsevit_mm.visualization.images import read_image, write_image
from sparsevit_mm.visualization.kept_windows import (
    draw_kept_windows,
    draw_shared_windows,
    record_kept_windows,
)

_ANNOTATED = (255, 255, 255)
_PANEL_PIXELS = 400 * 200  # there are six such images a frame


@dataclass(frozen=True)
class FramePrediction:
    """Prediction of a network on the images of one frame.

    Attributes:
        info: The frame's info, `img_path` leading to the images.
        inputs: For every camera the (H, W, 3) uint8 RGB view that the network was given.
        sample: The framework's data sample, boxes in the LiDAR's frame.
        selections: One `WindowSelection` a block; empty if the backbone has no schedule.
    """

    info: Mapping[str, Any]
    inputs: Mapping[str, NDArray[np.uint8]]
    sample: BaseDataElement
    selections: Sequence[WindowSelection]


class FramePredictor:
    """Predicts on frames of several cameras.

    Args:
        predictor: Holds the model of a config whose test pipeline loads the cameras of a frame.
        names: Classes by the numbers in the infos.
    """

    def __init__(self, predictor: ImagePredictor, names: Mapping[int, str]) -> None:
        self._predictor = predictor
        self._names = names

    @torch.no_grad()
    def predict(self, info: Mapping[str, Any]) -> FramePrediction:
        """Predicts on one frame.

        Args:
            info: From `frames_of`.

        Raises:
            SparseVitError: If a camera, its image or its calibration is missing or wrong.
        """
        from mmdet3d.structures import get_box_type

        own, backbone = self._predictor, self._predictor.backbone
        box_type, box_mode = get_box_type('LiDAR')
        data = dict(deepcopy(dict(info)), box_type_3d=box_type, box_mode_3d=box_mode)
        recording = record_kept_windows(backbone) if backbone else nullcontext()
        with DefaultScope.overwrite_default_scope(own.scope), recording as record:
            prepared = own.prepare(data)
            (sample,) = own.model.test_step(pseudo_collate([prepared]))
        images = prepared['inputs']['img']
        cameras = [Path(path).name for path in data['filename']]
        by_file = {Path(c['img_path']).name: name for name, c in info['images'].items()}
        return FramePrediction(
            info,
            {
                by_file[camera]: np.ascontiguousarray(image.numpy().transpose(1, 2, 0)[..., ::-1])
                for camera, image in zip(cameras, images)
            },
            sample.to('cpu'),
            record.passes[0] if record else [],
        )

    def draw(self, prediction: FramePrediction, score_thr: float) -> NDArray[np.uint8]:
        """Draws boxes over the raw images and from above, see `draw_surroundings`."""
        info = prediction.info
        cameras = {
            name: CameraImage(
                read_image(info['images'][name]['img_path']),
                np.array(info['images'][name]['cam2img'], np.float64)[:3, :3],
                np.array(info['images'][name]['lidar2cam'], np.float64),
            )
            for name in prediction.inputs
        }
        found = prediction.sample.pred_instances_3d
        found = found[found.scores_3d > score_thr]
        classes = self._predictor.dataset_meta['classes']
        labels = found.labels_3d.tolist()
        predicted = BoxesInFrame(
            found.bboxes_3d.corners.double().numpy(),
            [COLORS[label % len(COLORS)] for label in labels],
            [f'{classes[n]} {score:.2f}' for n, score in zip(labels, found.scores_3d.tolist())],
        )
        lidar2ego = info.get('lidar_points', {}).get('lidar2ego')
        return draw_surroundings(
            cameras,
            predicted,
            self._annotated(info, classes),
            lidar2ego=None if lidar2ego is None else np.array(lidar2ego),
            reach=self._reach(),
        )

    def draw_windows(self, prediction: FramePrediction) -> Iterator[tuple[str, NDArray[np.uint8]]]:
        """Yields cameras and what was computed of their views, see `draw_kept_windows`."""
        backbone = self._predictor.backbone
        if backbone is None:
            return
        for number, (camera, image) in enumerate(prediction.inputs.items()):
            yield (
                camera,
                draw_kept_windows(
                    image,
                    prediction.selections,
                    index=number,
                    resized=(image.shape[0], image.shape[1]),
                    patch_size=backbone.arch.patch_size,
                    schedule=backbone.pruning_schedule,
                    panel_pixels=_PANEL_PIXELS,
                ),
            )

    def draw_shares(self, prediction: FramePrediction) -> NDArray[np.uint8] | None:
        """Draws which camera computed how much; None if the backbone has no schedule."""
        backbone = self._predictor.backbone
        if backbone is None:
            return None
        return draw_shared_windows(
            prediction.inputs,
            prediction.selections,
            patch_size=backbone.arch.patch_size,
            panel_pixels=_PANEL_PIXELS,
        )

    def _annotated(self, info: Mapping[str, Any], classes: Sequence[str]) -> BoxesInFrame | None:
        from mmdet3d.structures import LiDARInstance3DBoxes

        if 'instances' not in info:
            return None
        boxes = [
            one['bbox_3d'][:7]
            for one in info['instances']
            if self._names.get(one['bbox_label_3d']) in classes and one.get('bbox_3d_isvalid', True)
        ]
        table = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 7)
        corners = LiDARInstance3DBoxes(table, origin=(0.5, 0.5, 0.5)).corners.double().numpy()
        return BoxesInFrame(corners, [_ANNOTATED] * len(boxes))

    def _reach(self) -> float:
        grid = self._predictor.model.view_transform.grid
        return float(max(abs(edge) for axis in (grid.x, grid.y) for edge in axis[:2]))


def write_frames(
    predictor: ImagePredictor,
    images: Sequence[Path],
    infos: str,
    out_dir: Path,
    score_thr: float,
) -> tuple[list[Path], list[Path]]:
    """Predicts on the frames that images belong to, and writes what came out.

    Args:
        predictor: See `FramePredictor`.
        images: One or more of a frame's images, each.
        infos: Info file of MMDetection3D.
        out_dir: Gets `predictions/<image>.png` for the first of a frame's images,
            `kept_windows/<image>.png` for all of them, and `shares/<image>.png`, which camera of
            the frame computed how much, for the first.
        score_thr: Detections below this score are not drawn.

    Returns:
        The images of predictions and those of kept windows.

    Raises:
        SparseVitError: If an image is in no frame, or something of a frame is missing.
    """
    content = read_infos(infos)
    categories = content['metainfo'].get('categories', {})
    names = {number: name for name, number in categories.items()}
    frames = FramePredictor(predictor, names)
    predictions, kept_windows = [], []
    for path, info in frames_of(images, content['data_list'], infos):
        prediction = frames.predict(info)
        target = out_dir / 'predictions' / f'{path.stem}.png'
        write_image(target, frames.draw(prediction, score_thr))
        predictions.append(target)
        for camera, drawn in frames.draw_windows(prediction):
            name = Path(info['images'][camera]['img_path']).stem
            target = out_dir / 'kept_windows' / f'{name}.png'
            write_image(target, drawn)
            kept_windows.append(target)
        shares = frames.draw_shares(prediction)
        if shares is not None:
            write_image(out_dir / 'shares' / f'{path.stem}.png', shares)
    return predictions, kept_windows


def frames_of(
    images: Sequence[Path], frames: Sequence[Mapping[str, Any]], infos: str
) -> list[tuple[Path, dict[str, Any]]]:
    """The frames that images belong to, and where all of their images are.

    Those of the other cameras are looked for beside an image, and as nuScenes keeps them, in
    folders beside its own that are named after the cameras.

    Args:
        images: Images, found in the frames by the names of their files.
        frames: Infos of MMDetection3D.
        infos: Where they come from, for messages.

    Returns:
        The first image of each frame, and the frame's info with whole paths.

    Raises:
        ConfigError: If an image is in no frame, or another camera's is missing.
    """
    frame_of = {
        Path(image['img_path']).name: number
        for number, frame in enumerate(frames)
        for image in frame['images'].values()
        if image.get('img_path')
    }
    found: dict[int, Path] = {}
    for path in images:
        if path.name not in frame_of:
            raise ConfigError(
                f'the image {path.name} is not in {infos}, whose calibration it needs.'
            )
        found.setdefault(frame_of[path.name], path)
    return [(path, _located(frames[number], path)) for number, path in found.items()]


def _located(frame: Mapping[str, Any], path: Path) -> dict[str, Any]:
    info = deepcopy(dict(frame))
    for camera, image in info['images'].items():
        if not image.get('img_path'):
            continue
        name = Path(image['img_path']).name
        places = [path.parent / name, path.parent.parent / camera / name]
        there = [place for place in places if place.is_file()]
        if not there:
            raise ConfigError(
                f'the image {name} of {camera} is missing: it is neither beside {path} nor at '
                f'{places[1]}.'
            )
        image['img_path'] = str(there[0])
    return info
