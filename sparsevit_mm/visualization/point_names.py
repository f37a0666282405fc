"""Writes names beside the points of a plot, where they cover as little as possible."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from sparsevit_mm.visualization.style import FAINT_INK, INK

_PLACES = [
    (distance * x, distance * y, align, 'center' if y == 0 else 'bottom' if y > 0 else 'top')
    for distance in (5, 10, 17, 26)
    for x, y, align in (
        (1.2, 0, 'left'), (-1.2, 0, 'right'), (0.6, 0.8, 'left'), (0.6, -0.8, 'left'),
        (-0.6, 0.8, 'right'), (-0.6, -0.8, 'right'), (0, 1.1, 'center'), (0, -1.1, 'center'),
    )
]  # fmt: skip
"""Places of a name that are tried: offset from its point in typographic points, and alignment."""

_NEAR = 13
"""Names farther away, in typographic points, get a thin line to their point."""

_OUTSIDE, _NAME, _FAR = 100.0, 30.0, 0.4
"""What it costs to leave the axes, to cover a name, and to be one place later in the list; a piece
of a line costs 1."""


def name_points(
    axes: Axes, points: Iterable[tuple[float, float, str]], size: float = 8.5, color: str = INK
) -> None:
    """Names points of a finished plot: lines, limits and the legend must be there already.

    Each name in turn takes the place beside its point where it covers the fewest lines, points and
    names, the nearest one if several are as good.

    Args:
        axes: The axes.
        points: x, y and name of each point, in the axes' data units.
        size: Size of the text in typographic points.
        color: Color of the text.
    """
    figure = axes.get_figure()
    assert isinstance(figure, Figure) and isinstance(figure.canvas, FigureCanvasAgg)
    figure.draw_without_rendering()  # settles where everything is
    drawn, frame = _drawn(axes), axes.get_window_extent()
    legend = axes.get_legend()
    taken = [] if legend is None else [legend.get_window_extent()]
    for x, y, name in points:
        text = axes.annotate(name, (x, y), (0, 0), textcoords='offset points', size=size)
        tried: list[tuple[float, int, Bbox]] = []
        for number, (*offset, align, vertical) in enumerate(_PLACES):
            text.set(position=tuple(offset), ha=align, va=vertical)
            box = text.get_window_extent()
            tried.append((_cost(box, frame, drawn, taken) + number * _FAR, number, box))
        text.remove()
        _, best, box = min(tried, key=lambda place: place[:2])
        dx, dy, align, vertical = _PLACES[best]
        line = dict(arrowstyle='-', color=FAINT_INK, linewidth=0.5, shrinkA=0, shrinkB=3)
        axes.annotate(
            name, (x, y), (dx, dy), textcoords='offset points', size=size, color=color,
            ha=align, va=vertical, in_layout=False,
            arrowprops=line if math.hypot(dx, dy) > _NEAR else None,
        )  # fmt: skip
        taken.append(box)


def _cost(box: Bbox, frame: Bbox, drawn: NDArray[np.float64], taken: list[Bbox]) -> float:
    inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
    covered = ((drawn >= box.min) & (drawn <= box.max)).all(axis=1).sum()
    return (
        float(covered)
        + _NAME * sum(box.overlaps(other) for other in taken)
        + (0 if inside else _OUTSIDE)
    )


def _drawn(axes: Axes) -> NDArray[np.float64]:
    """(N, 2) pixels on the lines, bars of errors and points of the axes, closely spaced."""
    found = [np.empty((0, 2))]
    for line in axes.lines:
        corners = line.get_transform().transform(np.asarray(line.get_xydata(), dtype=float))
        found.append(corners.repeat(6, axis=0))  # markers are more than a piece of a line
        if line.get_linestyle() not in ('None', ''):
            found += [_between(*ends) for ends in itertools.pairwise(corners)]
    for lines in axes.collections:
        if isinstance(lines, LineCollection):
            for segment in lines.get_segments():
                found.append(_between(*lines.get_transform().transform(segment)[[0, -1]]))
    return np.concatenate(found)


def _between(start: NDArray[np.float64], end: NDArray[np.float64]) -> NDArray[np.float64]:
    steps = max(2, int(np.hypot(*(end - start)) / 6))
    return np.linspace(start, end, steps)
