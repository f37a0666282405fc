"""Runs the model of a config on single images: detectors, segmentors and 3D detectors."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import colormaps
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.device import get_device
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import DATASETS, DefaultScope
from mmengine.runner import load_checkpoint
from mmengine.structures import BaseDataElement
from numpy.typing import NDArray

from sparsevit_mm.apis.configs import innermost_dataset, load_config, register_framework
from sparsevit_mm.checks.classes import given_classes
from sparsevit_mm.checks.configs import (
    build_model,
    check_checkpoint_exists,
    check_weights_fit,
    type_name,
)
from sparsevit_mm.checks.images import CHECKED_LOADING, check_complete
from sparsevit_mm.checks.schedules import check_importance
from sparsevit_mm.deployment.inference_form import optimize_for_inference
from sparsevit_mm.det3d.drawing.camera_view import draw_boxes_3d
from sparsevit_mm.engine.input_scale import apply_to_config
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.models.sparse_heads import find_two_passes
from sparsevit_mm.profiling.inputs import check_device, input_channels
from sparsevit_mm.pruning.prunable import (
    find_prunable_backbone,
    prunable_or_none,
)
from sparsevit_mm.pruning.selection import WindowSelection
from sparsevit_mm.visualization.framework_visualizer import build_framework_visualizer
from sparsevit_mm.visualization.images import read_image, shown_rgb, write_image
from sparsevit_mm.visualization.kept_windows import draw_kept_windows, record_kept_windows

_LOADING = (
    'LoadImageFromFile',
    'LoadImageFromFileMono3D',
    'LoadAnnotations',
    'LoadAnnotations3D',
    'LoadPanopticAnnotations',
)

_SEVERAL_CAMERAS = ('LoadMultiViewImageFromFiles', 'LoadCameraImages')

COLORS = [
    (int(255 * red), int(255 * green), int(255 * blue))
    for red, green, blue, _ in colormaps['tab10'](range(10))
]
"""RGB of the classes, in turn."""


@dataclass(frozen=True)
class Prediction:
    """Prediction of a network on one image.

    Attributes:
        image: (H, W, 3) uint8 RGB image.
        sample: The framework's data sample, boxes and masks in pixels of the image.
        passes: For every forward of the backbone one `WindowSelection` a block; empty if the
            backbone has no schedule. Networks that cut the image into crops make several.
        cam2img: Projection of the camera into pixels of the image, for 3D boxes.
        heads: For every forward, by stage, the windows that a sparse neck and head computed.
    """

    image: NDArray[np.uint8]
    sample: BaseDataElement
    passes: list[list[WindowSelection]]
    cam2img: NDArray[np.float64] | None = None
    heads: list[dict[int, WindowSelection]] = field(default_factory=list)


class ImagePredictor:
    """Predicts on images with the model of a config.

    Args:
        config: Path of the config.
        checkpoint: Path or address of the weights; None leaves them random.
        device: Such as 'cpu' or 'cuda:0'; by default a GPU if there is one.
        schedule: Pruning schedule in place of the config's, in any form `pruning_ratios` takes; its
            input scale and its number of proposals count, too.
        cfg_options: Fields of the config to replace.
        optimize: Dtype of the inference form of the model, see `optimize_for_inference`, for which
            there must be a checkpoint; None for the plain model.

    Raises:
        SparseVitError: If the config, the checkpoint, the device or the schedule is wrong.
    """

    def __init__(
        self,
        config: str,
        checkpoint: str | None = None,
        device: str | None = None,
        schedule: Any = None,
        cfg_options: Mapping[str, Any] | None = None,
        optimize: str | None = None,
    ) -> None:
        if optimize is not None and checkpoint is None:
            raise ConfigError(
                f'optimize is {optimize}, but there is no checkpoint: the inference form is for '
                'trained weights, which it folds together.'
            )
        check_checkpoint_exists(checkpoint, 'checkpoint')
        self.device = check_device(device or get_device())
        self.cfg = load_config(config, cfg_options)
        register_framework(self.cfg)
        self.scope = self.cfg.get('default_scope')
        apply_to_config(self.cfg, schedule)
        model = build_model(self.cfg)
        self.backbone = prunable_or_none(model)
        if schedule is not None:
            check_importance(schedule, self.cfg)
            find_prunable_backbone(model).pruning_schedule = schedule
        meta: Mapping[str, Any] = {}
        if checkpoint is not None:
            check_weights_fit(model, checkpoint)
            meta = load_checkpoint(model, checkpoint, map_location='cpu').get('meta', {})
        self.model = revert_sync_batchnorm(model).to(self.device).eval()
        with DefaultScope.overwrite_default_scope(self.scope):
            self.dataset_meta = meta.get('dataset_meta') or dataset_meta(self.cfg)
            self.prepare = Compose(_pipeline_without_loading(self.cfg))
            loading = _special_loading(self.cfg)
            self._loading = None if loading is None else Compose([loading])
            self._visualizer = build_framework_visualizer(self.cfg, self.dataset_meta)
        self._channels = input_channels(model)
        if optimize is not None:
            optimize_for_inference(self.model, optimize)

    @property
    def needs_calibration(self) -> bool:
        """Whether the network finds 3D boxes, for which it must know the camera."""
        return self.scope == 'mmdet3d'

    @property
    def takes_frames(self) -> bool:
        """Whether the network takes the images of several cameras together."""
        steps = innermost_dataset(self.cfg.test_dataloader).pipeline
        return any(type_name(step) == 'LoadCameraImages' for step in steps)

    def read(self, path: str | Path) -> NDArray[np.uint8]:
        """Reads an image for `predict`, as the config's pipeline loads it.

        Args:
            path: The file.

        Returns:
            (H, W, 3) uint8 RGB: what people are shown of it, whatever channels it has.

        Raises:
            ConfigError: If the file is broken or no image.
        """
        if self._loading is None:
            return read_image(path)
        return shown_rgb(self._load(path))

    def _load(self, path: str | Path) -> NDArray[Any]:
        assert self._loading is not None
        check_complete(path)
        with DefaultScope.overwrite_default_scope(self.scope):
            pixels: NDArray[Any] = self._loading({'img_path': str(path)})['img']
        return pixels

    def _pixels(self, image: NDArray[np.uint8], path: str) -> NDArray[Any]:
        """What the pipeline's loading step gives, (H, W) or (H, W, C)."""
        if self._loading is None:
            return np.ascontiguousarray(image[..., ::-1])
        if not path:
            raise ConfigError(
                "the config's pipeline loads images in its own way, but the image has no path to "
                'load it from.'
            )
        return self._load(path)

    @torch.no_grad()
    def predict(
        self,
        image: NDArray[np.uint8],
        path: str = '',
        cam2img: NDArray[np.float64] | None = None,
    ) -> Prediction:
        """Predicts on one image.

        Args:
            image: (H, W, 3) uint8 RGB, such as from `read`.
            path: Where it comes from, kept in the sample. Pipelines that do not load color images
                load it from there again.
            cam2img: (3, 3) or (4, 4) projection of the camera into pixels of the image, which
                networks for 3D boxes need.

        Raises:
            ConfigError: If the projection is needed and missing, or cannot be inverted; or if the
                pipeline gives another number of channels than the network takes.
        """
        pixels = self._pixels(image, path)
        height, width = pixels.shape[:2]
        data = dict(
            img=pixels,
            img_path=path,
            img_id=0,
            img_shape=(height, width),
            ori_shape=(height, width),
            height=height,
            width=width,
        )
        if self.needs_calibration:
            data.update(_camera(cam2img))
        recording = (
            record_kept_windows(self.backbone, find_two_passes(self.model))
            if self.backbone
            else nullcontext()
        )
        with DefaultScope.overwrite_default_scope(self.scope), recording as record:
            prepared = self.prepare(data)
            self._check_channels(prepared['inputs'])
            (sample,) = self.model.test_step(pseudo_collate([prepared]))
        passes, heads = (record.passes, record.heads) if record else ([], [])
        return Prediction(image, sample.to('cpu'), passes, cam2img, heads)

    def _check_channels(self, inputs: Any) -> None:
        image = inputs['img'] if isinstance(inputs, Mapping) else inputs
        # With test-time augmentation there are several forms of the image.
        image = image[0] if isinstance(image, list) else image
        if image.shape[-3] != self._channels:
            raise ConfigError(
                f'the test pipeline gives images of {image.shape[-3]} channels, but must give the '
                f'{self._channels} that the network takes: set color_type of its loading step to '
                "'color', 'grayscale' or 'unchanged'."
            )

    def save(self, prediction: Prediction, path: str | Path, score_thr: float = 0.3) -> None:
        """Draws boxes, masks or labels over the image and writes it.

        Args:
            prediction: From `predict`.
            path: Where it is written; the suffix chooses the format.
            score_thr: Detections below this score are left out.
        """
        if 'pred_instances_3d' in prediction.sample:
            write_image(path, self._draw_3d(prediction, score_thr))
            return
        options = {'pred_score_thr': score_thr} if 'pred_instances' in prediction.sample else {}
        self._visualizer.add_datasample(
            'prediction',
            prediction.image,
            prediction.sample,
            draw_gt=False,
            out_file=str(path),
            **options,
        )

    def _draw_3d(self, prediction: Prediction, score_thr: float) -> NDArray[np.uint8]:
        assert prediction.cam2img is not None
        found = prediction.sample.pred_instances_3d
        found = found[found.scores_3d > score_thr]
        classes = self.dataset_meta['classes']
        labels = found.labels_3d.tolist()
        return draw_boxes_3d(
            prediction.image,
            found.bboxes_3d.corners.numpy(),
            # The sample has that of the resized image.
            prediction.cam2img,
            [COLORS[label % len(COLORS)] for label in labels],
            [
                f'{classes[label]} {score:.2f}'
                for label, score in zip(labels, found.scores_3d.tolist())
            ],
        )

    def draw_windows(self, prediction: Prediction) -> NDArray[np.uint8] | None:
        """Draws which windows were computed, see `draw_kept_windows`.

        Args:
            prediction: From `predict`.

        Returns:
            (height, width, 3) uint8 RGB, or None if there is no schedule, or if the network saw the
            image in several crops, whose places it does not tell.
        """
        if self.backbone is None or len(prediction.passes) != 1:
            return None
        return draw_kept_windows(
            prediction.image,
            prediction.passes[0],
            heads=prediction.heads[0] if prediction.heads else None,
            resized=tuple(prediction.sample.img_shape[:2]),
            patch_size=self.backbone.arch.patch_size,
            schedule=self.backbone.pruning_schedule,
        )


