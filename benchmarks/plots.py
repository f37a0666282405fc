"""Two pictures of a results file: latency side by side over the floor, and latency over pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

_INK, _FLOOR = '#1f5f9e', '#d9822b'


def draw(sections: dict[str, Any], path: Path) -> None:
    """Draws what the file has.

    Args:
        sections: Of a results file.
        path: PNG to write; nothing is written without a row to draw.
    """
    rows = [row for row in sections.get('swin 672', {}).get('rows', ()) if 'median' in row]
    sweep = [
        row
        for name, section in sections.items()
        if name.startswith('resolution ') or name.startswith('swin ')
        for row in section['rows']
        if 'median' in row and (row['batch'], row['dtype'], row['mode']) == (1, 'fp32', 'eager')
    ]
    if not rows:
        return
    figure = Figure(figsize=(12, 4.6), layout='constrained')
    left, right = figure.subplots(1, 2)
    _bars(left, rows)
    _lines(right, sweep)
    figure.suptitle(sections['swin 672']['machine'])
    figure.savefig(path, dpi=120)


def _bars(axes: Axes, rows: list[dict[str, Any]]) -> None:
    first = {key: rows[0][key] for key in ('height', 'width', 'batch', 'dtype', 'mode')}
    rows = [row for row in rows if all(row[key] == value for key, value in first.items())][::-1]
    names = [row['network'] for row in rows]
    medians = [row['median'] for row in rows]
    spread = [
        [median - row['quartiles'][0] for row, median in zip(rows, medians)],
        [row['quartiles'][1] - median for row, median in zip(rows, medians)],
    ]
    axes.barh(names, medians, xerr=spread, color=_INK, label='median, middle half of the runs')
    axes.barh(
        names, [max(row['floor'].values()) for row in rows], height=0.3, color=_FLOOR, label='floor'
    )
    axes.set_xlabel('milliseconds')
    axes.set_title(
        f'{first["height"]} x {first["width"]}, batch {first["batch"]}, {first["dtype"]}'
    )
    axes.legend(fontsize='small')


def _lines(axes: Axes, rows: list[dict[str, Any]]) -> None:
    for name in dict.fromkeys(row['network'] for row in rows):
        points = sorted(
            (row['height'] * row['width'] / 1e6, row['median'])
            for row in rows
            if row['network'] == name
        )
        if len(points) > 1 and not name.startswith(('plain', 'fastervit')):
            axes.loglog(*zip(*points), 'o-', markersize=4, label=name)
    axes.set_xlabel('megapixels')
    axes.set_ylabel('milliseconds')
    axes.set_title('latency over pixels, batch 1, fp32, eager')
    if axes.lines:
        axes.legend(fontsize='small')
