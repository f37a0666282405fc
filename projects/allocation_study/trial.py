"""SparseViT with ways to share windows between images that are tried, not shipped.

Scores are made comparable between images in several ways. 'calibrated' keeps what scores above a
threshold that a calibration set gave, whatever else is in the batch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from sparsevit_mm.models.sparsevit import SparseViT
from sparsevit_mm.ops.windows import WindowGrid
from sparsevit_mm.pruning.importance import Importance
from sparsevit_mm.pruning.selection import num_kept_windows
from sparsevit_mm.registry import MODELS

RELATIVE_TO = ('nothing', 'median', 'mean', 'deviation')


def comparable(scores: Tensor, relative_to: str) -> Tensor:
    """Makes scores of images comparable.

    Args:
        scores: (B, num_windows), at least 0.
        relative_to: A key of `RELATIVE_TO`: each image's median or mean, or its mean subtracted and
            then its standard deviation.
    """
    if relative_to == 'nothing':
        return scores
    if relative_to == 'deviation':
        centered = scores - scores.mean(1, keepdim=True)
        return centered / scores.std(1, keepdim=True).clamp_min(1e-12)
    scale = scores.median(1, keepdim=True).values if relative_to == 'median' else None
    return scores / (scores.mean(1, keepdim=True) if scale is None else scale).clamp_min(1e-12)


@dataclass
class Trial:
    """How windows are shared out, and what came of it.

    Attributes:
        allocation: 'image', 'batch' or 'calibrated'.
        relative_to: See `comparable`.
        most: With 'calibrated', the most windows an image keeps, as a multiple of its usual number.
        thresholds: With 'calibrated', the score from which on windows are kept, by stage and shift.
        collected: If not None, gets the comparable scores of every image, by stage and shift.
        shares: For each forward, stage and shift: share of windows kept, an image each.
    """

    allocation: str = 'image'
    relative_to: str = 'median'
    most: float = 100.0
    thresholds: dict[tuple[int, int], float] = field(default_factory=dict)
    collected: dict[tuple[int, int], list[Tensor]] | None = None
    shares: dict[tuple[int, int], list[float]] = field(default_factory=dict)

    def calibrate(self, ratio: float) -> None:
        """Sets the thresholds at which the mean share over the collected images is 1 - ratio."""
        for key, images in (self.collected or {}).items():
            scores = torch.cat(images)
            weights = torch.cat([torch.full((len(own),), 1 / len(own)) for own in images])
            order = scores.argsort(descending=True)
            share = weights[order].cumsum(0) / len(images)
            place = torch.searchsorted(share, torch.tensor(1 - ratio)).clamp_max(len(scores) - 1)
            self.thresholds[key] = float(scores[order][place])


@dataclass
class TrialRanking:
    """Ranks the windows of one stage as a `Trial` says, see `WindowRanking`."""

    trial: Trial
    importance: Importance
    batch_size: int
    first_dims: int
    _summary: Tensor | None = None
    _scores: dict[int, Tensor] = field(default_factory=dict)
    _counted: set[tuple[int, int]] = field(default_factory=set)

    @torch.no_grad()
    def select(self, tokens: Tensor, grid: WindowGrid, ratio: float) -> Tensor | None:
        """The windows that a block keeps, see `WindowRanking.select`."""
        if ratio == 0:
            return None
        stage = (tokens.shape[1] // self.first_dims).bit_length() - 1
        key = (stage, grid.shift)
        if self._summary is None:
            self._summary = self.importance.summarize(tokens)
        if grid.shift not in self._scores:
            scores = self.importance.score(self._summary, grid, self.batch_size)
            self._scores[grid.shift] = comparable(scores, self.trial.relative_to)
            if self.trial.collected is not None:
                images = self._scores[grid.shift].cpu()
                self.trial.collected.setdefault(key, []).extend(images)
        kept = self._kept(self._scores[grid.shift], num_kept_windows(grid.num_windows, ratio), key)
        if key not in self._counted:  # later blocks keep the same with a uniform ratio
            self._counted.add(key)
            self.trial.shares.setdefault(key, []).extend(kept.float().mean(1).tolist())
        return kept.flatten().nonzero().squeeze(1)

    def _kept(self, scores: Tensor, num_kept: int, key: tuple[int, int]) -> Tensor:
        """(B, num_windows) bool."""
        rank = scores.argsort(dim=1, descending=True, stable=True).argsort(1)
        if self.trial.allocation == 'image':
            return rank < num_kept
        if self.trial.allocation == 'calibrated':
            most = max(1, int(self.trial.most * num_kept))
            return ((scores >= self.trial.thresholds[key]) & (rank < most)) | (rank == 0)
        scores = scores.masked_fill(rank == 0, torch.inf)
        kept = torch.zeros_like(scores, dtype=torch.bool)
        kept.view(-1)[scores.flatten().topk(num_kept * self.batch_size).indices] = True
        return kept


@MODELS.register_module()
class TrialSparseViT(SparseViT):
    """SparseViT that shares out windows as its `trial` says.

    Args:
        arch: As in `SparseViT`.
        **sparsevit: Further arguments of `SparseViT`.
    """

    changeable_options = (*SparseViT.changeable_options, 'trial')

    def __init__(self, arch: str = 'tiny', **sparsevit: Any) -> None:
        super().__init__(arch, **sparsevit)
        self.trial = Trial()

    def new_ranking(self, batch_size: int) -> TrialRanking:  # type: ignore[override]
        """The ranking of one stage."""
        dims = self.arch.stage_dims[0]
        return TrialRanking(self.trial, self.importance, batch_size, dims)
