"""Wraps MMDetection3D's FCOS3D and SMOKE as modules from an image and its camera to 3D boxes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sparsevit_mm.deployment.detections_3d import Boxes3D, fcos3d_boxes, smoke_boxes
from sparsevit_mm.deployment.onnx_operators import NO_BOX
from sparsevit_mm.deployment.predictions import Predictions, check_methods, refused

HEADS = ('FCOSMono3DHead', 'SMOKEMono3DHead')
_DECODING = ('predict', 'predict_by_feat', '_predict_by_feat_single', '_decode_heatmap')
OUTPUTS = ('boxes_3d', 'scores', 'labels')


class CameraDetections(Predictions):
    """(B, N, 7 or 9) 3D boxes in the frame of the camera, their scores, labels and attributes.

    Places without a box have the score 0 and the label -1.

    Args:
        model: MMDetection3D's FCOSMono3D or SMOKEMono3D.
    """

    task = 'detection_3d'
    inputs = ('images', 'cam2img')

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        has_attributes = not self.is_smoke and model.bbox_head.pred_attrs
        self.outputs = (*OUTPUTS, 'attributes') if has_attributes else OUTPUTS

    @property
    def is_smoke(self) -> bool:
        """Whether the head is SMOKE's."""
        return type(self.model.bbox_head).__name__ == 'SMOKEMono3DHead'

    def other_inputs(self, batch: int, height: int, width: int) -> tuple[Tensor]:
        """Cameras that look straight ahead."""
        return (pinhole(height, width).expand(batch, 4, 4).contiguous(),)

    def forward(self, images: Tensor, cam2img: Tensor) -> tuple[Tensor, ...]:
        """Detects in images.

        Args:
            images: (B, C, H, W).
            cam2img: (B, 4, 4) projections of the cameras into pixels of these images.
        """
        head = self.model.bbox_head
        outputs = head(self.model.extract_feat({'imgs': images}))
        if self.is_smoke:
            return marked_3d(smoke_boxes(head, outputs, cam2img, images.shape[2:]))
        return marked_3d(fcos3d_boxes(head, outputs, cam2img))


def camera_detections(model: Any) -> CameraDetections:
    """Wraps a model as a module from images and cameras to 3D boxes.

    Args:
        model: MMDetection3D's detector of 3D boxes in one image.

    Raises:
        ConfigError: If its head decodes in a way of its own.
    """
    from mmdet3d.models import dense_heads

    head = model.bbox_head
    for name in HEADS:
        known = getattr(dense_heads, name)
        if isinstance(head, known):
            check_methods(head, known, tuple(m for m in _DECODING if hasattr(known, m)))
            if name == HEADS[0] and not head.use_direction_classifier:
                raise refused(f'{name} without use_direction_classifier')
            return CameraDetections(model)
    raise refused(type(head).__name__)


def pinhole(height: int, width: int) -> Tensor:
    """(4, 4) projection of a camera with an opening of 90 degrees across the image."""
    camera = torch.eye(4)
    camera[0, 0] = camera[1, 1] = width / 2
    camera[0, 2], camera[1, 2] = width / 2, height / 2
    return camera


def marked_3d(found: Boxes3D) -> tuple[Tensor, ...]:
    """Outputs of a file: 0 and the label -1 where there is no box."""
    present = found.scores > NO_BOX
    outputs = (
        torch.where(present.unsqueeze(2), found.boxes, 0.0),
        torch.where(present, found.scores, 0.0),
        torch.where(present, found.labels, -1),
    )
    if found.attributes is None:
        return outputs
    return *outputs, torch.where(present, found.attributes, -1)
