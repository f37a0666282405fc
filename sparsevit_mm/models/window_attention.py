"""Multi-head self-attention inside windows.

Parameter names (`qkv`, `proj`, `relative_position_bias_table`) are those of MMDetection's and
Microsoft's Swin; renaming one breaks every existing checkpoint.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sparsevit_mm.ops.backend import run_kernels
from sparsevit_mm.ops.linear import Linear
from sparsevit_mm.ops.position_bias import relative_position_bias
from sparsevit_mm.ops.remembered import Remembered
from sparsevit_mm.ops.window_grid import edge_masks

LARGEST_WINDOW = 256
"""Tokens of a window up to which the kernel computes it; more are the vendor's library's."""

LARGEST_HEAD = 128
"""Channels of a head up to which the kernel computes it."""


def attend(
    qkv: Tensor,
    num_heads: int,
    bias: Tensor,
    masks: Tensor | None = None,
    kinds: Tensor | None = None,
    scale: float | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """Attention of every window over its own tokens.

    Args:
        qkv: (W, N, 3 * C) queries, keys and values, heads side by side in each.
        num_heads: Heads; each has D = C / heads channels.
        bias: (heads, N, N) added to the scores of all windows.
        masks: (P, N, N) or, for keys alone, (P, 1, N): added to the scores of windows of each kind.
            With `kinds`, kind 0 is the windows that need no mask, and its mask is 0.
        kinds: (W,) kind of each window; None if all take the first mask.
        scale: Factor on query-key products; D**-0.5 by default.
        dropout: Probability of dropping an attention weight.

    Returns:
        (W, N, C), heads side by side.
    """
    num_windows, num_tokens, packed = qkv.shape
    head_dims = packed // (3 * num_heads)
    small = num_tokens <= LARGEST_WINDOW and head_dims <= LARGEST_HEAD
    if small and dropout == 0 and (masks is None or kinds is not None) and run_kernels(qkv):
        from sparsevit_mm.ops.triton.window_attention import window_attention

        return window_attention(qkv.contiguous(), num_heads, bias.contiguous(), masks, kinds, scale)
    split = qkv.view(num_windows, num_tokens, 3, num_heads, head_dims).permute(2, 0, 3, 1, 4)
    if scale is None:
        scale = head_dims**-0.5
    if qkv.is_cuda and head_dims % 8:
        # The fused forms on a GPU take heads of multiples of 8 alone.
        split = F.pad(split, (0, -head_dims % 8))
    query, key, value = split.unbind(0)
    added = bias[None]
    if masks is not None:
        added = added + masks[:, None]
        added = added[:1] if kinds is None else added.index_select(0, kinds)
    out = F.scaled_dot_product_attention(
        query, key, value, attn_mask=added.to(query.dtype), dropout_p=dropout, scale=scale
    )
    return out[..., :head_dims].transpose(1, 2).reshape(num_windows, num_tokens, -1)


@dataclass(frozen=True)
class WindowCarriers:
    """Carrier tokens that windows take along, before their own tokens.

    Attributes:
        tokens: (W, K, C) of each window.
        masks: (4, 1, K) additive masks of them as keys, one for each kind of window; None if all
            may be seen.
        pattern: (W,) kind of each window, see `WindowGrid.edge_pattern`; None without masks.
    """

    tokens: Tensor
    masks: Tensor | None = None
    pattern: Tensor | None = None


class WindowAttention(nn.Module):
    """Window attention with Swin's relative position bias and the edge masks of a shifted grid.

    Args:
        embed_dims: Channels C.
        num_heads: Heads; divides `embed_dims`.
        window_size: Side of a window in tokens.
        shift: Cyclic shift of the block's grid, 0 for a plain block.
        qkv_bias: Whether queries, keys and values have a bias.
        qk_scale: Factor on query-key products; (C / heads)**-0.5 by default.
        attn_drop_rate: Dropout of attention weights.
        proj_drop_rate: Dropout of the output.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        window_size: int,
        shift: int = 0,
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        attn_drop_rate: float = 0.0,
        proj_drop_rate: float = 0.0,
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.window_size = window_size
        self.shift = shift
        self.scale = qk_scale
        self.attn_drop_rate = attn_drop_rate
        self._remembered = Remembered()
        self.relative_position_bias_table = nn.Parameter(
            torch.zeros((2 * window_size - 1) ** 2, num_heads)
        )
        self.qkv = Linear(embed_dims, 3 * embed_dims, bias=qkv_bias)
        self.proj = Linear(embed_dims, embed_dims)
        self.proj_drop = nn.Dropout(proj_drop_rate)

    def forward(
        self,
        windows: Tensor,
        edge_pattern: Tensor | None = None,
        carriers: WindowCarriers | None = None,
        hidden: Tensor | None = None,
    ) -> Tensor:
        """Attends inside each window.

        Carriers have no place: there is no bias between them and any token, and they see, and are
        seen from, all sides of an edge.

        Args:
            windows: (W, N, C) normed tokens, those of the carriers first.
            edge_pattern: (W,) kind of each window of a shifted grid, see
                `WindowGrid.edge_pattern`; None for a plain grid.
            carriers: What `windows` begins with, or None.
            hidden: (W, N) bool, tokens that none may see; None if all may be seen. Not with
                carriers.

        Returns:
            (W, N, C).
        """
        bias, masks, kinds = self._bias(), None, edge_pattern
        if edge_pattern is not None:
            masks = edge_masks(self.window_size, self.shift, windows.device)
        if carriers is not None:
            beside = (carriers.tokens.shape[1], 0) * 2
            bias = F.pad(bias, beside)
            masks = None if masks is None else F.pad(masks, beside)
            if carriers.masks is not None:
                beside_tokens = F.pad(carriers.masks, (0, windows.shape[1] - beside[0]))
                masks = beside_tokens if masks is None else masks + beside_tokens
                kinds = carriers.pattern
        elif hidden is not None:
            masks, kinds = _masks_of_windows(hidden, masks, edge_pattern)
        dropout = self.attn_drop_rate if self.training else 0.0
        out = attend(self.qkv(windows), self.num_heads, bias, masks, kinds, self.scale, dropout)
        return self.proj_drop(self.proj(out))

    def train(self, mode: bool = True) -> WindowAttention:
        """Switches the mode and forgets the bias made for it."""
        self._remembered.forget()
        super().train(mode)
        return self

    def _bias(self) -> Tensor:
        """(heads, N, N) contiguous bias of a window's own tokens."""
        table = self.relative_position_bias_table
        return self._remembered.get(
            self.training,
            [table],
            self.window_size,
            lambda: relative_position_bias(table, self.window_size).contiguous(),
        )

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        # Other implementations store this derived index; ours computes it.
        state_dict.pop(prefix + 'relative_position_index', None)
        super()._load_from_state_dict(state_dict, prefix, *args)


def _masks_of_windows(
    hidden: Tensor, masks: Tensor | None, kinds: Tensor | None
) -> tuple[Tensor, Tensor]:
    """A mask for every window, as `attend` takes them: kind 0, which it may not read, is none's."""
    own = torch.zeros(hidden.shape, device=hidden.device).masked_fill(hidden, -torch.inf)[:, None]
    if masks is not None and kinds is not None:
        own = own + masks.index_select(0, kinds)
    return F.pad(own, (0, 0, 0, 0, 1, 0)), torch.arange(1, len(hidden) + 1, device=hidden.device)
