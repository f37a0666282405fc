"""The detector: from the images of all cameras to 3D boxes around the vehicle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmdet3d.models.detectors import Base3DDetector
from torch import Tensor

from sparsevit_mm.checkpoints.bevdet import bevdet_in_our_names
from sparsevit_mm.checkpoints.layouts import DERIVED_BUFFERS
from sparsevit_mm.det3d.bevdet.boxes import move_boxes
from sparsevit_mm.det3d.bevdet.lift_splat import Calibration
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.registry import MODELS


@MODELS.register_module()
class BEVDet(Base3DDetector):
    """BEVDet, with any image backbone.

    Images come as (B, N, 3, H, W) from MMDetection3D's `Det3DDataPreprocessor`, the calibration as
    meta keys of the data samples, as `LoadCameraImages` and the augmentations leave it. Boxes come
    out in the LiDAR's frame, whatever frame the map has. Loads what BEVDet's authors released, too,
    see `sparsevit_mm.checkpoints.bevdet`.

    Args:
        backbone: Of images.
        neck: Of images; gives one map.
        view_transform: From image features to the map, a `LiftSplat`.
        bev_backbone: Of the map.
        bev_neck: Of the map; gives one map.
        bbox_head: A `BEVDetHead`.
        train_cfg: Of the head.
        test_cfg: Of the head.
        data_preprocessor: See MMDetection3D.
        init_cfg: See mmengine.
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
            inputs: With `imgs`, (B, N, 3, H, W).
            data_samples: With the calibration of the N cameras, one a frame.

        Returns:
            (B, C, Y, X).

        Raises:
            ConfigError: If the images are not of several cameras, or no calibration is there.
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

    def loss(
        self, inputs: Mapping[str, Tensor], data_samples: Sequence[Any], **kwargs: Any
    ) -> dict[str, Tensor]:
        """Computes the losses of a batch, see `extract_feat`."""
        return self.bbox_head.loss([self.extract_feat(inputs, data_samples)], data_samples)

    def predict(
        self, inputs: Mapping[str, Tensor], data_samples: Sequence[Any], **kwargs: Any
    ) -> Sequence[Any]:
        """Finds boxes, see `extract_feat`.

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

    def _load_from_state_dict(
        self, state_dict: dict[str, Tensor], prefix: str, *arguments: Any, **kwargs: Any
    ) -> None:
        """Recognizes checkpoints of BEVDet's authors, too."""
        names = [name for name in state_dict if name.startswith(prefix)]
        found = bevdet_in_our_names({name[len(prefix) :]: state_dict[name] for name in names})
        if any(prefix + name not in state_dict for name in found):
            for name in names:
                del state_dict[name]
            # Theirs lack what follows from the architecture, or have it under a name of their own.
            derived = {n: b for n, b in self.named_buffers() if DERIVED_BUFFERS.search(n)}
            state_dict.update({prefix + name: part for name, part in {**derived, **found}.items()})
        super()._load_from_state_dict(state_dict, prefix, *arguments, **kwargs)

    def _forward(
        self, inputs: Mapping[str, Tensor], data_samples: Sequence[Any], **kwargs: Any
    ) -> Any:
        """The maps of all tasks, see `extract_feat`."""
        return self.bbox_head([self.extract_feat(inputs, data_samples)])


def calibration_of(data_samples: Sequence[Any], device: torch.device | str) -> Calibration:
    """The calibration of a batch.

    Args:
        data_samples: With the fields of `Calibration` as meta keys, one a frame.
        device: Where it is needed.

    Returns:
        In double precision.

    Raises:
        ConfigError: If a key is missing.
    """
    metas = [sample.metainfo for sample in data_samples]
    missing = [key for key in Calibration._fields if not all(key in meta for meta in metas)]
    if missing:
        raise ConfigError(
            f'the data samples lack {", ".join(missing)}: load images with '
            'sparsevit_mm.LoadCameraImages and name the keys in meta_keys of Pack3DDetInputs.'
        )
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
