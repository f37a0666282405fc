"""How much a window matters: the scores that windows are ranked by.

SparseViT's is 'l2', the L2 norm of the activation. No importance is right everywhere: large
activations need not follow objects. A class of one's own is registered in `IMPORTANCES`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.registry import Registry
from torch import Tensor, nn

from sparsevit_mm.errors import ConfigError
from sparsevit_mm.ops.backend import chunk_bytes, use_chunks
from sparsevit_mm.ops.tokens import chunks
from sparsevit_mm.ops.windows import WindowGrid, Windows, gather, index_maps

IMPORTANCES = Registry(
    'importance',
    locations=['sparsevit_mm.pruning.importance', 'sparsevit_mm.pruning.learned_importance'],
)

_WINDOWS_BYTES, _TOKENS_BYTES = 2**20, 2**19
"""Tokens of windows that are scored at a time in inference on a CPU."""


class Importance(ABC):
    """Scores the windows of a stage for one forward.

    The map is summarized once, as it is before the first block that skips windows. The plain and
    the shifted grid are both scored from that summary, for blocks change the map in place.

    Attributes:
        is_learned: Whether it learns in training, from the `objects` that it is shown.
        is_comparable: Whether scores of different images can be compared as they are.
        objects: (B, H, W) bool, object pixels of the batch that is trained on; None to learn
            nothing.
        name: What a schedule names it by; None if it was made with arguments.
        state: What it has learned, which the backbone keeps among its weights.
    """

    is_learned = False
    is_comparable = False
    objects: Tensor | None = None
    name: str | None = None
    state: nn.Module | None = None

    def new_state(self, arch: Any) -> nn.Module:
        """What it learns, before it has learned anything; asked if `is_learned`.

        Args:
            arch: Sizes of the backbone.
        """
        raise NotImplementedError

    def operations(self, channels: int) -> tuple[int, int] | None:
        """Counts element-wise operations for every token of the map; there are no products.

        Args:
            channels: Channels C of a token.

        Returns:
            Those of `summarize`, once in a stage, and those of `score`, for each grid; None if
            nobody counted them.
        """
        return None

    @abstractmethod
    def summarize(self, tokens: Tensor) -> Tensor:
        """What is kept of the map.

        Args:
            tokens: (B * grid.map_tokens, C) activations before any norm; may be changed in place
                later.

        Returns:
            (B * grid.map_tokens, ...).
        """

    @abstractmethod
    def score(self, summary: Tensor, grid: WindowGrid, batch_size: int) -> Tensor:
        """Scores the windows of a grid.

        Args:
            summary: (B * grid.map_tokens, ...) from `summarize`.
            grid: The windows.
            batch_size: Images B.

        Returns:
            (B, grid.num_windows), larger for windows that matter more.
        """


@IMPORTANCES.register_module(name='l2')
class L2Importance(Importance):
    """The L2 norm over a window's tokens of their mean magnitude (SparseViT)."""

    def operations(self, channels: int) -> tuple[int, int]:
        """A magnitude and a sum; then a square and a sum, see `Importance`."""
        return 2 * channels, 2

    def summarize(self, tokens: Tensor) -> Tensor:
        """(B * grid.map_tokens,) mean magnitude of the tokens, see `Importance`."""
        return token_importance(tokens)

    def score(self, summary: Tensor, grid: WindowGrid, batch_size: int) -> Tensor:
        """L2 norms, padding counting as 0, see `Importance`."""
        return window_scores(summary.view(batch_size, -1), grid)


@IMPORTANCES.register_module(name='random')
class RandomImportance(Importance):
    """Uniform scores, anew for every image, grid and forward: what any other must beat."""

    def operations(self, channels: int) -> tuple[int, int]:
        """None at all, see `Importance`."""
        return 0, 0

    def summarize(self, tokens: Tensor) -> Tensor:
        """Nothing but the device, see `Importance`."""
        return tokens[:, :0]

    def score(self, summary: Tensor, grid: WindowGrid, batch_size: int) -> Tensor:
        """Uniform scores, see `Importance`."""
        return torch.rand(batch_size, grid.num_windows, device=summary.device)


