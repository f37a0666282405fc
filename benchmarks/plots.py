"""The plot of docs/performance.md: latency of backbones, and their speed over several sizes.

A panel compares only what took turns in one run: the upper one shows one section of a results
file; in the lower one, every group of points is one section, and speeds are relative to its own
dense backbone.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from benchmarks.results_file import row_of
from sparsevit_mm.visualization.style import INK, PAPER, SERIES_COLORS, new_plot, plain_axes

_DENSE = 'SparseViT-T dense'
_CASE = dict(batch=1, dtype='fp32', mode='eager')
_MARKERS = {'mmdet Swin-T': 's', _DENSE: 'D', 'SparseViT-T cfg2': 'o'}
_OURS, _OTHERS = SERIES_COLORS[0], '#9aa3b2'


def draw(sections: dict[str, Any], path: Path) -> None:
    """Draws what the file has.

    Args:
        sections: Of a results file.
        path: PNG to write, which names the rows that it shows (`fingerprint`); nothing is written
            without a row to draw.
    """
    bars, groups = _drawn(sections)
    if not bars:
        return
    figure = new_plot(7.2, 6.4)
    upper, lower = figure.subplots(2, 1, height_ratios=(3, 2))
    _bars(upper, bars)
    _groups(lower, groups)
    section = sections['swin 672']
    threads = f'{section["threads"]} thread' + 's' * (section['threads'] > 1)
    figure.suptitle(
        f'Backbones on {section["machine"]}, {threads}; batch 1, fp32', color=INK, size=11
    )
    figure.savefig(path, metadata={'Description': fingerprint(sections)})


def fingerprint(sections: dict[str, Any]) -> str:
    """Names the rows that the plot shows: it changes when one of them does."""
    text = json.dumps(_drawn(sections), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _drawn(sections: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    """Rows of the upper panel, and of the groups of the lower one."""

    def timed(section: dict[str, Any]) -> list[Any]:
        return [
            row
            for row in section.get('rows', ())
            if 'median' in row and all(row.get(key) == value for key, value in _CASE.items())
        ]

    bars = [row for row in timed(sections.get('swin 672', {})) if 'floor' in row]
    groups = [
        timed(section)
        for name, section in sections.items()
        if name.startswith('resolution ') and row_of(section, _DENSE, **_CASE) is not None
    ]
    return bars, sorted(groups, key=lambda rows: rows[0]['height'])


def _bars(axes: Axes, rows: list[Any]) -> None:
    rows = sorted(rows, key=lambda row: -row['median'])
    names = [row['network'] for row in rows]
    medians = [row['median'] for row in rows]
    spread = [
        [median - row['quartiles'][0] for row, median in zip(rows, medians)],
        [row['quartiles'][1] - median for row, median in zip(rows, medians)],
    ]
    floors = [max(row['floor'].values()) for row in rows]
    colors = [_OURS if name.startswith('SparseViT') else _OTHERS for name in names]
    axes.barh(names, medians, color=colors, height=0.62)
    axes.errorbar(
        medians, names, xerr=spread, color=INK, linestyle='none', capsize=2.5,
        label='middle half of the runs',
    )  # fmt: skip
    axes.plot(
        floors, names, 'D', color=SERIES_COLORS[1], markeredgecolor=PAPER, markersize=7,
        label='floor: no less time is possible',
    )  # fmt: skip
    for place, median in enumerate(medians):
        axes.annotate(
            f'{median:.0f}', (median, place), (12, 0), textcoords='offset points', va='center',
            color=INK, size=9,
        )  # fmt: skip
    axes.set_xlim(0, 1.12 * max(medians))
    axes.set_xlabel(f'latency at {rows[0]["height"]} × {rows[0]["width"]}, ms (median)', color=INK)
    axes.invert_yaxis()
    axes.legend(frameon=False, fontsize=9, labelcolor=INK, loc='lower right')
    plain_axes(axes)
    axes.grid(axis='y', visible=False)


def _groups(axes: Axes, groups: list[Any]) -> None:
    for color, (name, marker) in zip(('#5c6370', INK, _OURS), _MARKERS.items()):
        points = [
            (place, dense['median'] / row['median'])
            for place, rows in enumerate(groups)
            for dense in rows
            for row in rows
            if dense['network'] == _DENSE and row['network'] == name
        ]
        if points:
            axes.plot(*zip(*points), marker, color=color, markersize=7, label=name)
        for point in points:
            axes.annotate(
                f'{point[1]:.2f}×', point, (8, 0), textcoords='offset points', va='center',
                color=INK, size=9,
            )  # fmt: skip
    sides = [f'{rows[0]["height"]} × {rows[0]["width"]}' for rows in groups]
    axes.set_xticks(range(len(groups)), sides)
    axes.set_xlim(-0.4, len(groups) - 0.4)
    axes.set_ylim(0, None)
    axes.set_xlabel('size of the image, pixels; each column is a run of its own', color=INK)
    axes.set_ylabel('speed, dense = 1', color=INK)
    if groups:
        axes.legend(frameon=False, fontsize=9, labelcolor=INK, ncols=3, loc='lower center')
    plain_axes(axes)
