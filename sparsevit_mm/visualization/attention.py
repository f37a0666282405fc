"""Traces and draws what a token of a FasterViT attends to, in its window and through carriers.

A carrier token represents the part of the map that it was pooled from. The attention of a token to
the carriers of its window is multiplied by the attention of these to all carriers, in the same
block, and then spread over the parts of the map that the carriers represent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from sparsevit_mm.errors import ConfigError
from sparsevit_mm.models.carrier_tokens import pooling_matrices
from sparsevit_mm.models.fastervit import FasterViT, FasterViTStage, HierarchicalAttentionBlock
from sparsevit_mm.ops.windows import WindowGrid
from sparsevit_mm.visualization.style import FAINT_INK, new_drawing, title_panel, to_pixels

_TOKEN = '#00e5ff'
_BAR = 52
"""Pixels below a panel, for the bar of colors and its figures."""


@dataclass(frozen=True)
class TokenAttention:
    """What one token attends to, averaged over the heads of one block.

    Attributes:
        grid: The windows of the stage.
        row: Row of the token in the stage's map.
        col: Column of the token.
        window: (H, W) weights of the tokens of its window, 0 elsewhere.
        carriers: (H, W) weights that reach tokens through the carriers; all 0 without carriers.
            Together both sum to 1, but for carriers that see padding only.
    """

    grid: WindowGrid
    row: int
    col: int
    window: NDArray[np.float32]
    carriers: NDArray[np.float32]


@torch.no_grad()
def trace_attention(
    backbone: FasterViT, images: Tensor, place: tuple[float, float], stage: int = 2, block: int = -1
) -> TokenAttention:
    """Follows the attention of the token at a place of the image.

    Args:
        backbone: The network, in evaluation.
        images: (1, 3, H, W), normalized.
        place: (row, column) in the image as shares of its height and width, in [0, 1].
        stage: An attention stage, 2 or 3.
        block: Block of the stage; negative numbers count from its end.

    Raises:
        ConfigError: If the place, the stage or the block does not exist.
    """
    if not all(0 <= share <= 1 for share in place):
        raise ConfigError(f'place is {place}, but both shares must lie between 0 and 1.')
    stages = {
        number: part
        for number, part in enumerate(backbone.levels)
        if isinstance(part, FasterViTStage)
        and isinstance(part.blocks[0], HierarchicalAttentionBlock)
    }
    if stage not in stages:
        raise ConfigError(f'stage is {stage}, but stages with attention are {list(stages)}.')
    blocks = stages[stage].blocks
    if not -len(blocks) <= block < len(blocks):
        raise ConfigError(f'block is {block}, but stage {stage} has {len(blocks)} blocks.')
    traced = blocks[block]
    assert isinstance(traced, HierarchicalAttentionBlock)
    attentions = [traced.attn] if traced.carriers is None else [traced.attn, traced.carriers.attn]
    calls: dict[int, tuple[Any, ...]] = {}
    shapes: list[tuple[int, int]] = []
    handles = [
        part.register_forward_pre_hook(lambda module, args: calls.update({id(module): args}))
        for part in attentions
    ]
    handles.append(
        stages[stage].register_forward_pre_hook(
            lambda module, args: shapes.append((args[0].shape[2], args[0].shape[3]))
        )
    )
    try:
        backbone(images)
    finally:
        for handle in handles:
            handle.remove()
    (height, width), window_size = shapes[0], traced.window_size
    grid = WindowGrid(height, width, window_size)
    row, col = (min(int(s * side), side - 1) for s, side in zip(place, (height, width)))
    window = row // window_size * grid.cols + col // window_size
    inside = row % window_size * window_size + col % window_size
    num_carriers = traced.ct_size**2
    weights = traced.attn.weights(*calls[id(traced.attn)])[window].mean(0)[num_carriers + inside]

    direct = torch.zeros(grid.rows * window_size, grid.cols * window_size)
    top, left = row // window_size * window_size, col // window_size * window_size
    direct[top : top + window_size, left : left + window_size] = weights[num_carriers:].view(
        window_size, window_size
    )
    through = torch.zeros(height, width)
    if traced.carriers is not None:
        pooling = stages[stage].carrier_pooling
        assert pooling is not None
        among = traced.carriers.attn.weights(*calls[id(traced.carriers.attn)])[0].mean(0)
        carriers = torch.arange(grid.rows * grid.cols * num_carriers)
        carriers = carriers.view(grid.rows * traced.ct_size, grid.cols * traced.ct_size)
        ct = traced.ct_size
        first_row, first_col = row // window_size * ct, col // window_size * ct
        own = carriers[first_row : first_row + ct, first_col : first_col + ct].flatten()
        seen = (weights[:num_carriers] @ among[own]).view(carriers.shape)
        rows, cols = pooling_matrices(grid, ct, pooling.pooling, images.device)
        through = rows.t() @ seen @ cols
    return TokenAttention(
        grid, row, col, direct[:height, :width].cpu().numpy(), through.cpu().numpy()
    )


def draw_attention(
    image: NDArray[np.uint8],
    attention: TokenAttention,
    panel_width: int = 560,
    *,
    random_weights: bool = False,
) -> NDArray[np.uint8]:
    """Draws the token, its window, and its attention in the window and through carriers.

    A bar below each panel says which color is which share of the attention.

    Args:
        image: (H, W, 3) uint8 RGB, the whole of what the network saw.
        attention: From `trace_attention`.
        panel_width: Width of each of the three panels in pixels.
        random_weights: Whether the network was not trained, which the drawing then says.

    Returns:
        (height, width, 3) uint8 RGB image.
    """
    panel_height = round(panel_width * image.shape[0] / image.shape[1])
    panel = np.asarray(Image.fromarray(image).resize((panel_width, panel_height)))
    margin, title = 24, 56
    size = 4 * margin + 3 * panel_width, margin + _BAR + title + panel_height
    figure = new_drawing(*size)
    share = float(attention.window.sum())
    panels = (
        (
            'The token and its window',
            'random weights: not trained' if random_weights else 'of the stage where it was traced',
            None,
        ),
        ('Inside the window', f'{share:.0%} of the attention', attention.window),
        (
            'Through the carriers',
            f'{float(attention.carriers.sum()):.0%} of the attention',
            attention.carriers,
        ),
    )
    for number, (name, detail, weights) in enumerate(panels):
        left = margin + number * (panel_width + margin)
        box = (left / size[0], _BAR / size[1], panel_width / size[0], panel_height / size[1])
        axes = figure.add_axes(box)
        axes.set_axis_off()
        _draw_panel(axes, panel, attention, weights)
        title_panel(axes, name, detail)
        if weights is not None and weights.max() > 0:
            bar = figure.add_axes(
                (left / size[0], (_BAR - 18) / size[1], panel_width / size[0], 10 / size[1])
            )
            _draw_bar(bar, float(weights.max()))
    return to_pixels(figure)


def _draw_bar(axes: Axes, most: float) -> None:
    """Draws which color stands for which share of the attention; colors follow its square root."""
    axes.imshow(np.linspace(0, 1, 256)[None], extent=(0, 1, 0, 1), aspect='auto', cmap='inferno')
    axes.set_yticks([])
    shares = [f'{100 * most * place**2:.2g}%' for place in (0, 0.5, 1)]
    axes.set_xticks([0, 0.5, 1], [*shares[:2], f'{shares[2]} of the attention'])
    axes.tick_params(labelsize=10, length=3, colors=FAINT_INK)
    first, _, last = axes.get_xticklabels()
    first.set_horizontalalignment('left')
    last.set_horizontalalignment('right')


def _draw_panel(
    axes: Axes,
    panel: NDArray[np.uint8],
    attention: TokenAttention,
    weights: NDArray[np.float32] | None,
) -> None:
    height, width = panel.shape[:2]
    grid = attention.grid
    shown = panel
    if weights is not None:
        shown = np.repeat(panel.mean(2, keepdims=True), 3, 2).astype(np.uint8)
    extent = (0, width, height, 0)
    axes.imshow(shown, extent=extent, aspect='auto')
    if weights is not None and weights.max() > 0:
        heat = np.sqrt(weights / weights.max())
        axes.imshow(heat, extent=extent, aspect='auto', cmap='inferno', alpha=0.25 + 0.6 * heat)
    step = height / grid.height, width / grid.width
    size = grid.window_size
    row, col = attention.row, attention.col
    for first, side, line in (
        ((row // size * size, col // size * size), size, 1.2),
        ((row, col), 1, 2),
    ):
        corner = first[1] * step[1], first[0] * step[0]
        axes.add_patch(
            Rectangle(corner, side * step[1], side * step[0], fill=False, ec=_TOKEN, lw=line)
        )
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
