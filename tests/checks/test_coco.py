"""Annotations that people wrote themselves: what does not fit is said in one sentence."""

from __future__ import annotations

import json

import pytest

from sparsevit_mm.apis.configs import load_config, register_framework
from sparsevit_mm.checks.coco import check_coco_annotations
from sparsevit_mm.errors import ConfigError
from tests.helpers.tiny_data import DETECTOR, write_config, write_tiny_data
from tests.tools.conftest import call_tool


@pytest.fixture
def own(tmp_path):
    """A detector's config, and its annotation file to be spoilt."""
    data = write_tiny_data(tmp_path / 'data', images=2)
    return write_config(tmp_path / 'own.py', DETECTOR, data), data / 'instances.json'


def spoil(path, change):
    coco = json.loads(path.read_text())
    change(coco)
    path.write_text(json.dumps(coco))


def check(config, **options):
    cfg = load_config(str(config), options)
    register_framework(cfg)
    check_coco_annotations(cfg, ['train_dataloader'])


DATASET = 'train_dataloader.dataset'


def test_whole_annotations_pass_and_unused_categories_may_be_there(own):
    config, path = own
    spoil(path, lambda coco: coco['categories'].append(dict(id=9, name='dog')))
    check(config)


@pytest.mark.parametrize(
    'change, message',
    [
        (lambda coco: coco['categories'].pop(), "classes holds 'car', but .*json has person"),
        (lambda coco: coco.pop('images'), 'has no list of images, but COCO annotations have'),
        (lambda coco: coco['images'][1].pop('height'), r'images\[1\] of .* has no height'),
        (lambda coco: coco['annotations'][2].pop('area'), r'annotations\[2\] of .* has no area'),
        (lambda coco: coco['annotations'][1].update(image_id=7), 'is 7, but no image has that id'),
    ],
)
def test_wrong_annotations(own, change, message):
    config, path = own
    spoil(path, change)
    with pytest.raises(ConfigError, match=message):
        check(config)


def test_labels_follow_the_order_of_the_file(own):
    config, path = own
    spoil(path, lambda coco: coco['categories'].reverse())
    with pytest.raises(ConfigError, match=r"has 'person' as class 0, but must have 'car': .*json"):
        check(config)
    check(config, **{f'{DATASET}.metainfo.classes': ('car', 'person')})


def test_annotations_without_a_category_are_counted(own):
    config, path = own
    spoil(
        path,
        lambda coco: [a.update(category_id=a['category_id'] + 4) for a in coco['annotations'][1:]],
    )
    with pytest.raises(ConfigError, match=r'of 3 of the 4 annotations of .*json is one that no '
                       'category has, such as 6, but must be one of 1, 2') as error:  # fmt: skip
        check(config)
    assert '\n' not in str(error.value)


def test_what_is_no_json(own):
    config, path = own
    path.write_text('{"images": [')
    with pytest.raises(ConfigError, match='instances.json is no JSON: Expecting value'):
        check(config)


def test_masks_are_asked_for_where_they_are_trained(own):
    config, path = own
    spoil(path, lambda coco: coco['annotations'][3].update(segmentation=[]))
    check(config)
    with pytest.raises(ConfigError, match=r'annotations\[3\] of .* has no segmentation'):
        check(config, **{f'{DATASET}.pipeline.1.with_mask': True})


def test_heads_have_as_many_classes_as_the_data(own):
    with pytest.raises(ConfigError, match=r'model\.bbox_head\.num_classes is 3, but .* has 2: pe'):
        check(own[0], **{'model.bbox_head.num_classes': 3})


def test_classes_that_were_not_set(own):
    config, path = own
    text = config.read_text().replace("metainfo=dict(classes=('person', 'car')), ", '')
    config.write_text(text)
    # Their names are COCO's, but the second class of COCO is another one.
    with pytest.raises(ConfigError, match="has 'bicycle' as class 1, but must have 'car'"):
        check(config)
    spoil(path, lambda coco: coco['categories'][1].update(name='bicycle'))
    check(config)
    categories = [dict(id=1, name='screw'), dict(id=2, name='nut')]
    spoil(path, lambda coco: coco.update(categories=categories))
    with pytest.raises(ConfigError, match='has none of the classes of CocoDataset but screw, nut'):
        check(config)


@pytest.mark.parametrize('tool', ['train', 'browse_dataset', 'test'])
def test_tools_say_it_before_anything_is_written(own, tool, capsys, monkeypatch):
    config, path = own
    monkeypatch.chdir(config.parent)
    spoil(path, lambda coco: coco['categories'][1].update(name='nut'))
    before = sorted(config.parent.rglob('*'))
    (weights := config.parent / 'data' / 'weights.pth').touch()
    with pytest.raises(SystemExit) as end:
        call_tool(tool, config, *([weights] if tool == 'test' else []))
    weights.unlink()
    assert end.value.code == 1
    assert "classes holds 'car'" in capsys.readouterr().err
    assert sorted(config.parent.rglob('*')) == before
