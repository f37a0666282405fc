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

from sparsevit_mm.layers.position_bias import relative_position_bias
from sparsevit_mm.layers.window_grid import edge_masks


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    biases: Tensor,
    pattern: Tensor | None = None,
    scale: float | None = None,
    dropout: float = 0.0,
) -> Tensor:
    """Attention of every window over its own tokens.

    Args:
        query: (W, heads, N, D).
        key: (W, heads, N, D).
        value: (W, heads, N, D).
        biases: (P, heads, N, N) additive biases, one for each kind of window.
        pattern: (W,) which of the P biases each window takes; None if all take the first.
        scale: Factor on query-key products; D**-0.5 by default.
        dropout: Probability of dropping an attention weight.

    Returns:
        (W, heads, N, D).
    """
    mask = biases[:1] if pattern is None else biases.index_select(0, pattern)
    return F.scaled_dot_product_attention(
        query, key, value, attn_mask=mask.to(query.dtype), dropout_p=dropout, scale=scale
    )


@dataclass(frozen=True)
class WindowCarriers:
    """Carrier tokens that windows take along, before their own tokens.

    Attributes:
        tokens: (W, K, C) of each window.
        masks: (4, 1, 1, K) additive masks of them as keys, one for each kind of window; None if all
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
        self.relative_position_bias_table = nn.Parameter(
            torch.zeros((2 * window_size - 1) ** 2, num_heads)
        )
        self.qkv = nn.Linear(embed_dims, 3 * embed_dims, bias=qkv_bias)
        self.proj = nn.Linear(embed_dims, embed_dims)
        self.proj_drop = nn.Dropout(proj_drop_rate)

    def forward(
        self,
        windows: Tensor,
        edge_pattern: Tensor | None = None,
        carriers: WindowCarriers | None = None,
    ) -> Tensor:
        """Attends inside each window.

        Carriers have no place: there is no bias between them and any token, and they see, and are
        seen from, all sides of an edge.

        Args:
            windows: (W, N, C) normed tokens, those of the carriers first.
            edge_pattern: (W,) kind of each window of a shifted grid, see
                `WindowGrid.edge_pattern`; None for a plain grid.
            carriers: What `windows` begins with, or None.

        Returns:
            (W, N, C).
        """
        num_windows, num_tokens, channels = windows.shape
        qkv = self.qkv(windows).view(num_windows, num_tokens, 3, self.num_heads, -1)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        biases = relative_position_bias(self.relative_position_bias_table, self.window_size)[None]
        if edge_pattern is not None:
            masks = edge_masks(self.window_size, self.shift, windows.device)
            biases = biases + masks[:, None].to(biases.dtype)
        pattern = edge_pattern
        if carriers is not None:
            biases = F.pad(biases, (carriers.tokens.shape[1], 0) * 2)
            if carriers.masks is not None:
                biases = biases + F.pad(carriers.masks, (0, num_tokens - carriers.masks.shape[-1]))
                pattern = carriers.pattern
        dropout = self.attn_drop_rate if self.training else 0.0
        out = attend(query, key, value, biases, pattern, self.scale, dropout)
        out = out.transpose(1, 2).reshape(num_windows, num_tokens, channels)
        return self.proj_drop(self.proj(out))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        # Other implementations store this derived index; ours computes it.
        state_dict.pop(prefix + 'relative_position_index', None)
        super()._load_from_state_dict(state_dict, prefix, *args)
