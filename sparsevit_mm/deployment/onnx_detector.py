"""Runs a file with predictions on images: NumPy, Pillow and a runtime are all it needs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsevit_mm.deployment.description import Description
from sparsevit_mm.deployment.picture import (
    draw_boxes,
    draw_regions,
    paste_mask,
    read_picture,
    resize,
    resize_mask,
)
from sparsevit_mm.deployment.picture_3d import draw_boxes_3d
from sparsevit_mm.deployment.runtimes import open_session, run_session
from sparsevit_mm.errors import ConfigError


@dataclass(frozen=True)
class Found:
    """What was found in an image, in its own pixels; fields of other tasks are None.

    Attributes:
        boxes: (N, 4) float32, (x1, y1, x2, y2), the best first.
        scores: (N,) of the boxes, or (classes,) of a classifier, float32.
        labels: (N,) int64, index of the class of each box.
        masks: (N, H, W) bool.
        label_map: (H, W) int64, class of every pixel.
        boxes_3d: (N, 7 or 9) float32, in the frame of the camera: center of the bottom, three
            extents in meters, yaw, and for some files the velocity, the best first.
    """

    boxes: NDArray[np.float32] | None = None
    scores: NDArray[np.float32] | None = None
    labels: NDArray[np.int64] | None = None
    masks: NDArray[np.bool_] | None = None
    label_map: NDArray[np.int64] | None = None
    boxes_3d: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class Placement:
    """Where an image lies in the network's input.

    Attributes:
        height: Pixels of the input that the image takes from the top on.
        width: Pixels of the input that the image takes from the left on.
    """

    height: int
    width: int


class OnnxDetector:
    """Detects, segments or classifies with a file of `tools/export_onnx.py --part predictions`.

    ```python
    detector = OnnxDetector('detector.onnx')
    found = detector('street.jpg')
    Image.fromarray(detector.draw('street.jpg', found)).save('found.png')
    ```

    Args:
        path: The ONNX file, or for OpenVINO also an .xml file.
        runtime: 'onnxruntime' or 'openvino'; by default the first that is installed.
        threads: Number of CPU threads; by default the runtime's choice.

    Attributes:
        description: What the file says about itself.
        classes: Names of the classes; empty if the file does not tell them.

    Raises:
        ConfigError: If no runtime is installed, the file cannot be run, or it does not say how.
    """

    def __init__(
        self, path: str | Path, runtime: str | None = None, threads: int | None = None
    ) -> None:
        self.session = open_session(path, runtime, threads)
        self.description = Description.from_json(self.session.description, path)
        self.classes = self.description.classes
        shape = self.session.inputs[0].shape
        if self.description.input == 'normalized':
            shape = (shape[0], *shape[2:], shape[1])
        batch, height, width, channels = shape
        if batch not in (None, 1) or height is None or width is None or channels is None:
            raise ConfigError(
                f'{path} takes {batch} x {height} x {width} images, but must take single ones of '
                'one size: write it with --batch 1 and without --dynamic-size.'
            )
        self.height, self.width, self.channels = height, width, channels

    def __call__(
        self, image: str | Path | NDArray[np.uint8], cam2img: NDArray[Any] | None = None
    ) -> Found:
        """Predicts on one image.

        Args:
            image: A file, or (H, W, C) uint8, RGB.
            cam2img: (3, 3) or (4, 4) projection of the camera into pixels of the image, for files
                that find 3D boxes.

        Raises:
            ConfigError: If the image cannot be read or has other channels than the network takes,
                or the projection is missing.
        """
        pixels = self.read(image)
        entered, placement = self.enter(pixels)
        size = pixels.shape[:2]
        cameras = []
        if self.description.task == 'detection_3d':
            across, down = placement.width / size[1], placement.height / size[0]
            projection = np.diag([across, down, 1.0, 1.0]) @ _projection(cam2img)
            cameras.append(projection[None].astype(np.float32))
        return self.leave(run_session(self.session, entered, *cameras), size, placement)

    def read(self, image: str | Path | NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Reads an image.

        Args:
            image: A file, or (H, W, C) uint8, RGB, which is checked.

        Raises:
            ConfigError: If the image cannot be read or has other channels than the network takes.
        """
        if not isinstance(image, np.ndarray):
            return read_picture(image, self.channels)
        if image.ndim != 3 or image.shape[2] != self.channels or image.dtype != np.uint8:
            raise ConfigError(
                f'the image is {" x ".join(map(str, image.shape))} {image.dtype}, but must be '
                f'height x width x {self.channels} uint8.'
            )
        return image

    def enter(self, pixels: NDArray[np.uint8]) -> tuple[NDArray[Any], Placement]:
        """Makes the input of the file from an image, as the config's test pipeline would.

        Args:
            pixels: (H, W, C) uint8, RGB.

        Returns:
            What the session takes, and where the image lies in it.
        """
        described = self.description
        height, width = pixels.shape[:2]
        if described.fitting == 'letterbox':
            factor = min(self.height / height, self.width / width)
            placement = Placement(
                min(int(height * factor + 0.5), self.height),
                min(int(width * factor + 0.5), self.width),
            )
            inside = resize(pixels, placement.height, placement.width, described.interpolation)
            entered = np.empty((self.height, self.width, self.channels), dtype=np.uint8)
            entered[:] = np.rint(described.pad).astype(np.uint8)
            entered[: placement.height, : placement.width] = inside
        elif described.fitting == 'crop':
            factor = described.short_side / min(height, width)
            sides = (
                max(int(height * factor + 0.5), self.height),
                max(int(width * factor + 0.5), self.width),
            )
            whole = resize(pixels, *sides, described.interpolation)
            top = round((sides[0] - self.height) / 2)
            left = round((sides[1] - self.width) / 2)
            entered = whole[top : top + self.height, left : left + self.width]
            placement = Placement(self.height, self.width)
        else:
            entered = resize(pixels, self.height, self.width, described.interpolation)
            placement = Placement(self.height, self.width)
        if described.input == 'uint8':
            return np.ascontiguousarray(entered[None]), placement
        ordered = entered[..., ::-1] if described.is_bgr else entered
        mean, std = (np.array(value, dtype=np.float32) for value in (described.mean, described.std))
        normalized = (ordered.astype(np.float32) - mean) / std
        return np.ascontiguousarray(normalized.transpose(2, 0, 1)[None]), placement

    def leave(
        self, outputs: dict[str, NDArray[Any]], size: tuple[int, ...], placement: Placement
    ) -> Found:
        """Puts the outputs of the file into pixels of the image.

        Args:
            outputs: By name, of a batch of one image.
            size: Height and width of the image.
            placement: Where the image lies in the input.
        """
        height, width = size
        if self.description.task == 'classification':
            return Found(scores=outputs['scores'][0])
        if self.description.task == 'segmentation':
            inside = outputs['label_map'][0, : placement.height, : placement.width]
            rows = (np.arange(height) * placement.height) // height
            columns = (np.arange(width) * placement.width) // width
            return Found(label_map=inside[rows[:, None], columns])
        present = outputs['labels'][0] >= 0
        if self.description.task == 'detection_3d':
            found = (outputs[name][0][present] for name in ('scores', 'labels', 'boxes_3d'))
            scores, labels, boxes_3d = found
            return Found(scores=scores, labels=labels, boxes_3d=boxes_3d)
        boxes = outputs['boxes'][0][present]
        across, down = placement.width / width, placement.height / height
        boxes = boxes / np.array([across, down, across, down], dtype=np.float32)
        masks = None
        if 'masks' in outputs:
            threshold = self.description.mask_threshold
            masks = np.zeros((len(boxes), height, width), dtype=np.bool_)
            for place, (mask, box) in enumerate(zip(outputs['masks'][0][present], boxes)):
                masks[place] = paste_mask(mask, box.tolist(), height, width, threshold)
        elif 'mask_logits' in outputs:
            sizes = (self.height, self.width), (placement.height, placement.width), size
            whole = [resize_mask(logits, *sizes) for logits in outputs['mask_logits'][0][present]]
            masks = np.array(whole, dtype=np.bool_).reshape(-1, height, width)
        return Found(boxes, outputs['scores'][0][present], outputs['labels'][0][present], masks)

    def name_of(self, label: int) -> str:
        """Name of a class, or its index where the file does not tell the names."""
        return self.classes[label] if label < len(self.classes) else str(label)

    def lines(self, found: Found, threshold: float = 0.3) -> list[str]:
        """Says what was found, a line for each box, or for each of the likeliest classes.

        Args:
            found: From a call.
            threshold: Boxes of a lower score are left out.
        """
        if found.label_map is not None:
            labels, pixels = np.unique(found.label_map, return_counts=True)
            shares = pixels / found.label_map.size
            return [f'{self.name_of(int(n))}: {share:.1%}' for n, share in zip(labels, shares)]
        assert found.scores is not None
        boxes = found.boxes if found.boxes_3d is None else found.boxes_3d
        if boxes is None:
            best = np.argsort(-found.scores)[:5].tolist()
            return [f'{self.name_of(label)}: {found.scores[label]:.3f}' for label in best]
        assert found.labels is not None
        return [
            f'{self.name_of(int(label))} {score:.3f} at ' + ' '.join(f'{s:.1f}' for s in box)
            for box, score, label in zip(boxes, found.scores, found.labels)
            if score >= threshold
        ]

    def draw(
        self,
        image: str | Path | NDArray[np.uint8],
        found: Found,
        threshold: float = 0.3,
        cam2img: NDArray[Any] | None = None,
    ) -> NDArray[np.uint8]:
        """Draws what was found.

        Args:
            image: A file, or (H, W, C) uint8, RGB.
            found: From a call with this image.
            threshold: Boxes of a lower score are left out.
            cam2img: As for the call, for 3D boxes.

        Returns:
            (H, W, 3) uint8 RGB.

        Raises:
            ConfigError: If 3D boxes were found and the projection is missing.
        """
        pixels = self.read(image)
        if found.label_map is not None:
            present = np.unique(found.label_map).tolist()
            return draw_regions(pixels, [found.label_map == label for label in present], present)
        if found.labels is None or found.scores is None:
            return pixels
        shown = found.scores >= threshold
        labels = found.labels[shown].tolist()
        texts = [
            f'{self.name_of(label)} {score:.2f}'
            for label, score in zip(labels, found.scores[shown])
        ]
        if found.boxes_3d is not None:
            projection = _projection(cam2img)
            return draw_boxes_3d(pixels, found.boxes_3d[shown], projection, labels, texts)
        assert found.boxes is not None
        if found.masks is not None:
            pixels = draw_regions(pixels, list(found.masks[shown]), labels)
        return draw_boxes(pixels, found.boxes[shown], labels, texts)


def _projection(cam2img: NDArray[Any] | None) -> NDArray[np.float64]:
    """(4, 4) projection into pixels of the image."""
    if cam2img is None or np.shape(cam2img) not in ((3, 3), (4, 4)):
        raise ConfigError(
            f'cam2img is {cam2img}, but the file finds 3D boxes and needs a 3 x 3 or 4 x 4 '
            'projection of the camera into pixels of the image.'
        )
    side = len(cam2img)
    projection = np.eye(4)
    projection[:side, :side] = cam2img
    return projection
