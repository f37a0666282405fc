"""Which windows are computed on real frames: drawings, and the share of every class's pixels.

CamVid's license keeps its frames out of the repository. So windows are drawn twice: on the frame
itself, for the work dir, and on coarse outlines of its classes, which may be published.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from projects.camvid_study.plan import CLASSES
from sparsevit_mm.apis.inference import ImagePredictor
from sparsevit_mm.pruning.selection import WindowSelection
from sparsevit_mm.visualization.images import read_image
from sparsevit_mm.visualization.kept_windows import draw_kept_windows, stage_use

_PAPER, _OUTLINE = 214, 40
_BLOCK = 8  # pixels; outlines are this coarse so that they do not reveal the label map


def computed_share(
    predictor: ImagePredictor, frames: Sequence[Path], annotations: Path
) -> dict[str, float]:
    """Computes, for every class, the mean share of blocks that compute its pixels.

    Args:
        predictor: The network with its schedule.
        frames: Image files.
        annotations: Folder of their label maps.
    """
    blocks, pixels = np.zeros(len(CLASSES) + 1), np.zeros(len(CLASSES) + 1)
    for frame in frames:
        labels = np.asarray(Image.open(annotations / f'{frame.stem}.png'))
        share = _share_of_blocks(predictor.predict(read_image(frame)).passes[0], labels.shape)
        blocks += np.bincount(labels.ravel(), share.ravel(), len(blocks))
        pixels += np.bincount(labels.ravel(), minlength=len(blocks))
    return {
        name: round(float(blocks[number] / max(pixels[number], 1)), 4)
        for number, name in enumerate(CLASSES, start=1)
    }


def draw_frame(
    predictor: ImagePredictor, frame: Path, annotations: Path, on_frame: Path, on_outlines: Path
) -> None:
    """Draws the kept windows of a frame twice.

    Args:
        predictor: The network with its schedule.
        frame: The image file.
        annotations: Folder of label maps.
        on_frame: File for the windows on the frame.
        on_outlines: File for the windows on the outlines of the label map.
    """
    image = read_image(frame)
    prediction = predictor.predict(image)
    labels = np.asarray(Image.open(annotations / f'{frame.stem}.png'))
    assert predictor.backbone is not None
    for background, path in ((image, on_frame), (_outlines(labels), on_outlines)):
        path.parent.mkdir(parents=True, exist_ok=True)
        drawn = draw_kept_windows(
            background,
            prediction.passes[0],
            resized=tuple(prediction.sample.img_shape[:2]),
            patch_size=predictor.backbone.arch.patch_size,
            schedule=predictor.backbone.pruning_schedule,
        )
        Image.fromarray(drawn).save(path)


def _share_of_blocks(
    selections: Sequence[WindowSelection], shape: tuple[int, ...]
) -> NDArray[np.float64]:
    """(H, W) share of the network's blocks that compute every pixel of a frame."""
    uses = stage_use(selections)
    total = np.zeros(shape)
    for use in uses:
        rows, cols = (
            np.arange(side) * tokens // side for side, tokens in zip(shape, use.counts.shape)
        )
        total += use.counts[rows[:, None], cols[None, :]]
    return total / sum(len(use.kept) for use in uses)


def _outlines(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, 3) light image with a dark line where the class changes."""
    coarse = labels[::_BLOCK, ::_BLOCK].repeat(_BLOCK, axis=0).repeat(_BLOCK, axis=1)
    coarse = coarse[: labels.shape[0], : labels.shape[1]]
    change = np.zeros(labels.shape, dtype=bool)
    change[1:] |= coarse[1:] != coarse[:-1]
    change[:, 1:] |= coarse[:, 1:] != coarse[:, :-1]
    return np.where(change, _OUTLINE, _PAPER).astype(np.uint8)[..., None].repeat(3, axis=2)