class DeviationImportance(Importance):
    """Deviation of a window's tokens from their own mean: it finds objects on plain ground.

    A token's deviation is the mean over channels of its distance from the mean token of its window;
    padding takes no part.
    """

    def operations(self, channels: int) -> tuple[int, int]:
        """A sum for the mean, a difference, a magnitude and a sum; see `Importance`."""
        return 0, 4 * channels + 2

    def summarize(self, tokens: Tensor) -> Tensor:
        """The tokens themselves, see `Importance`."""
        return tokens.clone()

    def score(self, summary: Tensor, grid: WindowGrid, batch_size: int) -> Tensor:
        """Scores from deviations, see `Importance`."""
        windows = Windows.locate(grid, batch_size, None, summary.device)
        chunk_size = None
        if use_chunks(summary):
            window_bytes = windows.num_tokens * summary.shape[1] * summary.element_size()
            chunk_size = max(1, chunk_bytes(_WINDOWS_BYTES) // window_bytes)
        dtype = torch.promote_types(summary.dtype, torch.float32)
        scores: Tensor | None = None
        for chunk in windows.chunks(chunk_size):
            found = self.of_deviations(_deviations(gather(summary, chunk).to(dtype), chunk))
            if chunk.kept is None:  # all windows at once
                return found.view(batch_size, -1)
            if scores is None:
                scores = found.new_empty(windows.num_windows)
            scores.index_copy_(0, chunk.kept, found)
        assert scores is not None, 'a map has windows'
        return scores.view(batch_size, -1)

    @abstractmethod
    def of_deviations(self, deviations: Tensor) -> Tensor:
        """Scores of windows.

        Args:
            deviations: (W, N) deviation of every token, 0 for padding.

        Returns:
            (W,).
        """


@IMPORTANCES.register_module(name='contrast')
class ContrastImportance(DeviationImportance):
    """The L2 norm of the deviations of a window's tokens from their mean."""

    def of_deviations(self, deviations: Tensor) -> Tensor:
        """L2 norms, see `DeviationImportance`."""
        return torch.linalg.vector_norm(deviations, ord=2, dim=-1)


@IMPORTANCES.register_module(name='peak')
class PeakImportance(DeviationImportance):
    """The largest deviation of a token from the mean of its window."""

    def of_deviations(self, deviations: Tensor) -> Tensor:
        """Largest deviations, see `DeviationImportance`."""
        return deviations.amax(-1)


def build_importance(importance: str | Mapping[str, Any] | Importance) -> Importance:
    """Makes an importance.

    Args:
        importance: A name in `IMPORTANCES`, a dict with `type` and arguments, or one made already.

    Raises:
        ConfigError: If the name is unknown.
    """
    if isinstance(importance, Importance):
        return importance
    cfg = dict(importance) if isinstance(importance, Mapping) else {'type': importance}
    check_importance_name(cfg.get('type'), importance)
    name = cfg.pop('type')
    # Not by `build`, which warns in every framework's scope but our own.
    built: Importance = IMPORTANCES.get(name)(**cfg)
    if not cfg:
        built.name = name
    return built


def check_importance_name(name: Any, given: Any = None) -> None:
    """Checks that there is an importance of a name.

    Args:
        name: The name.
        given: What the error shows if it is not the name.

    Raises:
        ConfigError: If there is none; the sentence lists those there are.
    """
    if not isinstance(name, str) or IMPORTANCES.get(name) is None:
        known = ', '.join(sorted(IMPORTANCES.module_dict))
        shown = name if given is None else given
        raise ConfigError(f'importance is {shown!r}, but must be one of {known}.')


def token_importance(tokens: Tensor) -> Tensor:
    """Mean magnitude of every token over its channels.

    Args:
        tokens: (..., C) activations, before any norm.

    Returns:
        (...) mean of |x|, in float32 or wider so that half precision does not blur the ranking.
    """
    dtype = torch.promote_types(tokens.dtype, torch.float32)
    if not use_chunks(tokens):
        return tokens.abs().sum(dim=-1, dtype=dtype) / tokens.shape[-1]
    sums = [
        chunk.abs().sum(dim=-1, dtype=dtype) for chunk in chunks(tokens, chunk_bytes(_TOKENS_BYTES))
    ]
    return torch.cat(sums) / tokens.shape[-1]


def window_scores(importance: Tensor, grid: WindowGrid) -> Tensor:
    """Score of every window: the L2 norm of its tokens' importance, padding counting as 0.

    Args:
        importance: (B, grid.map_tokens) from `token_importance`.
        grid: The windows.

    Returns:
        (B, num_windows) scores, row-major over the (shifted) grid.
    """
    maps = index_maps(grid, importance.device)
    if grid.is_split:
        scores = importance.view(importance.shape[0], grid.num_windows, -1)
    else:
        scores = importance[:, maps.token_index]
    if maps.padding is not None:
        scores = scores.masked_fill(maps.padding, 0)
    return torch.linalg.vector_norm(scores, ord=2, dim=-1)


def _deviations(own: Tensor, windows: Windows) -> Tensor:
    """(W, N) mean distance of every token of (W, N, C) windows from their mean; padding has 0."""
    padding = windows.maps.padding
    if padding is None:
        return (own - own.mean(1, keepdim=True)).abs().mean(-1)
    if windows.grid.is_split:
        own = own.masked_fill(padding, 0)
    # Padding is 0 in `own`, and every window has a real token.
    mean = own.sum(1, keepdim=True) / (~padding).sum(1, keepdim=True)
    return (own - mean).abs().mean(-1).masked_fill(padding.squeeze(-1), 0)
