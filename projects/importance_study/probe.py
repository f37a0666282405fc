"""An importance that is learned: a linear probe in every stage tells objects from background.

It learns from the labels of the task while the network is adapted, without passes of its own and
without a gradient to the network.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from torch import Tensor, nn

from sparsevit_mm.engine.objects import object_pixels
from sparsevit_mm.ops.windows import WindowGrid, Windows, gather
from sparsevit_mm.pruning.importance import IMPORTANCES, Importance
from sparsevit_mm.pruning.prunable import find_prunable_backbone

_DECAY = 0.98
"""How much of what a probe has seen it keeps at every batch, for the network changes meanwhile."""

_RIDGE = 1e-3
"""Share of the mean variance that is added to every one, so that there is one best probe."""


@IMPORTANCES.register_module(name='probe')
class ProbeImportance(Importance, nn.Module):
    """The score of the most object-like token of a window.

    A probe is the least-squares fit of 1 to tokens with an object pixel and -1 to all others, both
    weighing the same, on tokens after a norm. What it is computed from, `moments_<channels>`, is
    part of the network's weights.

    Attributes:
        objects: (B, H, W) object pixels of the batch that is trained on; None to learn nothing.
    """

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.objects: Tensor | None = None

    def operations(self, channels: int) -> tuple[int, int]:
        """A norm and a scalar product, once; a maximum for each grid; see `Importance`."""
        return 9 * channels, 1

    def summarize(self, tokens: Tensor) -> Tensor:
        """(B * grid.map_tokens, C + 1) tokens after a norm, and a 1; see `Importance`."""
        normed = F.layer_norm(tokens.float(), tokens.shape[-1:])
        return F.pad(normed, (0, 1), value=1.0)

    def score(self, summary: Tensor, grid: WindowGrid, batch_size: int) -> Tensor:
        """Largest value of the probe, see `Importance`."""
        windows = Windows.locate(grid, batch_size, None, summary.device)
        with torch.autocast(summary.device.type, enabled=False):
            if self.training and self.objects is not None and not grid.shift:
                self._learn(summary, grid)
            values = gather((summary @ self._probe(summary.shape[1]))[:, None], windows)
        if windows.maps.padding is not None:
            values = values.masked_fill(windows.maps.padding, -math.inf)
        return values.amax((1, 2)).view(batch_size, -1)

    def _probe(self, size: int) -> Tensor:
        """(size,) weights and offset."""
        moments = self._moments(size)
        squares, products = moments[:, :-1], moments[:, -1]
        ridge = _RIDGE * squares.diagonal().mean().clamp(min=1e-6)
        return torch.linalg.solve(squares + ridge * torch.eye(size), products)

    def _moments(self, size: int) -> Tensor:
        """(size, size + 1) second moments of tokens, and their products with the wanted values."""
        name = f'moments_{size - 1}'
        if not hasattr(self, name):
            self.register_buffer(name, torch.zeros(size, size + 1))
        found: Tensor = getattr(self, name)
        return found

    @torch.no_grad()
    def _learn(self, summary: Tensor, grid: WindowGrid) -> None:
        assert self.objects is not None
        where = F.adaptive_max_pool2d(self.objects.float(), (grid.height, grid.width))
        is_object = where.flatten() > 0
        moments = self._moments(summary.shape[1]).mul_(_DECAY)
        for of_kind, wanted in ((summary[is_object], 1.0), (summary[~is_object], -1.0)):
            if len(of_kind):
                products = wanted * of_kind.sum(0)[:, None]
                moments += torch.cat([of_kind.T @ of_kind, products], 1) / len(of_kind)

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        """Makes room for the moments that the weights hold."""
        for name, value in state_dict.items():
            if name.startswith(f'{prefix}moments_'):
                self._moments(len(value))
        super()._load_from_state_dict(state_dict, prefix, *rest)


@HOOKS.register_module()
class ProbeLabelsHook(Hook):
    """Shows a `ProbeImportance` where objects are in every batch of a training.

    Args:
        objects: Classes of label maps that count; None for all boxes.
    """

    def __init__(self, objects: Sequence[str] | None = None) -> None:
        self.objects = objects

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Hands over the object pixels of the batch, padded as the network will see it."""
        model: Any = runner.model.module if is_model_wrapper(runner.model) else runner.model
        importance = find_prunable_backbone(model).importance
        if not isinstance(importance, ProbeImportance):
            return
        samples, dataset = data_batch['data_samples'], runner.train_dataloader.dataset
        divisor = getattr(model.data_preprocessor, 'pad_size_divisor', 1)
        height, width = (
            math.ceil(max(image.shape[side] for image in data_batch['inputs']) / divisor) * divisor
            for side in (1, 2)
        )
        maps = torch.zeros(len(samples), height, width, dtype=torch.bool)
        for own, sample in zip(maps, samples):
            if 'gt_sem_seg' in sample:
                found = object_pixels(sample, {}, dataset.metainfo['classes'], self.objects)
                assert found is not None
                own[: found.shape[1], : found.shape[2]] = found[0]
                continue
            boxes = sample.gt_instances.bboxes
            for left, top, right, bottom in getattr(boxes, 'tensor', boxes).tolist():
                rows = slice(max(0, math.floor(top)), max(0, math.ceil(bottom)))
                own[rows, max(0, math.floor(left)) : max(0, math.ceil(right))] = True
        importance.objects = maps
