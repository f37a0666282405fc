"""How drawings and plots look: colors, figures, titles and axes."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

INK, FAINT_INK, PAPER, GRID = '#16191f', '#5c6370', '#ffffff', '#e3e6eb'
SERIES_COLORS = ('#1f5f9e', '#d9822b', '#3f8f5f', '#8a5fb0', '#b0485f')
"""Colors of lines, bars and points, in turn."""
SERIES_MARKERS = ('o', 's', '^', 'D', 'v')
"""Shapes of points that go with these colors, so that color is never the only difference."""

PLOT_WIDTH = 8.0
"""Width of a plot in inches: pages show it at two thirds of its pixels, its text at about 12."""

_DRAWING_DPI, _PLOT_DPI = 100, 150


def new_drawing(width: int, height: int) -> Figure:
    """An empty figure that `to_pixels` turns into an image.

    Args:
        width: Width of the image in pixels.
        height: Height of the image in pixels.
    """
    size = width / _DRAWING_DPI, height / _DRAWING_DPI
    figure = Figure(figsize=size, dpi=_DRAWING_DPI, facecolor=PAPER)
    FigureCanvasAgg(figure)
    return figure


def to_pixels(figure: Figure) -> NDArray[np.uint8]:
    """Renders a figure of `new_drawing`.

    Returns:
        (height, width, 3) uint8 RGB.
    """
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def title_panel(axes: Axes, title: str, detail: str) -> None:
    """Writes a bold title and a smaller line of detail above a panel.

    Args:
        axes: The panel; 50 pixels above it must be free.
        title: What the panel shows.
        detail: The figures that go with it.
    """
    text: dict[str, Any] = dict(
        xycoords='axes fraction', textcoords='offset pixels', va='baseline', ha='left'
    )
    axes.annotate(title, (0, 1), (0, 28), size=12.5, color=INK, weight='bold', **text)
    axes.annotate(detail, (0, 1), (0, 9), size=10, color=FAINT_INK, **text)


def new_plot(width: float, height: float) -> Figure:
    """An empty figure for plots, which is saved to a file.

    Args:
        width: Width in inches.
        height: Height in inches.
    """
    figure = Figure(figsize=(width, height), dpi=_PLOT_DPI, layout='constrained')
    FigureCanvasAgg(figure)
    return figure


def plain_axes(axes: Axes, grid: str = 'both') -> None:
    """Gives the axes of a plot a faint grid behind the data and no frame above and on the right.

    Args:
        axes: The axes.
        grid: 'both', or 'y' for horizontal lines only.
    """
    axes.grid(axis=grid, color=GRID, linewidth=0.6)  # type: ignore[arg-type]
    axes.set_axisbelow(True)
    for side in ('top', 'right'):
        axes.spines[side].set_visible(False)
    axes.tick_params(colors=FAINT_INK, labelsize=9)
