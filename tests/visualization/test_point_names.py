"""Names beside the points of a plot cover neither each other nor what is drawn."""

import itertools

import numpy as np
import pytest

from sparsevit_mm.visualization.point_names import name_points
from sparsevit_mm.visualization.style import new_plot


@pytest.fixture
def axes():
    axes = new_plot(5, 4).add_subplot()
    axes.plot([0, 1, 2], [0, 1, 0], marker='o')
    axes.margins(0.2)
    return axes


def boxes_of(axes):
    axes.figure.draw_without_rendering()
    return [text.get_window_extent() for text in axes.texts]


def test_names_of_points_that_lie_close_do_not_overlap(axes):
    points = [(1 + 0.02 * number, 1 + 0.02 * number, f'network {number}') for number in range(4)]
    name_points(axes, points)
    assert [text.get_text() for text in axes.texts] == [name for _, _, name in points]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes_of(axes), 2))


def test_a_name_is_beside_its_point_inside_the_axes_and_off_the_line(axes):
    name_points(axes, [(1, 1, 'top'), (2, 0, 'the rightmost one')])
    frame, (line,) = axes.get_window_extent(), axes.lines
    along = line.get_transform().transform(
        np.stack([np.linspace(0, 2, 201), 1 - np.abs(np.linspace(-1, 1, 201))], 1)
    )
    for box, point in zip(boxes_of(axes), [(1, 1), (2, 0)]):
        assert frame.x0 <= box.x0 and box.x1 <= frame.x1
        assert not ((along >= box.min) & (along <= box.max)).all(1).any()
        gap = np.clip(axes.transData.transform(point), box.min, box.max)
        assert np.hypot(*(axes.transData.transform(point) - gap)) < 40


def test_a_name_that_must_go_far_has_a_line_to_its_point(axes):
    name_points(axes, [(1, 1, f'the same place, {number}') for number in range(12)])
    assert any(text.arrow_patch for text in axes.texts)
    assert not axes.texts[0].arrow_patch
