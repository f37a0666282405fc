"""Which windows of a neck and head are computed: those of which its coarse pass is unsure."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sparsevit_mm.models.sparse_heads.convolution import upsampled
from sparsevit_mm.ops.windows import WindowGrid, Windows
from sparsevit_mm.pruning.allocation import Allocation
from sparsevit_mm.pruning.selection import num_kept_windows


def entropy_scores(logits: Tensor, grid: WindowGrid) -> Tensor:
    """Scores windows by the entropy of a segmentation.

    Args:
        logits: (B, classes, h, w), of any resolution.
        grid: The windows.

    Returns:
        (B, grid.num_windows) mean entropy of the tokens in nats, padding counting as 0. One class
        alone is present or not.
    """
    logits = logits.float()
    if logits.shape[1] == 1:
        logits = torch.cat([logits, torch.zeros_like(logits)], dim=1)
    log_shares = logits.log_softmax(1)
    entropy = -(log_shares.exp() * log_shares).sum(1, keepdim=True)
    size = (grid.height, grid.width)
    if entropy.shape[2:] != size:
        entropy = F.interpolate(entropy, size=size, mode='bilinear', align_corners=False)
    return F.avg_pool2d(_padded(entropy, grid), grid.window_size).flatten(1)


def objectness_scores(logits: Tensor, grid: WindowGrid, pool: int) -> Tensor:
    """Scores windows by the likeliest object of a dense head.

    Args:
        logits: (B, A, h, w) logits of anchors or classes on the coarse map.
        grid: The windows.
        pool: Side of the squares of tokens that were averaged.

    Returns:
        (B, grid.num_windows) largest probability in a window.
    """
    best = logits.float().amax(1, keepdim=True)
    full = upsampled(best, (grid.height, grid.width), pool).sigmoid()
    return F.max_pool2d(_padded(full, grid), grid.window_size).flatten(1)


def kept_windows(
    scores: Tensor, grid: WindowGrid, ratio: float, allocation: Allocation
) -> Windows | None:
    """The windows with the highest scores.

    Args:
        scores: (B, grid.num_windows).
        grid: The windows.
        ratio: The share of them that is skipped.
        allocation: Which images share a budget.

    Returns:
        The windows; None if all are kept.
    """
    number, batch_size = num_kept_windows(grid.num_windows, ratio), scores.shape[0]
    if number >= grid.num_windows:
        return None
    order = allocation.rank(scores, number)[:, : number * allocation.group_in(batch_size)]
    return Windows.locate(grid, batch_size, order.flatten(), scores.device)


def _padded(feature_map: Tensor, grid: WindowGrid) -> Tensor:
    """(B, C, rows * window, cols * window), zeros on the right and bottom."""
    bottom = grid.rows * grid.window_size - grid.height
    right = grid.cols * grid.window_size - grid.width
    return F.pad(feature_map, (0, right, 0, bottom))
