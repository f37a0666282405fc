"""The mean IoU without the class of unlabeled pixels."""

from __future__ import annotations

from typing import Any

from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS


@METRICS.register_module()
class LabeledIoUMetric(IoUMetric):
    """`IoUMetric` without the first class, which counts as 0 once it is predicted anywhere."""

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        """Metrics of the other classes, see `IoUMetric`."""
        meta: Any = self.dataset_meta  # type: ignore[has-type]
        self.dataset_meta = {**meta, 'classes': meta['classes'][1:]}
        metrics: dict[str, float] = super().compute_metrics(
            [tuple(areas[1:] for areas in image) for image in results]
        )
        self.dataset_meta = meta
        return metrics
