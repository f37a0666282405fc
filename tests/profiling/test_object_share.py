"""Computed pixels against a count pixel by pixel, and objects against their annotations."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from mmdet.models import BatchSyncRandomResize, DetDataPreprocessor
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData, PixelData

from sparsevit_mm.engine.objects import (
    check_objects,
    check_objects_stay,
    object_pixels,
    objects_of_batch,
)
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.ops.windows import WindowGrid, Windows
from sparsevit_mm.profiling.object_share import ObjectShare
from sparsevit_mm.pruning.selection import WindowSelection


class Sample(SimpleNamespace):
    """A data sample with some fields."""

    def __contains__(self, name):
        return hasattr(self, name)


def selection(grid, kept, stage):
    windows = Windows.locate(grid, 1, kept, torch.device('cpu'))
    return WindowSelection(stage, 0, windows)


@pytest.mark.parametrize('shift', [0, 2])
def test_shares_are_those_of_a_count_by_pixel(shift):
    # 45 x 70 pixels are 12 x 18 tokens, then 6 x 9.
    objects = torch.rand(45, 70, generator=torch.Generator().manual_seed(0)) < 0.2
    kept = [torch.tensor([0, 2, 3, 7]), torch.tensor([1, 5])]
    found = [
        selection(WindowGrid(12, 18, 4, shift), kept[0], 0),
        selection(WindowGrid(6, 9, 4, shift), kept[1], 1),
        selection(WindowGrid(6, 9, 4), None, 1),  # skips nothing
    ]
    share = ObjectShare(patch_size=4)
    share.add(found, objects)
    hits = hits_of_objects = 0
    assert share.of_stage(2) == (None, None)
    for each in found[:2]:
        before = hits_of_objects, hits
        tokens, side = each.computed_tokens(0), 4 * 2**each.stage
        for y in range(45):
            for x in range(70):
                computed = bool(tokens[y // side, x // side])
                hits += computed
                hits_of_objects += computed and bool(objects[y, x])
        of_objects, of_all = share.of_stage(each.stage)
        assert of_objects == pytest.approx((hits_of_objects - before[0]) / int(objects.sum()))
        assert of_all == pytest.approx((hits - before[1]) / (45 * 70))
    assert share.all == pytest.approx(hits / (2 * 45 * 70))
    assert share.objects == pytest.approx(hits_of_objects / (2 * int(objects.sum())))


def test_boxes_are_scaled_with_the_image():
    sample = Sample(img_shape=(30, 40), ori_shape=(60, 80))
    info = {
        'instances': [
            {'bbox': [10, 20, 30, 50], 'bbox_label': 0},
            {'bbox': [70, -5, 99, 4], 'bbox_label': 1},
        ]
    }
    expected = torch.zeros(30, 40, dtype=torch.bool)
    expected[10:25, 5:15] = True
    assert torch.equal(object_pixels(sample, info, ('a', 'b'), ['a']), expected[None])
    expected[:2, 35:] = True
    assert torch.equal(object_pixels(sample, info, ('a', 'b'), None), expected[None])
    assert object_pixels(sample, {}, ('a', 'b'), None) is None


def test_boxes_of_cameras_are_moved_with_their_images():
    """Each camera has a size and place of its own, and cameras come in the sample's order."""
    half = torch.tensor([[0.5, 0, 0], [0, 0.5, -10], [0, 0, 1]])
    mirrored = torch.tensor([[-1.0, 0, 40], [0, 1, 0], [0, 0, 1]])
    sample = Sample(
        img_shape=(30, 40),
        img_aug=torch.stack([half, mirrored]),
        img_path=['x/back/1.jpg', 'x/front/1.jpg'],
    )
    info = {
        'images': {'A': {'img_path': 'front/1.jpg'}, 'B': {'img_path': 'back/1.jpg'}},
        'cam_instances': {
            'A': [{'bbox': [1, 2, 4, 6], 'bbox_label': 0}],
            'B': [{'bbox': [10, 30, 20, 50], 'bbox_label': 1}],
        },
    }
    expected = torch.zeros(2, 30, 40, dtype=torch.bool)
    expected[0, 5:15, 5:10] = True
    expected[1, 2:6, 36:39] = True
    assert torch.equal(object_pixels(sample, info, ('a', 'b'), None), expected)
    info['cam_instances']['B'][0]['bbox_label'] = -1  # of a class that the file leaves out
    expected[0] = False
    assert torch.equal(object_pixels(sample, info, ('a', 'b'), None), expected)
    assert object_pixels(sample, info, ('a', 'b'), ['a']) is None, "labels are the file's"


