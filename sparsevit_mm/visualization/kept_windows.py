"""Draws over an image which windows a network computed, as figures of the SparseViT paper do.

The fewer blocks of a stage compute a window, the grayer and darker it is drawn.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from PIL import Image

from sparsevit_mm.errors import ConfigError
from sparsevit_mm.models.sparse_heads import TwoPasses
from sparsevit_mm.ops.windows import WindowGrid, Windows
from sparsevit_mm.pruning.prunable import PrunableBackbone
from sparsevit_mm.pruning.schedule import PruningSchedule
from sparsevit_mm.pruning.selection import WindowSelection
from sparsevit_mm.visualization.style import FAINT_INK, INK, new_drawing, title_panel, to_pixels

_MARGIN, _GAP, _PANEL_TITLE, _HEADER, _LEGEND = 28, 20, 58, 52, 44  # pixels
_MIN_WIDTH, _MAX_ASPECT = 420, 4  # of a panel: its title must fit, and no strip may grow endless
_SHADE = np.array([17, 24, 39])  # what skipped windows sink into
_SHADE_STRENGTH = 0.72
_EDGE, _BOX = '#ffb454', '#56b4e9'  # amber and blue: people with any color vision tell them apart
_LINE, _ROW = 17, 24  # pixels of a line of the caption, and of the legend's lines


@dataclass
class KeptWindowsRecord:
    """What a backbone computed while it was recorded.

    Attributes:
        passes: For every forward of the backbone one `WindowSelection` a block.
        heads: For every forward, by stage, what neck and head computed at its resolution, where
            they skipped windows.
    """

    passes: list[list[WindowSelection]] = field(default_factory=list)
    heads: list[dict[int, WindowSelection]] = field(default_factory=list)

    def __call__(self, selection: WindowSelection) -> None:
        """Takes a block's selection; the first block of the first stage opens a new pass."""
        if not self.passes or (selection.stage, selection.block) == (0, 0):
            self.passes.append([])
            self.heads.append({})
        self.passes[-1].append(selection)

    def of_heads(self, stage: int, windows: Windows | None) -> None:
        """Takes what neck and head computed at the resolution of a stage; None for everything."""
        if windows is not None and self.heads:
            self.heads[-1][stage] = WindowSelection(stage, 0, windows)


@contextlib.contextmanager
def record_kept_windows(
    backbone: PrunableBackbone, heads: Sequence[TwoPasses] = ()
) -> Iterator[KeptWindowsRecord]:
    """Records which windows a backbone computes, and a neck and head behind it.

    Args:
        backbone: Its `window_observer` is set inside the context and put back after it.
        heads: What makes neck and head sparse, see `find_two_passes`; the same holds for it.

    Yields:
        The record, which grows with every forward.
    """
    record = KeptWindowsRecord()
    previous, backbone.window_observer = backbone.window_observer, record
    before = [passes.window_observer for passes in heads]
    for passes in heads:
        passes.window_observer = record.of_heads
    try:
        yield record
    finally:
        backbone.window_observer = previous
        for passes, observer in zip(heads, before):
            passes.window_observer = observer


@dataclass(frozen=True)
class StageUse:
    """How a stage used its windows on one image.

    Attributes:
        stage: Index of the stage, from 0.
        counts: (H, W) blocks that computed each token of the stage's map.
        grid: The stage's plain (unshifted) windows.
        kept: Windows each block computed.
    """

    stage: int
    counts: NDArray[np.int64]
    grid: WindowGrid
    kept: tuple[int, ...]

    @property
    def shares(self) -> NDArray[np.float64]:
        """(H, W) share of the stage's blocks that computed each token."""
        return self.counts / len(self.kept)


def stage_use(selections: Sequence[WindowSelection], index: int = 0) -> list[StageUse]:
    """Adds up, stage by stage, what the blocks computed.

    Args:
        selections: Those of one forward.
        index: Index of the image in the batch.

    Returns:
        One entry a stage.
    """
    uses = []
    for stage, blocks in itertools.groupby(selections, key=lambda selection: selection.stage):
        of_stage = list(blocks)
        grid = of_stage[0].grid
        counts = sum(_computed_tokens(selection, index) for selection in of_stage)
        plain = WindowGrid(grid.height, grid.width, grid.window_size)
        kept = tuple(selection.num_kept_in(index) for selection in of_stage)
        uses.append(StageUse(stage, np.asarray(counts), plain, kept))
    return uses


