"""BEVDet's head: CenterPoint's with non-maximum suppression per task, scale-NMS included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmdet3d.models.dense_heads import CenterHead
from mmdet3d.models.layers import circle_nms, nms_bev
from mmdet3d.structures import xywhr2xyxyr
from mmengine.structures import InstanceData
from torch import Tensor, nn

from sparsevit_mm.errors import ConfigError
from sparsevit_mm.registry import MODELS

NMS_TYPES = ('rotate', 'circle')


@MODELS.register_module()
class BEVDetHead(CenterHead):
    """MMDetection3D's `CenterHead` with BEVDet's non-maximum suppression (scale-NMS).

    Duplicates of a small object seldom overlap in the map. Scale-NMS therefore multiplies box sizes
    by a factor of their class while overlaps are computed.

    Args:
        test_cfg: As in `CenterHead`: `nms_type` ('rotate' or 'circle'), `nms_thr` (largest IoU, for
            'rotate'), `min_radius` (smallest squared distance of centers in square meters, for
            'circle'), `pre_max_size` and `post_max_size` (boxes per task before and after). The
            first three may also be lists with one value per task. New is `nms_rescale_factor`: for
            each task a list with one factor per class. The box coder filters scores and ranges.
        **center_head: Arguments of `CenterHead`.

    Raises:
        ConfigError: If `test_cfg` does not fit the tasks.
    """

    def __init__(self, *, test_cfg: Mapping[str, Any] | None = None, **center_head: Any) -> None:
        super().__init__(test_cfg=test_cfg, **center_head)
        if test_cfg is None:
            return
        tasks = len(self.num_classes)
        self._nms_types = _per_task(test_cfg, 'nms_type', tasks)
        self._thresholds = _per_task(test_cfg, 'nms_thr', tasks)
        self._radii = _per_task(test_cfg, 'min_radius', tasks)
        factors = test_cfg.get('nms_rescale_factor') or [[1.0] * n for n in self.num_classes]
        if [len(of_task) for of_task in factors] != self.num_classes:
            raise ConfigError(
                f'test_cfg.nms_rescale_factor is {factors}, but must have a factor for every class '
                f'of every task: {self.num_classes}.'
            )
        self._factors = factors
        if not set(self._nms_types) <= set(NMS_TYPES):
            raise ConfigError(
                f'test_cfg.nms_type is {test_cfg["nms_type"]}, but must be one of {NMS_TYPES}.'
            )

    def init_weights(self) -> None:
        """Initializes the weights and the bias of the tasks' heatmaps.

        mmengine does not descend into PyTorch's `ModuleList`, which holds MMDetection3D's task
        heads, so their layers keep PyTorch's default initialization; only this bias needs another.
        """
        super().init_weights()
        for head in self.task_heads:
            nn.init.constant_(head.heatmap[-1].bias, head.init_bias)

    def forward_single(self, x: Tensor) -> list[dict[str, Tensor]]:
        """Computes the maps of all tasks, converted to float32 if they are in half precision."""
        return [
            {
                name: value.to(torch.promote_types(value.dtype, torch.float32))
                for name, value in maps.items()
            }
            for maps in super().forward_single(x)
        ]

    def get_targets(
        self, batch_gt_instances_3d: Sequence[InstanceData]
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor]]:
        """Computes the targets of all tasks; unknown velocities, or none at all, become 0."""
        heatmaps, boxes, places, masks = super().get_targets(
            [_with_velocities(instances) for instances in batch_gt_instances_3d]
        )
        return heatmaps, [table.nan_to_num(nan=0.0) for table in boxes], places, masks

    def predict_by_feat(
        self,
        preds_dicts: Sequence[Sequence[Mapping[str, Tensor]]],
        batch_input_metas: Sequence[Mapping[str, Any]],
        *args: Any,
        **kwargs: Any,
    ) -> list[InstanceData]:
        """Decodes maps to boxes and suppresses duplicates.

        Args:
            preds_dicts: For every task a list of one level, with the maps by name.
            batch_input_metas: One per frame, with `box_type_3d`.
            *args: Ignored.
            **kwargs: Ignored.

        Returns:
            For every frame `bboxes_3d` in the map's frame, `scores_3d` and `labels_3d`.
        """
        found: list[list[tuple[Tensor, Tensor, Tensor]]] = [[] for _ in batch_input_metas]
        first_label = 0
        for task, (maps,) in enumerate(preds_dicts):
            for frame, decoded in enumerate(self._decode(maps, task)):
                boxes, scores, labels = (decoded[key] for key in ('bboxes', 'scores', 'labels'))
                kept = self._suppress(
                    task, boxes, scores, labels.long(), batch_input_metas[frame]['box_type_3d']
                )
                found[frame].append((boxes[kept], scores[kept], labels[kept].long() + first_label))
            first_label += self.num_classes[task]
        return [
            self._instances(of_frame, meta['box_type_3d'])
            for of_frame, meta in zip(found, batch_input_metas)
        ]

    def _decode(self, maps: Mapping[str, Tensor], task: int) -> list[dict[str, Tensor]]:
        dims = maps['dim'].exp() if self.norm_bbox else maps['dim']
        sine, cosine = maps['rot'].split(1, dim=1)
        return self.bbox_coder.decode(
            maps['heatmap'].sigmoid(),
            sine,
            cosine,
            maps['height'],
            dims,
            maps.get('vel'),
            reg=maps['reg'],
            task_id=task,
        )

    def _suppress(
        self, task: int, boxes: Tensor, scores: Tensor, labels: Tensor, box_type: Any
    ) -> Tensor:
        """Returns the indices of the boxes that stay, best first."""
        most = self.test_cfg['post_max_size']
        if not len(boxes):  # MMDetection3D's nms_bev would return an empty row
            return labels
        if self._nms_types[task] == 'circle':
            centers = torch.cat([boxes[:, :2], scores[:, None]], dim=1)
            kept = circle_nms(centers.detach().cpu().numpy(), self._radii[task], post_max_size=most)
            return torch.as_tensor(kept, dtype=torch.long, device=boxes.device)
        factors = boxes.new_tensor(self._factors[task])[labels]
        scaled = boxes.clone()
        scaled[:, 3:6] *= factors[:, None]
        return nms_bev(
            xywhr2xyxyr(box_type(scaled, self.bbox_coder.code_size).bev),
            scores,
            thresh=self._thresholds[task],
            pre_max_size=self.test_cfg['pre_max_size'],
            post_max_size=most,
        )

    def _instances(
        self, of_tasks: Sequence[tuple[Tensor, Tensor, Tensor]], box_type: Any
    ) -> InstanceData:
        boxes, scores, labels = (torch.cat(parts) for parts in zip(*of_tasks))
        bottoms = boxes.clone()
        bottoms[:, 2] -= bottoms[:, 5] / 2  # the head predicts centers
        return InstanceData(
            bboxes_3d=box_type(bottoms, self.bbox_coder.code_size),
            scores_3d=scores,
            labels_3d=labels,
        )


def _per_task(test_cfg: Mapping[str, Any], key: str, tasks: int) -> list[Any]:
    """Returns a setting of every task; None where it is not given."""
    value = test_cfg.get(key)
    if not isinstance(value, (list, tuple)):
        return [value] * tasks
    if len(value) != tasks:
        raise ConfigError(
            f'test_cfg.{key} is {list(value)}, but must be one value or one for each of the '
            f'{tasks} tasks.'
        )
    return list(value)


def _with_velocities(instances: InstanceData) -> InstanceData:
    """The instances with boxes of 9 numbers; data without velocity have 7."""
    boxes = instances.bboxes_3d
    if boxes.tensor.shape[-1] != 7:
        return instances
    whole = type(boxes)(F.pad(boxes.tensor, (0, 2)), box_dim=9)
    return InstanceData(bboxes_3d=whole, labels_3d=instances.labels_3d)
