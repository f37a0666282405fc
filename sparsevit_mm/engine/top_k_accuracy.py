"""Top-k accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.evaluator import BaseMetric

from sparsevit_mm.errors import ConfigError
from sparsevit_mm.registry import METRICS


@METRICS.register_module()
class TopKAccuracy(BaseMetric):
    """Share of images whose class is among the k best scored, in percent.

    Args:
        topk: The wanted k; those beyond the number of classes are left out.
        collect_device: Where results of several processes are gathered, 'cpu' or 'gpu'.
        prefix: Put before the names of the metrics.
    """

    default_prefix = 'accuracy'

    def __init__(
        self,
        topk: Sequence[int] = (1, 5),
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        if not topk or min(topk) < 1:
            raise ConfigError(f'topk is {tuple(topk)}, but it must hold positive numbers.')
        self.topk = tuple(topk)

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Notes the rank of each image's class: how many classes score higher."""
        for sample in data_samples:
            scores, label = sample['scores'], int(sample['label'])
            better = int((scores > scores[label]).sum())
            # Of equal scores, the class with the lower number counts as better.
            equal = int((scores[:label] == scores[label]).sum())
            self.results.append((better + equal, len(scores)))

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        """Gives `top1`, `top5` and so on."""
        ranks = torch.tensor([rank for rank, _ in results])
        classes = results[0][1]
        return {
            f'top{k}': 100 * (ranks < k).float().mean().item() for k in self.topk if k <= classes
        }