def draw_kept_windows(
    image: NDArray[np.uint8],
    selections: Sequence[WindowSelection],
    *,
    heads: Mapping[int, WindowSelection] | None = None,
    index: int = 0,
    resized: tuple[int, int] | None = None,
    patch_size: int = 4,
    schedule: PruningSchedule | None = None,
    boxes: Sequence[Sequence[float]] = (),
    caption: str = '',
    panel_pixels: int = 640 * 480,
) -> NDArray[np.uint8]:
    """Draws, for every stage, the image with the windows its blocks skipped dimmed.

    Panels of the neck and head follow, for the stages at whose resolutions they skipped windows.

    Args:
        image: (H, W, 3) uint8 RGB image at any size.
        selections: Those of one forward of the network.
        heads: What neck and head computed in the same forward, by stage, if they are sparse.
        index: Index of the image in the batch.
        resized: (height, width) in pixels that the image had in the network's input; whatever lies
            to the right of it or below is padding and is not drawn. By default the whole input.
        patch_size: Side of a patch in pixels.
        schedule: If given, its ratios are named in the titles.
        boxes: Annotated objects to outline, each (left, top, right, bottom) in pixels of the image.
        caption: Lines to write below the legend.
        panel_pixels: Area of one stage's panel, which has the image's shape.

    Returns:
        (height, width, 3) uint8 RGB image.

    Raises:
        ConfigError: If nothing was recorded.
    """
    uses = stage_use(selections, index)
    if not uses:
        raise ConfigError('selections is empty, but must hold those of one forward.')
    if resized is None:
        grid = uses[0].grid
        resized = grid.height * patch_size, grid.width * patch_size
    panel = _fit(image, panel_pixels)
    height, width = panel.shape[:2]
    of_heads = stage_use([selection for _, selection in sorted((heads or {}).items())], index)
    titles = [_stage_title(use, schedule) for use in uses]
    titles += [_head_title(use, schedule) for use in of_heads]
    cols = len(uses) if height > width else math.ceil(len(uses) / 2)
    lines = caption.splitlines()
    below = len(lines) * _LINE
    figure, size, all_axes = _sheet(len(titles), cols, height, width, below + _ROW)
    _draw_header(figure, size, uses, selections)
    scale = width / image.shape[1], height / image.shape[0]
    for axes, use, title in zip(all_axes, uses + of_heads, titles):
        token = (
            patch_size * 2**use.stage * height / resized[0],
            patch_size * 2**use.stage * width / resized[1],
        )
        _draw_stage(axes, panel, use, token, title)
        for left, top, right, bottom in boxes:
            corner = left * scale[0], top * scale[1]
            sides = (right - left) * scale[0], (bottom - top) * scale[1]
            axes.add_patch(Rectangle(corner, *sides, fill=False, edgecolor=_BOX, linewidth=1.1))
    meanings = {'edge of what is computed': _EDGE}
    if boxes:
        meanings['annotated object'] = _BOX
    _draw_legend(figure, size, below, meanings)
    for number, line in enumerate(reversed(lines)):
        figure.text(0.5, (12 + number * _LINE) / size[1], line, size=10.5, color=INK, ha='center')
    return to_pixels(figure)


def draw_shared_windows(
    images: Mapping[str, NDArray[np.uint8]],
    selections: Sequence[WindowSelection],
    *,
    patch_size: int = 4,
    panel_pixels: int = 400 * 200,
) -> NDArray[np.uint8]:
    """Draws the images of a frame side by side, each with the share of its windows computed.

    What fewer blocks of all stages computed is dimmed more.

    Args:
        images: By name, in the order of the batch, (H, W, 3) uint8 RGB of the network's input size.
        selections: Those of one forward of the network.
        patch_size: Side of a patch in pixels.
        panel_pixels: Area of an image's panel.

    Returns:
        (height, width, 3) uint8 RGB image, panels in rows of three.

    Raises:
        ConfigError: If there is no image or nothing was recorded.
    """
    if not images or not selections:
        raise ConfigError('images or selections are empty, but must hold those of one forward.')
    panels = {name: _fit(image, panel_pixels) for name, image in images.items()}
    height, width = next(iter(panels.values())).shape[:2]
    figure, size, all_axes = _sheet(len(panels), min(3, len(panels)), height, width)
    every_use = []
    for index, (axes, (name, panel)) in enumerate(zip(all_axes, panels.items())):
        uses = stage_use(selections, index)
        every_use += uses
        scale = [side / whole for side, whole in zip((height, width), images[name].shape)]
        shares = []
        for use in uses:
            token = [patch_size * 2**use.stage * step for step in scale]
            shares.append(_share_of_pixels(use, (height, width), (token[0], token[1])))
        axes.imshow(_dim(panel, np.mean(shares, axis=0)), interpolation='nearest', aspect='auto')
        kept, total = _kept_of_all(uses)
        title_panel(axes, name, f'{kept} of {total} windows ({kept / total:.0%})')
    _draw_header(figure, size, every_use, selections)
    _draw_legend(figure, size)
    return to_pixels(figure)


