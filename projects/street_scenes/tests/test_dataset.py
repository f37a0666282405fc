"""The files: COCO instances and label maps that agree with each other, and clear errors."""

from __future__ import annotations

import hashlib
import json

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO

from projects.street_scenes.classes import SEMANTIC_CLASSES, THING_CLASSES
from projects.street_scenes.dataset import (
    MIN_AREA,
    SPLITS,
    DemoSettings,
    make_dataset,
)
from sparsevit_mm.errors import ConfigError

SETTINGS = DemoSettings(training=5, validation=2, width=192, height=96, seed=3)


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp('data') / 'demo'
    assert make_dataset(root, SETTINGS, workers=2)
    return root


def fingerprints(root):
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob('*'))
        if path.is_file()
    }


def labels(root, split, index):
    path = root / 'annotations' / split / f'{index:06d}.png'
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def test_files_are_complete_and_the_same_with_any_number_of_workers(root, tmp_path):
    assert len(fingerprints(root)) == 2 * (5 + 2) + 2 + 2 + 1
    make_dataset(tmp_path / 'again', SETTINGS, workers=1)
    assert fingerprints(root) == fingerprints(tmp_path / 'again')
    assert [path.name for path in tmp_path.iterdir()] == ['again']


def test_workers_after_the_process_has_drawn_by_itself(tmp_path):
    """A forked worker must not wait for threads that OpenCV has in its parent alone."""
    make_dataset(tmp_path / 'alone', DemoSettings(1, 1, 192, 96), workers=1)
    assert make_dataset(tmp_path / 'together', DemoSettings(5, 1, 192, 96), workers=2)


def test_another_seed_is_another_data_set(root, tmp_path):
    make_dataset(tmp_path / 'other', DemoSettings(5, 2, 192, 96, seed=4), workers=1)
    first, second = fingerprints(root), fingerprints(tmp_path / 'other')
    assert first['images/training/000000.jpg'] != second['images/training/000000.jpg']


def test_masks_boxes_and_label_maps_agree(root):
    for split, count in zip(SPLITS, (5, 2)):
        coco = COCO(str(root / 'annotations' / f'instances_{split}.json'))
        assert [c['name'] for c in coco.loadCats(coco.getCatIds())] == list(THING_CLASSES)
        assert len(coco.imgs) == count
        for image in coco.imgs.values():
            picture = cv2.imread(str(root / 'images' / split / image['file_name']))
            assert picture.shape == (96, 192, 3)
            label_map = labels(root, split, image['id'])
            assert label_map.shape == (96, 192)
            covered = np.zeros_like(label_map)
            for annotation in coco.loadAnns(coco.getAnnIds(image['id'])):
                mask = coco.annToMask(annotation).astype(bool)
                name = THING_CLASSES[annotation['category_id'] - 1]
                assert (label_map[mask] == SEMANTIC_CLASSES.index(name) + 1).all()
                rows, cols = np.nonzero(mask)
                width, height = cols.max() - cols.min() + 1, rows.max() - rows.min() + 1
                assert annotation['bbox'] == [cols.min(), rows.min(), width, height]
                assert annotation['area'] == mask.sum() >= MIN_AREA
                assert annotation['iscrowd'] == 0
                covered += mask
            assert covered.max() == 1, 'every pixel shows one thing'


def test_every_class_occurs(root):
    found = {int(v) for index in range(5) for v in np.unique(labels(root, 'training', index))}
    assert found == set(range(1, len(SEMANTIC_CLASSES) + 1))
    coco = json.loads((root / 'annotations' / 'instances_training.json').read_text())
    assert {a['category_id'] for a in coco['annotations']} == {1, 2, 3}
    areas = [a['area'] for a in coco['annotations']]
    assert min(areas) < 100
    assert max(areas) > 500


def test_equal_settings_are_not_made_again_and_others_replace_them(root, tmp_path):
    small = DemoSettings(1, 1, 64, 64)
    folder = tmp_path / 'demo'
    seen = []
    assert make_dataset(folder, small, workers=1, progress=lambda *now: seen.append(now))
    assert seen == [(1, 2), (2, 2)]
    times = {path: path.stat().st_mtime_ns for path in folder.rglob('*')}
    assert not make_dataset(folder, small, workers=1)
    assert times == {path: path.stat().st_mtime_ns for path in folder.rglob('*')}
    assert make_dataset(folder, DemoSettings(1, 2, 64, 64), workers=1)
    assert len(list((folder / 'images' / 'validation').iterdir())) == 2
    assert [path.name for path in tmp_path.iterdir()] == ['demo']


def test_crash_leaves_nothing_half_written(tmp_path):
    def crash(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_dataset(tmp_path / 'demo', DemoSettings(2, 1, 64, 64), workers=1, progress=crash)
    assert not list(tmp_path.iterdir())


def test_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(ConfigError, match='the data folder .* cannot be written') as error:
        make_dataset(tmp_path / 'file' / 'demo', DemoSettings(1, 1, 64, 64))
    assert '\n' not in str(error.value)


def test_folder_with_other_things_is_left_alone(tmp_path):
    (tmp_path / 'thesis.txt').write_text('all of it')
    with pytest.raises(ConfigError, match='no demo data set'):
        make_dataset(tmp_path, DemoSettings(1, 1, 64, 64))
    assert [path.name for path in tmp_path.iterdir()] == ['thesis.txt']


@pytest.mark.parametrize('wrong', [{'training': 0}, {'width': 20}, {'seed': -1}])
def test_settings_out_of_range(wrong):
    (field,) = wrong
    with pytest.raises(ConfigError, match=f'{field} is .* at least'):
        DemoSettings(**wrong)
