"""A config and a checkpoint as something that takes pictures: detectors and segmentors alike."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.device import get_device
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import DATASETS, VISUALIZERS, DefaultScope
from mmengine.runner import load_checkpoint
from mmengine.structures import BaseDataElement
from numpy.typing import NDArray

from sparsevit_mm.engine.launch import innermost_dataset, load_config, register_framework
from sparsevit_mm.engine.preflight import build_model, check_checkpoint_exists, check_weights_fit
from sparsevit_mm.engine.prunable import (
    find_prunable_backbone,
    prunable_or_none,
)
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.pruning.selection import WindowSelection
from sparsevit_mm.visualization.kept_windows import draw_kept_windows, record_kept_windows

_LOADING = ('LoadImageFromFile', 'LoadAnnotations', 'LoadPanopticAnnotations')


@dataclass(frozen=True)
class Prediction:
    """What a network made of one picture.

    Attributes:
        image: (H, W, 3) uint8 RGB picture.
        sample: The framework's data sample, boxes and masks in pixels of the picture.
        passes: For every forward of the backbone one `WindowSelection` a block; empty if the
            backbone has no schedule. Networks that cut the picture into crops make several.
    """

    image: NDArray[np.uint8]
    sample: BaseDataElement
    passes: list[list[WindowSelection]]


class PicturePredictor:
    """Predicts on pictures with the model of a config.

    Args:
        config: Path of the config.
        checkpoint: Path or address of the weights; None leaves them random.
        device: Such as 'cpu' or 'cuda:0'; by default a GPU if there is one.
        schedule: Pruning schedule in place of the config's, in any form `pruning_ratios` takes.
        cfg_options: Fields of the config to replace.

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
    ) -> None:
        check_checkpoint_exists(checkpoint, 'checkpoint')
        self.device = _usable_device(device)
        self.cfg = load_config(config, cfg_options)
        register_framework(self.cfg)
        self.scope = self.cfg.get('default_scope')
        model = build_model(self.cfg)
        self.backbone = prunable_or_none(model)
        if schedule is not None:
            find_prunable_backbone(model).pruning_schedule = schedule
        meta: Mapping[str, Any] = {}
        if checkpoint is not None:
            check_weights_fit(model, checkpoint)
            meta = load_checkpoint(model, checkpoint, map_location='cpu').get('meta', {})
        self.model = revert_sync_batchnorm(model).to(self.device).eval()
        with DefaultScope.overwrite_default_scope(self.scope):
            self.dataset_meta = meta.get('dataset_meta') or _dataset_meta(self.cfg)
            self._prepare = Compose(_pipeline_without_loading(self.cfg))
            self._visualizer = _build_visualizer(self.cfg, self.dataset_meta)

    @torch.no_grad()
    def predict(self, image: NDArray[np.uint8], path: str = '') -> Prediction:
        """Predicts on one picture.

        Args:
            image: (H, W, 3) uint8 RGB.
            path: Where it comes from, kept in the sample.
        """
        height, width = image.shape[:2]
        data = dict(
            img=np.ascontiguousarray(image[..., ::-1]),
            img_path=path,
            img_id=0,
            img_shape=(height, width),
            ori_shape=(height, width),
            height=height,
            width=width,
        )
        recording = record_kept_windows(self.backbone) if self.backbone else nullcontext()
        with DefaultScope.overwrite_default_scope(self.scope), recording as record:
            packed = self._prepare(data)
            batch = {key: [value] for key, value in packed.items()}
            (sample,) = self.model.test_step(batch)
        return Prediction(image, sample.cpu(), record.passes if record else [])

    def save(self, prediction: Prediction, path: str | Path, score_thr: float = 0.3) -> None:
        """Draws boxes, masks or labels over the picture and writes it.

        Args:
            prediction: From `predict`.
            path: Where it is written; the suffix chooses the format.
            score_thr: Detections below this score are left out.
        """
        options = {'pred_score_thr': score_thr} if 'pred_instances' in prediction.sample else {}
        self._visualizer.add_datasample(
            'prediction',
            prediction.image,
            prediction.sample,
            draw_gt=False,
            out_file=str(path),
            **options,
        )

    def draw_windows(self, prediction: Prediction) -> NDArray[np.uint8] | None:
        """Draws which windows were computed, see `draw_kept_windows`.

        Args:
            prediction: From `predict`.

        Returns:
            (height, width, 3) uint8 RGB, or None if there is no schedule, or if the network saw the
            picture in several crops, whose places it does not tell.
        """
        if self.backbone is None or len(prediction.passes) != 1:
            return None
        return draw_kept_windows(
            prediction.image,
            prediction.passes[0],
            resized=tuple(prediction.sample.img_shape[:2]),
            patch_size=self.backbone.arch.patch_size,
            schedule=self.backbone.pruning_schedule,
        )


def _usable_device(name: str | None) -> torch.device:
    try:
        device = torch.device(name or get_device())
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError):
        raise ConfigError(
            f'device is {name}, but it must be one that is here, such as {get_device()}.'
        ) from None
    return device


def _dataset_meta(cfg: Config) -> dict[str, Any]:
    """Class names and colours of the config's test set, which need not be on disk."""
    dataset = innermost_dataset(cfg.test_dataloader)
    with DATASETS.switch_scope_and_registry(cfg.get('default_scope')) as registry:
        known = getattr(registry.get(dataset.type), 'METAINFO', {})
    return {**known, **dataset.get('metainfo', {})}


def _pipeline_without_loading(cfg: Config) -> list[Any]:
    return [
        step
        for step in deepcopy(list(innermost_dataset(cfg.test_dataloader).pipeline))
        if str(step['type']).rpartition('.')[2] not in _LOADING
    ]


def _build_visualizer(cfg: Config, dataset_meta: Mapping[str, Any]) -> Any:
    # The registry keeps one visualizer a name in a process, so every predictor's has its own.
    name = f'pictures of {id(dataset_meta)}'
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # about the back ends that are left out on purpose
        visualizer = VISUALIZERS.build(
            {**cfg.visualizer, 'name': name, 'vis_backends': None, 'save_dir': None}
        )
    visualizer.dataset_meta = dict(dataset_meta)
    return visualizer