def _computed_tokens(selection: WindowSelection, index: int) -> NDArray[np.int64]:
    """(H, W) of 1 where the block computed a token, else 0."""
    return selection.computed_tokens(index).numpy().astype(np.int64)


def _fit(image: NDArray[np.uint8], pixels: int) -> NDArray[np.uint8]:
    """Resizes the image to an area; very long strips are shown shorter than they are."""
    aspect = np.clip(image.shape[0] / image.shape[1], 1 / _MAX_ASPECT, _MAX_ASPECT)
    width = max(round((pixels / aspect) ** 0.5), _MIN_WIDTH)
    size = width, round(width * aspect)
    scale = width / image.shape[1]
    resample = Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(image).resize(size, resample))


def _sheet(
    count: int, cols: int, height: int, width: int, below: int = 0
) -> tuple[Figure, tuple[int, int], list[Axes]]:
    """An empty drawing, its size in pixels, and the axes of its panels of height x width.

    There are `below` free pixels under the legend.
    """
    rows = math.ceil(count / cols)
    size = (
        2 * _MARGIN + cols * width + (cols - 1) * _GAP,
        _HEADER + rows * (height + _PANEL_TITLE) + _LEGEND + _MARGIN + below,
    )
    figure = new_drawing(*size)
    all_axes = []
    for number in range(count):
        left = _MARGIN + (number % cols) * (width + _GAP)
        top = _HEADER + (number // cols) * (height + _PANEL_TITLE) + _PANEL_TITLE
        all_axes.append(_axes(figure, size, left, top, width, height))
    return figure, size, all_axes


def _axes(
    figure: Figure, size: tuple[int, int], left: float, top: float, width: float, height: float
) -> Axes:
    """Axes at a place in pixels, counted from the top left corner."""
    box = left / size[0], 1 - (top + height) / size[1], width / size[0], height / size[1]
    axes = figure.add_axes(box)
    axes.set_axis_off()
    return axes


def _draw_stage(
    axes: Axes,
    panel: NDArray[np.uint8],
    use: StageUse,
    token: tuple[float, float],
    title: tuple[str, str],
) -> None:
    """Draws one stage; `token` is the (height, width) of its tokens in pixels of the panel."""
    height, width = panel.shape[:2]
    share = _share_of_pixels(use, (height, width), token)
    axes.imshow(
        _dim(panel, share), extent=(0, width, height, 0), interpolation='nearest', aspect='auto'
    )
    window = [use.grid.window_size * step for step in token]
    across = [((0, y), (width, y)) for y in np.arange(window[0], height - 1, window[0])]
    down = [((x, 0), (x, height)) for x in np.arange(window[1], width - 1, window[1])]
    axes.add_collection(LineCollection(across + down, colors='white', linewidths=0.6, alpha=0.35))
    axes.add_collection(LineCollection(_edges(use.counts, token), colors=_EDGE, linewidths=0.5))
    alive = (use.counts > 0).astype(int)
    axes.add_collection(
        LineCollection(_edges(alive, token), colors=_EDGE, linewidths=1.6, capstyle='round')
    )
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    title_panel(axes, *title)


def _share_of_pixels(
    use: StageUse, sides: tuple[int, int], token: tuple[float, float]
) -> NDArray[np.float64]:
    """(height, width) share of a stage's blocks that computed every pixel of a panel."""
    rows, cols = (
        np.minimum(((np.arange(side) + 0.5) / step).astype(int), limit - 1)
        for side, step, limit in zip(sides, token, use.counts.shape)
    )
    return use.shares[rows[:, None], cols[None, :]]


def _kept_of_all(uses: Sequence[StageUse]) -> tuple[int, int]:
    """Windows that the blocks of all stages computed, and all of their windows."""
    kept = sum(sum(use.kept) for use in uses)
    return kept, sum(use.grid.num_windows * len(use.kept) for use in uses)


def _dim(image: NDArray[np.uint8], share: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Drains color and light where the share of computing blocks is below 1."""
    skipped = (1 - share)[..., None]
    gray = image.mean(axis=2, keepdims=True)
    drained = image + skipped * (gray - image)
    return (drained + _SHADE_STRENGTH * skipped * (_SHADE - drained)).astype(np.uint8)


def _edges(
    counts: NDArray[np.int64], token: tuple[float, float]
) -> list[tuple[tuple[float, float], tuple[float, float]]]:
    """Lines between tokens that different numbers of blocks computed, in pixels of the panel."""
    high, wide = token
    below = zip(*np.nonzero(np.diff(counts, axis=0)))
    beside = zip(*np.nonzero(np.diff(counts, axis=1)))
    corners = [((r + 1, c), (r + 1, c + 1)) for r, c in below]
    corners += [((r, c + 1), (r + 1, c + 1)) for r, c in beside]
    return [((c * wide, r * high), (d * wide, s * high)) for (r, c), (s, d) in corners]


def _stage_title(use: StageUse, schedule: PruningSchedule | None) -> tuple[str, str]:
    total, title = use.grid.num_windows, f'Stage {use.stage}'
    if min(use.kept) == total:
        return title, f'all {total} windows'
    share = sum(use.kept) / (total * len(use.kept))
    detail = f'{_steps(map(str, use.kept))} of {total} windows ({share:.0%})'
    if schedule is not None:
        detail = f'ratio {_steps(f"{ratio:g}" for ratio in schedule.ratios[use.stage])}: {detail}'
    return title, detail


def _head_title(use: StageUse, schedule: PruningSchedule | None) -> tuple[str, str]:
    (kept,), total = use.kept, use.grid.num_windows
    detail = f'{kept} of {total} windows ({kept / total:.0%})'
    if schedule is not None and schedule.head_ratios:
        detail = f'ratio {schedule.head_ratios[use.stage]:g}: {detail}'
    return f'Neck and head at stage {use.stage}', detail


def _steps(values: Iterable[str]) -> str:
    """Values of successive blocks, repeats left out."""
    return ' → '.join(value for value, _ in itertools.groupby(values))


def kept_title(selections: Sequence[WindowSelection]) -> str:
    """What a picture of kept windows is called; it says what ranked them."""
    names = {selection.importance for selection in selections} - {None}
    return f'Kept windows by {", ".join(sorted(map(str, names)))}' if names else 'Kept windows'


def _draw_header(
    figure: Figure,
    size: tuple[int, int],
    uses: Sequence[StageUse],
    selections: Sequence[WindowSelection],
) -> None:
    kept, total = _kept_of_all(uses)
    title = kept_title(selections)
    figure.text(_MARGIN / size[0], 1 - 36 / size[1], title, size=17, weight='bold', color=INK)
    figure.text(
        1 - _MARGIN / size[0],
        1 - 36 / size[1],
        f'{kept} of {total} windows computed over all blocks  ({kept / total:.0%})',
        size=11,
        color=FAINT_INK,
        ha='right',
    )


def _draw_legend(
    figure: Figure, size: tuple[int, int], below: int = 0, lines: Mapping[str, str] | None = None
) -> None:
    """A bar from windows no block computes to windows every block computes, and what lines mean.

    There are `below` pixels under it, and `lines` are colors by meaning.
    """
    steps, lines = 6, lines or {}
    color = np.array([[[200, 200, 200]]], dtype=np.uint8).repeat(steps, axis=1)
    bar = _dim(color, np.linspace(0, 1, steps)[None, :])
    width, height, top = 132, 14, size[1] - below - _MARGIN - 18 - (_ROW if lines else 0)
    left = (size[0] - width) // 2
    axes = _axes(figure, size, left, top, width, height)
    axes.imshow(bar, aspect='auto', interpolation='nearest')
    text: dict[str, Any] = dict(xycoords='axes fraction', textcoords='offset pixels', va='center')
    text |= dict(size=10.5, color=FAINT_INK)
    axes.annotate('skipped by every block', (0, 0.5), (-10, 0), ha='right', **text)
    axes.annotate('computed by every block', (1, 0.5), (10, 0), ha='left', **text)
    wide = 236
    left = (size[0] - wide * len(lines)) // 2
    for number, (meaning, line) in enumerate(lines.items()):
        axes = _axes(figure, size, left + wide * number, top + _ROW, 18, height)
        axes.plot([0, 1], [0.5, 0.5], color=line, linewidth=2)
        axes.annotate(meaning, (1, 0.5), (8, 0), ha='left', **text)
