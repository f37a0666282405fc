"""How a ratio becomes windows: which images share a budget, and who gets how much of it.

A ratio says how many windows an image keeps. Images may share these budgets: then a window competes
with those of all images of its group, and an image with more to see keeps more of its windows. How
many a group keeps does not depend on the images, so shapes stay fixed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sparsevit_mm.errors import ConfigError
from sparsevit_mm.ops.compat import is_exporting

ALLOCATIONS = ('image', 'batch')


@dataclass(frozen=True)
class Allocation:
    """Which images share a budget of windows.

    Attributes:
        group_size: Images in a row that share one; 1 if every image has its own, as in the paper,
            None for all images of a batch. A smaller batch is one group.
    """

    group_size: int | None = 1

    def to_config(self) -> str | dict[str, Any]:
        """The form that `build_allocation` reads, JSON-ready."""
        if self.group_size == 1:
            return 'image'
        if self.group_size is None:
            return 'batch'
        return {'type': 'batch', 'group_size': self.group_size}

    def group_in(self, batch_size: int) -> int:
        """Images that share a budget in a batch.

        Raises:
            ConfigError: If the batch is not made of whole groups.
        """
        if self.group_size is None:
            return batch_size
        if isinstance(batch_size, int) and self.group_size > 1:  # else a symbol of a graph
            if batch_size < self.group_size:
                return batch_size
            if batch_size % self.group_size:
                raise ConfigError(
                    f'group_size of the allocation is {self.group_size}, but a batch has '
                    f'{batch_size} images, and must be made of whole groups.'
                )
        return self.group_size

    def rank(self, scores: Tensor, num_kept: int, is_comparable: bool = False) -> Tensor:
        """Puts the windows of every group in the order in which they are kept.

        First come the best windows of all images, one each; then all others of the group by
        their scores, relative to the mean magnitude of their image's scores. So a dark image
        competes with a bright one by what stands out in it. An image's own windows always keep the
        order of their scores.
        (Relative to medians, every image would keep half of its windows at a ratio of 0.5.)

        Args:
            scores: (B, num_windows), larger for windows that matter more.
            num_kept: Windows of an image that the first ratio keeps; later ones keep no more.
            is_comparable: Whether scores of different images compare as they are, see `Importance`.

        Returns:
            (groups, K) int64 indices over the batch, image * num_windows + window, with
            K >= group * num_kept.
        """
        batch_size, num_windows = scores.shape
        group = self.group_in(batch_size)
        values, order = _largest(scores, num_windows if group != 1 else num_kept)
        order = order + torch.arange(batch_size, device=order.device)[:, None] * num_windows
        if self.group_size == 1 or batch_size == 1:
            return order
        relative = values
        if not is_comparable:
            mean = values.abs().mean(1, keepdim=True)
            relative = values / mean.clamp_min(torch.finfo(values.dtype).tiny)
        relative = torch.cat([torch.full_like(relative[:, :1], torch.inf), relative[:, 1:]], dim=1)
        # By rank, not image by image: equal images then share evenly.
        relative, order = (
            part.view(-1, group, num_windows).transpose(1, 2).flatten(1)
            for part in (relative, order)
        )
        _, first = _largest(relative, group * num_kept)
        return order.gather(1, first)


def _largest(scores: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """The largest of every row, and where they are; of equal scores, the first comes first."""
    if is_exporting():
        # Runtimes know no stable sort; of equal scores, ONNX' TopK takes that with the lower index.
        return torch.topk(scores, number, dim=1)
    # A stable sort makes ties, such as two black windows, independent of the batch.
    return torch.sort(scores, dim=1, descending=True, stable=True)


def build_allocation(allocation: str | Mapping[str, Any] | Allocation) -> Allocation:
    """Makes an allocation.

    Args:
        allocation: 'image', 'batch', a dict of `type` 'batch' and a `group_size`, or one made
            already.

    Raises:
        ConfigError: If it is none of these.
    """
    if isinstance(allocation, Allocation):
        return allocation
    cfg = dict(allocation) if isinstance(allocation, Mapping) else {'type': allocation}
    kind = cfg.pop('type', None)
    if kind not in ALLOCATIONS:
        raise ConfigError(f"allocation is {allocation!r}, but must be 'image' or 'batch'.")
    group_size: Any = cfg.pop('group_size', None) if kind == 'batch' else 1
    is_size = isinstance(group_size, int) and not isinstance(group_size, bool) and group_size > 0
    if cfg or not (group_size is None or is_size):
        raise ConfigError(
            f"allocation is {allocation!r}, but 'batch' takes only group_size, the number of "
            "images that share a budget, at least 1, and 'image' takes nothing."
        )
    return Allocation(group_size)
