from __future__ import annotations

from collections import Counter

import pytest

from sparsevit_mm.det3d.datasets.class_balanced import ClassBalancedFrames
from sparsevit_mm.errors import DataError
from sparsevit_mm.registry import DATASETS


class Frames:
    """A data set that knows which classes each frame has."""

    def __init__(self, *classes):
        self.classes = classes
        self.metainfo = {'classes': ('car', 'bus', 'bicycle')}

    def full_init(self):
        pass

    def get_cat_ids(self, index):
        return self.classes[index]

    def get_data_info(self, index):
        return {'sample_idx': index}

    def __getitem__(self, index):
        return f'frame {index}'

    def __len__(self):
        return len(self.classes)


def test_every_class_draws_as_often():
    # 19 frames with only cars, one with only a bus: 20 pairs, 10 for each.
    drawn = ClassBalancedFrames(Frames(*[{0}] * 19, {1}))
    assert len(drawn) == 20
    assert Counter(drawn[i] for i in range(20))['frame 19'] == 10
    assert drawn.get_cat_ids(19) == {1}
    assert drawn.get_data_info(19) == {'sample_idx': 19}


def test_equals_cbgs_in_number(monkeypatch):
    from mmdet3d.datasets import CBGSDataset

    frames = Frames({0, 1}, {0}, {0, 2}, {1, -1}, {0}, set())
    reference = CBGSDataset.__new__(CBGSDataset)
    reference._metainfo = frames.metainfo
    assert len(ClassBalancedFrames(frames)) == len(reference._get_sample_indices(frames))


def test_absent_class():
    drawn = ClassBalancedFrames(Frames({0}, {0}, {2}, {-1}))
    assert {drawn.get_data_info(i)['sample_idx'] for i in range(len(drawn))} <= {0, 1, 2}
    assert len(drawn) == 2  # 3 pairs for 2 classes


def test_seed():
    frames = Frames(*[{0}] * 50)
    first, same, other = (ClassBalancedFrames(frames, seed) for seed in (0, 0, 1))
    assert [first[i] for i in range(50)] == [same[i] for i in range(50)]
    assert [first[i] for i in range(50)] != [other[i] for i in range(50)]


def test_nothing_to_draw():
    with pytest.raises(DataError, match='None of the classes'):
        ClassBalancedFrames(Frames(set(), {-1}))


def test_built_by_name():
    dataset = {'type': 'sparsevit_mm.ClassBalancedFrames', 'dataset': Frames({0})}
    assert len(DATASETS.build(dataset)) == 1