def _camera(cam2img: NDArray[np.float64] | None) -> dict[str, Any]:
    """What MMDetection3D's pipelines expect of a camera."""
    from mmdet3d.structures import get_box_type

    if cam2img is None:
        raise ConfigError(
            'the network finds 3D boxes, but the calibration of the camera is missing; name the '
            'info file that has it.'
        )
    if not np.isfinite(cam2img).all() or np.linalg.matrix_rank(cam2img) < len(cam2img):
        raise ConfigError(
            f'cam2img is {cam2img.tolist()}, but must be a matrix that can be inverted.'
        )
    box_type, box_mode = get_box_type('Camera')
    return dict(cam2img=cam2img.tolist(), box_type_3d=box_type, box_mode_3d=box_mode)


def dataset_meta(cfg: Config) -> dict[str, Any]:
    """Class names and colors of the config's test set, which need not be on disk."""
    dataset = innermost_dataset(cfg.test_dataloader)
    with DATASETS.switch_scope_and_registry(cfg.get('default_scope')) as registry:
        known = getattr(registry.get(dataset.type), 'METAINFO', {})
    classes = given_classes(dataset, 'test_dataloader.dataset')
    given = {} if classes is None else {'classes': tuple(classes)}
    return {**known, **dataset.get('metainfo', {}), **given}


def _pipeline_without_loading(cfg: Config) -> list[Any]:
    return [
        step
        for step in deepcopy(list(innermost_dataset(cfg.test_dataloader).pipeline))
        if type_name(step) not in _LOADING and not _loads_one_image(step)
    ]


def _special_loading(cfg: Config) -> Any:
    """The loading step of the test pipeline if it gives other than color images, else None."""
    steps = innermost_dataset(cfg.test_dataloader).pipeline
    step = deepcopy(next(filter(_loads_one_image, steps), None))
    if step is None or type_name(step) not in CHECKED_LOADING:
        return step
    if step.get('color_type', 'color').startswith('color'):
        return None
    step['type'] = 'sparsevit_mm.LoadCheckedImage'  # also for a camera, whose file is named here
    return step


def _loads_one_image(step: Any) -> bool:
    name = type_name(step)
    return name.startswith('Load') and 'Image' in name and name not in _SEVERAL_CAMERAS
