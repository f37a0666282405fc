"""Which pixels of an image are objects, by its annotations.

In detection, object pixels are those inside annotated boxes. In segmentation, they are those
labeled with a class other than background; where no class is called background, the classes must be
named.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

import numpy as np
import torch
from mmengine.model import is_model_wrapper
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate, pad

from sparsevit_mm.errors import ConfigError
from sparsevit_mm.files import ends_with

_BACKGROUND = ('background', 'bg')
_IGNORED = 255
_NO_LABELS = (
    "importance is 'learned', but must be another one, because it cannot read from the training "
    'data where objects are: it takes boxes in images, 3D boxes of BEVDet, and label maps.'
)


def check_objects(objects: Sequence[str] | None, classes: Sequence[str]) -> None:
    """Checks names of classes.

    Args:
        objects: The names; None for none.
        classes: Classes of the data set.

    Raises:
        ConfigError: If the data set has no class of a name.
    """
    for name in objects or ():
        if name not in classes:
            raise ConfigError(f'objects has {name!r}, but must be among {", ".join(classes)}.')


def object_pixels(
    sample: Any, info: Mapping[str, Any], classes: Sequence[str], objects: Sequence[str] | None
) -> Tensor | None:
    """The object pixels of the images of a data sample, as the network saw them.

    Args:
        sample: The data sample, of one image or of several cameras.
        info: What the data set knows of it.
        classes: Classes of the data set.
        objects: Names of the classes that count; None for all but background.

    Returns:
        (N, H, W) bool of the N resized images without padding; None if the annotations do not tell.
    """
    shape = getattr(sample, 'img_shape', None)
    if shape is None:
        return None
    height, width = shape[:2]
    if 'gt_sem_seg' in sample and 'instances' not in info:
        found = _labeled(sample.gt_sem_seg.data[0], (height, width), classes, objects)
        return None if found is None else found[None]
    if 'cam_instances' in info and hasattr(sample, 'img_aug'):
        if objects is not None:
            return None  # labels are those of the file, not of the data set
        views, matrices = _by_camera(info, sample.img_path), np.asarray(sample.img_aug)
    elif 'instances' in info and hasattr(sample, 'ori_shape') and not hasattr(sample, 'trans_mat'):
        scale = width / sample.ori_shape[1], height / sample.ori_shape[0], 1.0
        views, matrices = [info['instances']], np.diag(scale)[None]
    else:
        return None
    if len(views) != len(matrices) or not all('bbox' in one for view in views for one in view):
        return None
    marked = []
    for view, matrix in zip(views, matrices):
        boxes = [(instance['bbox'], instance['bbox_label']) for instance in view]
        marked.append(_marked((height, width), boxes, classes, objects, matrix))
    return torch.stack(marked)


def objects_of_batch(
    batch: Any, model: Any, classes: Sequence[str], objects: Sequence[str] | None
) -> Tensor:
    """The object pixels of the images of a training batch, by its labels after augmentation.

    Args:
        batch: What the data loader gave: `inputs`, the images, or a mapping of `img` to them, and
            their `data_samples`.
        model: The model. If it has a method `boxes_in_images`, as BEVDet does, that tells where the
            boxes of a sample are in each of its images.
        classes: Classes of the data set.
        objects: Names of the classes that count; None for all but background.

    Returns:
        (B, H, W) bool, as large as the largest image; the images of a sample one after another.

    Raises:
        ConfigError: If the labels do not tell where objects are.
    """
    given = batch if isinstance(batch, dict) else {}
    images, samples = given.get('inputs'), given.get('data_samples')
    images = images.get('img') if isinstance(images, dict) else images
    if images is None or not samples or isinstance(samples, dict):
        raise ConfigError(_NO_LABELS)
    tell = getattr(_unwrapped(model), 'boxes_in_images', _boxes_in_image)
    height, width = (max(image.shape[side] for image in images) for side in (-2, -1))
    found = []
    for sample in samples:
        if 'gt_sem_seg' in sample and not _has_boxes(sample):
            found.append(_label_map(sample.gt_sem_seg.data[0], classes, objects))
            continue
        for boxes, labels in tell(sample):
            pairs = zip(boxes.tolist(), labels.reshape(-1).tolist())
            found.append(_marked((height, width), pairs, classes, objects, np.eye(3)))
    if len(found) != sum(len(image) if image.ndim == 4 else 1 for image in images):
        raise ConfigError(_NO_LABELS)
    return torch.stack([_padded(pixels, height, width) for pixels in found])


def check_objects_stay(model: Any) -> None:
    """Checks that objects are not moved after they leave the data loader.

    Args:
        model: The model, with its data preprocessor.

    Raises:
        ConfigError: If the preprocessor resizes batches.
    """
    preprocessor = getattr(_unwrapped(model), 'data_preprocessor', None)
    for augment in getattr(preprocessor, 'batch_augments', None) or ():
        if 'Resize' in type(augment).__name__:
            raise ConfigError(
                f"importance is 'learned', but the data preprocessor has {type(augment).__name__}, "
                'which moves objects: resize in the training pipeline, or take another importance.'
            )


def _unwrapped(model: Any) -> Any:
    return model.module if is_model_wrapper(model) else model


def _has_boxes(sample: Any) -> bool:
    return 'gt_instances' in sample and 'bboxes' in sample.gt_instances


def _boxes_in_image(sample: Any) -> list[tuple[Tensor, Tensor]]:
    """Boxes and labels of the one image of a sample."""
    if not _has_boxes(sample):
        raise ConfigError(_NO_LABELS)
    boxes = sample.gt_instances.bboxes
    return [(getattr(boxes, 'tensor', boxes), sample.gt_instances.labels)]


def _label_map(labels: Tensor, classes: Sequence[str], objects: Sequence[str] | None) -> Tensor:
    found = _labeled(labels, (labels.shape[0], labels.shape[1]), classes, objects)
    if found is None:
        raise ConfigError(
            'objects of SparsityAdaptationHook is missing, but must name the classes that count as '
            f'objects, among {", ".join(classes)}.'
        )
    return found


def _padded(pixels: Tensor, height: int, width: int) -> Tensor:
    return pad(pixels, (0, width - pixels.shape[1], 0, height - pixels.shape[0]))


def _by_camera(info: Mapping[str, Any], img_paths: Sequence[str]) -> list[Any]:
    """What every camera sees, in the order of the images."""
    found = []
    for path in map(PurePath, img_paths):
        for camera, image in info['images'].items():
            if ends_with(path, PurePath(image['img_path'])):
                found.append(info['cam_instances'].get(camera, ()))
                break
    return found


def _marked(
    shape: tuple[int, int],
    boxes: Iterable[tuple[Sequence[float], int]],
    classes: Sequence[str],
    objects: Sequence[str] | None,
    matrix: NDArray[Any],
) -> Tensor:
    """The pixels inside boxes of objects, given with their labels and moved to the input."""
    pixels = torch.zeros(shape, dtype=torch.bool)
    for box, label in boxes:
        # Below 0 are classes that the data set leaves out.
        if label >= 0 and (objects is None or classes[label] in objects):
            rows, cols = _inside(box, matrix)
            pixels[rows, cols] = True
    return pixels


def _inside(box: Sequence[float], matrix: NDArray[Any]) -> tuple[slice, slice]:
    """Rows and columns of the upright box around an annotated one, moved to the input."""
    left, top, right, bottom = box
    corners = np.array([[x, y, 1.0] for x in (left, right) for y in (top, bottom)]) @ matrix.T
    low, high = np.floor(corners.min(0)).astype(int), np.ceil(corners.max(0)).astype(int)
    low, high = np.maximum(low, 0), np.maximum(high, 0)
    return slice(low[1], high[1]), slice(low[0], high[0])


def _labeled(
    labels: Tensor, shape: tuple[int, int], classes: Sequence[str], objects: Sequence[str] | None
) -> Tensor | None:
    if objects is None:
        objects = [name for name in classes if name.lower() not in _BACKGROUND]
        if len(objects) == len(classes):
            return None
    numbers = torch.tensor([classes.index(name) for name in objects])
    found = torch.isin(labels.cpu(), numbers) & (labels.cpu() != _IGNORED)
    return interpolate(found[None, None].float(), shape, mode='nearest')[0, 0] > 0
