"""Frames by how much of them is empty, and what arms score on each part."""

from __future__ import annotations

import json

import pytest

from projects.aerial_study.emptiness import (
    box_ap,
    empty_share,
    grouped_frames,
    loaded,
    scores_by_group,
)
from projects.aerial_study.findings import tables
from projects.aerial_study.plan import ARMS
from projects.importance_study.plan import Case

ARM = {arm.name: arm for arm in ARMS['sparsevit']}
CAR = [20, 20, 24, 12]


def test_windows_that_a_box_touches_are_not_empty():
    frame = dict(width=280, height=140)
    assert empty_share(frame, []) == 1
    assert empty_share(frame, [(0, 0, 10, 10)]) == 1 - 1 / 50
    assert empty_share(frame, [(20, 20, 24, 12), (0, 0, 5, 5)]) == 1 - 4 / 50


def write_annotations(path, cars):
    """Frames of 280x280 pixels with so many cars in a row each."""
    images = [dict(id=n, file_name=f'{n}.png', width=280, height=280) for n in range(len(cars))]
    boxes = [
        dict(id=9 * n + k + 1, image_id=n, bbox=[30 * k, 30, 20, 20], area=400, iscrowd=0,
             category_id=1)
        for n, number in enumerate(cars)
        for k in range(number)
    ]  # fmt: skip
    classes = [dict(id=1, name='vehicle')]
    path.write_text(json.dumps(dict(images=images, annotations=boxes, categories=classes)))
    return boxes


def test_frames_are_grouped_from_the_fullest_to_the_emptiest(tmp_path):
    path = tmp_path / 'test.json'
    write_annotations(path, (1, 8, 0, 4, 2, 6, 3))
    groups = grouped_frames(loaded(path))
    assert [group['frames'] for group in groups] == [[1, 5], [3, 6], [4, 0]]
    assert groups[0]['empty'][0] < groups[0]['empty'][2] <= groups[1]['empty'][0]


def test_ap_of_some_frames_counts_those_alone(tmp_path):
    path, found = tmp_path / 'test.json', tmp_path / 'found.json'
    boxes = write_annotations(path, (2, 2))
    coco = loaded(path)
    right = [box for box in boxes if box['image_id'] == 0]
    keys = ('image_id', 'bbox', 'category_id')
    found.write_text(
        json.dumps([{**{key: box[key] for key in keys}, 'score': 0.9} for box in right])
    )
    assert box_ap(coco, found, [0]) == pytest.approx(100)
    assert box_ap(coco, found, [1]) == 0
    assert 0 < box_ap(coco, found, [0, 1]) < 100
    found.write_text('[]')
    assert box_ap(coco, found, [0]) == 0


def test_arms_are_scored_from_the_boxes_that_their_tests_leave(run, monkeypatch):
    """The same boxes on all frames and on groups that hold all of them."""
    case = Case('longer', scale=0.7)
    run.measure(case)
    boxes = json.loads(run.boxes_file(case).read_text())
    perfect = [
        dict(image_id=n, bbox=CAR, category_id=1, score=0.9) for n in range(2)
    ]  # a network of one iteration finds nothing
    run.boxes_file(case).write_text(json.dumps(boxes + perfect))
    groups = scores_by_group([run], [ARM['dense at 0.7×'], ARM['dense at 0.6×']])
    assert [group['frames'] for group in groups] == [[0], [1]]
    for group in groups:
        assert group['arms']['dense at 0.7×']['0'] > 50
        assert group['arms']['dense at 0.6×'] == {}


def test_table_compares_at_equal_time_in_each_group():
    names = ('dense at 1×', 'dense at 0.7×', 'contrast, backbone 70%, heads 70%')
    costs = (200.0, 100.0, 150.0)
    found = {
        name: dict(seeds={'0': {'AP': 1.0}}, computed={}, ms={'model': cost}, gmacs={'model': cost})
        for name, cost in zip(names, costs)
    }
    for record in found.values():
        record['computed'] = {'0': {'objects': 1.0, 'pixels': 1.0}}
    scores = [
        {name: {'0': ap} for name, ap in zip(names, each)} for each in ((20, 10, 18), (20, 10, 11))
    ]
    groups = [
        dict(frames=[1, 2], empty=[0.5, 0.6, 0.7], arms=scores[0]),
        dict(frames=[3], empty=[0.8, 0.9, 1.0], arms=scores[1]),
    ]
    made = tables({'arms': {'sparsevit': found}, 'emptiness': {'sparsevit': groups}})
    head, _, row = made['sparsevit emptiness'].splitlines()
    assert '50% to 70% empty, 2 frames | 80% to 100% empty, 1 frames' in head
    assert row == f'| {names[2]} | +3.0, one seed: no verdict | -4.0, one seed: no verdict |'
