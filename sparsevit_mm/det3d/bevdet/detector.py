"""The BEVDet detector: from the images of all cameras to 3D boxes around the vehicle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmdet3d.models.detectors import Base3DDetector
from numpy.typing import NDArray
from torch import Tensor

from sparsevit_mm.checkpoints.bevdet import bevdet_in_our_names
from sparsevit_mm.checkpoints.layouts import DERIVED_BUFFERS
from sparsevit_mm.det3d.bevdet.boxes import move_boxes
from sparsevit_mm.det3d.bevdet.camera_boxes import boxes_in_images
from sparsevit_mm.det3d.bevdet.exported import FrameDetections
from sparsevit_mm.det3d.bevdet.lift_splat import Calibration
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.registry import MODELS


@MODELS.register_module()
class BEVDet(Base3DDetector):
    """BEVDet, with any image backbone.

    Inputs are images (B, N, 3, H, W) from MMDetection3D's `Det3DDataPreprocessor`, and the
    calibration as meta keys of the data samples, as set by `LoadCameraImages` and the
    augmentations. Predicted boxes are in the LiDAR's frame, whatever the map's frame is.
    Checkpoints of BEVDet's authors load, too, see `sparsevit_mm.checkpoints.bevdet`.

    Args:
        backbone: Config of the image backbone.
        neck: Config of the image neck, which returns one map.
        view_transform: Config of a `LiftSplat`, from image features to the map.
        bev_backbone: Config of the map's backbone.
        bev_neck: Config of the map's neck, which returns one map.
        bbox_head: Config of a `BEVDetHead`.
        train_cfg: Training settings of the head.
        test_cfg: Test settings of the head.
        data_preprocessor: Config of MMDetection3D's data preprocessor.
        init_cfg: mmengine's initialization config.
    """

    def __init__(
        self,
        backbone: Mapping[str, Any],
        neck: Mapping[str, Any],
        view_transform: Mapping[str, Any],
        bev_backbone: Mapping[str, Any],
        bev_neck: Mapping[str, Any],
        bbox_head: Mapping[str, Any],
        train_cfg: Mapping[str, Any] | None = None,
        test_cfg: Mapping[str, Any] | None = None,
        data_preprocessor: Mapping[str, Any] | None = None,
        init_cfg: Any = None,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        self.backbone = MODELS.build(backbone)
        self.neck = MODELS.build(neck)
        self.view_transform = MODELS.build(view_transform)
        self.bev_backbone = MODELS.build(bev_backbone)
        self.bev_neck = MODELS.build(bev_neck)
        self.bbox_head = MODELS.build({**bbox_head, 'train_cfg': train_cfg, 'test_cfg': test_cfg})

    def extract_feat(self, inputs: Mapping[str, Tensor], data_samples: Sequence[Any]) -> Tensor:
        """Computes the map that the head reads.

        Args:
            inputs: `imgs`, (B, N, 3, H, W).
            data_samples: One per frame, with the calibration of its N cameras.

        Returns:
            (B, C, Y, X).

        Raises:
            ConfigError: If `imgs` is not five-dimensional, or the calibration is missing.
        """
        images = inputs['imgs']
        if images.ndim != 5:
            raise ConfigError(
                f'the images have the shape {tuple(images.shape)}, but must be (frames, cameras, '
                'channels, height, width), as LoadCameraImages and Pack3DDetInputs give them.'
            )
        features = self.neck(self.backbone(images.flatten(0, 1)))
        bev = self.view_transform(features, calibration_of(data_samples, images.device))
        return self.bev_neck(self.bev_backbone(bev))

    @staticmethod
    def boxes_in_images(sample: Any) -> list[tuple[NDArray[np.float64], NDArray[np.int64]]]:
        """Where the objects of a frame are in its images, see `camera_boxes`; empty if unknown.

        Raises:
            ConfigError: If the calibration is missing.
        """
        _check_calibrated([sample.metainfo])
        return boxes_in_images(sample) if 'gt_instances_3d' in sample else []

    def loss(
        self, inputs: Mapping[str, Tensor], data_samples: Sequence[Any], **kwargs: Any
    ) -> dict[str, Tensor]:
        """Computes the losses of a batch, see `extract_feat`."""
        return self.bbox_head.loss([self.extract_feat(inputs, data_samples)], data_samples)

    def predict(
        self, inputs: Mapping[str, Tensor], data_samples: Sequence[Any], **kwargs: Any
    ) -> Sequence[Any]:
        """Predicts boxes, see `extract_feat`.

        Returns:
            The data samples with `pred_instances_3d`: `bboxes_3d` in the LiDAR's frame,
            `scores_3d` and `labels_3d`.
        """
        found = self.bbox_head.predict([self.extract_feat(inputs, data_samples)], data_samples)
        for instances, sample in zip(found, data_samples):
            lidar2bev = sample.metainfo.get('lidar2bev')
            if lidar2bev is not None:
                instances.bboxes_3d = move_boxes(instances.bboxes_3d, np.linalg.inv(lidar2bev))
        return self.add_pred_to_datasample(data_samples, found)

    def exported_predictions(self) -> FrameDetections:
        """This detector from the images of a frame and its cameras to boxes, for exported files."""
        return FrameDetections(self)

    def _load_from_state_dict(
        self, state_dict: dict[str, Tensor], prefix: str, *arguments: Any, **kwargs: Any
    ) -> None:
        """Loads checkpoints of BEVDet's authors, too."""
        names = [name for name in state_dict if name.startswith(prefix)]
        found = bevdet_in_our_names({name[len(prefix) :]: state_dict[name] for name in names})
        if any(prefix + name not in state_dict for name in found):
            for name in names:
                del state_dict[name]
            # Theirs lack the buffers that follow from the architecture, or name them differently.
            derived = {n: b for n, b in self.named_buffers() if DERIVED_BUFFERS.search(n)}
            state_dict.update({prefix + name: part for name, part in {**derived, **found}.items()})
        super()._load_from_state_dict(state_dict, prefix, *arguments, **kwargs)

    def _forward(
        self, inputs: Mapping[str, Tensor], data_samples: Sequence[Any], **kwargs: Any
    ) -> Any:
        """Computes the maps of all tasks, see `extract_feat`."""
        return self.bbox_head([self.extract_feat(inputs, data_samples)])


def calibration_of(data_samples: Sequence[Any], device: torch.device | str) -> Calibration:
    """Collects the calibration of a batch.

    Args:
        data_samples: One per frame, with the fields of `Calibration` as meta keys.
        device: Device of the result.

    Returns:
        The calibration in double precision.

    Raises:
        ConfigError: If a key is missing.
    """
    metas = [sample.metainfo for sample in data_samples]
    _check_calibrated(metas)
    return Calibration(
        *(
            torch.as_tensor(
                np.stack([np.asarray(meta[key]) for meta in metas]),
                dtype=torch.float64,
                device=device,
            )
            for key in Calibration._fields
        )
    )


def _check_calibrated(metas: Sequence[Mapping[str, Any]]) -> None:
    missing = [key for key in Calibration._fields if not all(key in meta for meta in metas)]
    if missing:
        raise ConfigError(
            f'the data samples lack {", ".join(missing)}: load images with '
            'sparsevit_mm.LoadCameraImages and name the keys in meta_keys of Pack3DDetInputs.'
        )
