"""From which share of empty frame on does skipping pay? Arms on frames that are ever emptier.

Test frames are sorted by their share without a car and cut into groups of equally many. In each
group, every arm is compared with dense networks of equal cost, as on all frames.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from projects.aerial_study.plan import Arm
from projects.importance_study.run import StudyRun

WINDOW = 28
"""Side in pixels of what counts as empty or not: a window of the first stage at full size."""

GROUPS = 3


def empty_share(frame: Mapping[str, Any], boxes: Sequence[Sequence[float]]) -> float:
    """Share of a frame's windows that no box touches.

    Args:
        frame: Its `width` and `height` in pixels.
        boxes: Of all objects: x, y, width and height.
    """
    rows, columns = (-(-frame[side] // WINDOW) for side in ('height', 'width'))
    empty = np.ones((rows, columns), dtype=bool)
    for x, y, width, height in boxes:
        first_row, first_column = int(y // WINDOW), int(x // WINDOW)
        last_row, last_column = int((y + height) // WINDOW), int((x + width) // WINDOW)
        empty[first_row : last_row + 1, first_column : last_column + 1] = False
    return float(empty.mean())


def grouped_frames(coco: COCO, groups: int = GROUPS) -> list[dict[str, Any]]:
    """Frames with objects, from the fullest to the emptiest, in groups.

    Args:
        coco: The annotations.
        groups: How many; as many as there are frames if those are fewer.

    Returns:
        For each group the `frames` (identifiers), and the range and mean of their `empty` share.
    """
    empty = {
        frame['id']: empty_share(frame, [one['bbox'] for one in coco.imgToAnns[frame['id']]])
        for frame in coco.dataset['images']
        if coco.imgToAnns[frame['id']]
    }
    in_order = np.array_split(
        sorted(empty, key=lambda frame: empty[frame]), min(groups, len(empty))
    )
    found = []
    for frames in in_order:
        shares = [empty[int(frame)] for frame in frames]
        found.append(
            dict(
                frames=[int(frame) for frame in frames],
                empty=[round(value, 3) for value in (min(shares), np.mean(shares), max(shares))],
            )
        )
    return found


def box_ap(coco: COCO, boxes: Path, frames: Sequence[int]) -> float:
    """Box AP in percent on some of the frames, with up to 100 boxes a frame.

    Args:
        coco: The annotations.
        boxes: What a network found, in COCO's format of results.
        frames: Identifiers of the frames.
    """
    found = json.loads(boxes.read_text())
    if not found:
        return 0.0
    with contextlib.redirect_stdout(io.StringIO()):
        evaluator = COCOeval(coco, coco.loadRes(found), 'bbox')
        evaluator.params.imgIds = list(frames)
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return 100 * float(evaluator.stats[0])


def scores_by_group(runs: Sequence[StudyRun], arms: Sequence[Arm]) -> list[dict[str, Any]]:
    """Box AP of every arm and seed in each group of frames; what has no boxes on disk is left out.

    Args:
        runs: The study of one data set, a seed each.
        arms: What was tested.

    Returns:
        The groups of `grouped_frames`, each with `arms`: AP by name and seed.
    """
    data = runs[0].data
    assert data.annotations is not None
    coco = loaded(data.root(runs[0].work_dir) / data.annotations)
    groups = grouped_frames(coco)
    for group in groups:
        group['arms'] = {
            arm.name: {
                str(run.seed): round(box_ap(coco, boxes, group['frames']), 2)
                for run in runs
                if (boxes := run.boxes_file(arm.case)).exists()
            }
            for arm in arms
        }
    return groups


def loaded(annotations: Path) -> COCO:
    """Annotations in COCO's format, read without a word on the terminal."""
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(annotations))