def test_labels_but_background_and_what_is_ignored():
    labels = torch.tensor([[0, 1], [2, 255]])
    sample = Sample(img_shape=(4, 4), gt_sem_seg=SimpleNamespace(data=labels[None]))
    classes = ('background', 'a', 'b')
    expected = torch.tensor([[False, True], [True, False]]).repeat_interleave(2, 0)
    expected = expected.repeat_interleave(2, 1)
    assert torch.equal(object_pixels(sample, {}, classes, None), expected[None])
    assert int(object_pixels(sample, {}, classes, ['b']).sum()) == 4
    assert object_pixels(sample, {}, ('road', 'a', 'b'), None) is None
    with pytest.raises(ConfigError, match="objects has 'boat', but must be among road, a, b"):
        check_objects(['boat'], ('road', 'a', 'b'))


def detector_sample(boxes, labels):
    boxes = torch.tensor(boxes, dtype=torch.float).view(-1, 4)
    instances = InstanceData(bboxes=boxes, labels=torch.tensor(labels, dtype=torch.long))
    return DetDataSample(gt_instances=instances)


def test_objects_of_a_batch_are_those_after_augmentation():
    batch = {
        'inputs': [torch.zeros(3, 12, 9), torch.zeros(3, 10, 14)],
        'data_samples': [
            detector_sample([[2.5, 3.0, 5.0, 9.2], [0, 0, 1, 1]], [0, 1]),
            detector_sample([], []),
        ],
    }
    expected = torch.zeros(2, 12, 14, dtype=torch.bool)
    expected[0, 3:10, 2:5] = True
    assert torch.equal(objects_of_batch(batch, None, ('a', 'b'), ['a']), expected)
    expected[0, 0, 0] = True
    assert torch.equal(objects_of_batch(batch, None, ('a', 'b'), None), expected)


def test_objects_of_a_batch_of_label_maps():
    labels = torch.tensor([[0, 1], [2, 255]])
    sample = Sample(gt_sem_seg=SimpleNamespace(data=labels[None]))
    batch = {'inputs': torch.zeros(1, 3, 2, 2), 'data_samples': [sample]}
    found = objects_of_batch(batch, None, ('background', 'a', 'b'), None)
    assert found.tolist() == [[[False, True], [True, False]]]
    with pytest.raises(ConfigError, match='objects of SparsityAdaptationHook is missing, but must'):
        objects_of_batch(batch, None, ('road', 'a', 'b'), None)


@pytest.mark.parametrize(
    'batch',
    [
        {'inputs': {'img': torch.zeros(1, 3, 4, 4)}, 'data_samples': [Sample()]},
        {'inputs': torch.zeros(1, 3, 4, 4), 'data_samples': [Sample(gt_label=3)]},
        {'inputs': torch.zeros(1, 3, 4, 4)},
        [torch.zeros(1)],
        {'inputs': {'points': [1]}, 'data_samples': [Sample()]},
        {
            'inputs': {'img': [torch.zeros(6, 3, 4, 4)]},
            'data_samples': [detector_sample([[0, 0, 1, 1]], [0])],
        },
    ],
    ids=['cameras', 'classes of images', 'no labels', 'a list', 'points', 'boxes of one image'],
)
def test_labels_that_do_not_tell_are_one_sentence(batch):
    with pytest.raises(ConfigError, match="importance is 'learned', but must be another one"):
        objects_of_batch(batch, None, ('a', 'b'), None)


def test_boxes_come_before_label_maps():
    """Panoptic data have both, and their label maps are of another kind."""
    sample = detector_sample([[0, 0, 1, 1]], [0])
    sample.gt_sem_seg = PixelData(sem_seg=torch.ones(1, 4, 4))
    batch = {'inputs': torch.zeros(1, 3, 4, 4), 'data_samples': [sample]}
    assert int(objects_of_batch(batch, None, ('a', 'b'), None).sum()) == 1


def test_preprocessors_that_resize_are_refused():
    augment = BatchSyncRandomResize((32, 64), size_divisor=32)
    check_objects_stay(SimpleNamespace(data_preprocessor=DetDataPreprocessor()))
    model = SimpleNamespace(data_preprocessor=DetDataPreprocessor())
    model.data_preprocessor.batch_augments = [augment]
    with pytest.raises(ConfigError, match='data preprocessor has BatchSyncRandomResize, which'):
        check_objects_stay(model)
