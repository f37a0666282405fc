"""What a search looks at, and that training does not."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from mmengine.config import Config, ConfigDict

from sparsevit_mm.apis.configs import load_config, register_framework
from sparsevit_mm.engine.held_out import ExcludeHeldOut, image_names, search_data
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.search.split import SplitSettings, is_held_out
from tests.helpers.tiny_data import DETECTOR, SEGMENTOR, write_config, write_tiny_data


@pytest.fixture(scope='module')
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp('tiny')
    data = write_tiny_data(folder / 'data')
    configs = {
        name: write_config(folder / f'{name}.py', text, data)
        for name, text in (('detector', DETECTOR), ('segmentor', SEGMENTOR))
    }
    return SimpleNamespace(folder=folder, data=data, **configs)


def config(path):
    cfg = load_config(str(path))
    register_framework(cfg)
    return cfg


HALF = SplitSettings(share=0.5, seed=4)


@pytest.mark.parametrize('kind', ['detector', 'segmentor'])
def test_training_and_search_share_no_image_and_leave_none_out(tiny, kind, tmp_path):
    cfg = config(getattr(tiny, kind))
    data = search_data(cfg, HALF, tmp_path)
    registry = 'mmdet' if kind == 'detector' else 'mmseg'
    rest = ExcludeHeldOut({**cfg.train_dataloader.dataset, '_scope_': registry}, 0.5, 4)
    assert 0 < len(data.names) < 16
    assert sorted([*data.names, *image_names(rest)]) == sorted(f'{n}.png' for n in range(16))
    assert all(is_held_out(name, 0.5, 4) for name in data.names)
    assert rest[0]['data_samples'].img_path == rest.get_data_info(0)['img_path']
    assert rest.metainfo['classes'][-1] == 'car'


def test_a_coco_metric_sees_the_chosen_images_alone(tiny, tmp_path):
    data = search_data(config(tiny.detector), SplitSettings(share=0.5, seed=4, images=3), tmp_path)
    coco = json.loads((tmp_path / 'held_out.json').read_text())
    assert data.evaluator.ann_file == str(tmp_path / 'held_out.json')
    assert [image['file_name'] for image in coco['images']] == list(data.names)
    ids = {image['id'] for image in coco['images']}
    assert {a['image_id'] for a in coco['annotations']} == ids
    assert len(coco['annotations']) == 6
    assert data.dataloader.dataset.indices == sorted(ids)


def test_images_are_seen_as_the_validation_set_is(tiny, tmp_path):
    cfg = config(tiny.detector)
    cfg.val_dataloader.dataset.pipeline = cfg.val_dataloader.dataset.pipeline[:3]
    cfg.train_dataloader.batch_size = 7
    data = search_data(cfg, HALF, tmp_path)
    assert data.dataloader.dataset.pipeline == cfg.val_dataloader.dataset.pipeline
    assert data.dataloader.dataset.test_mode
    assert data.dataloader.batch_size == 1
    assert not data.dataloader.sampler.shuffle
    # The config itself stays as it was.
    assert 'indices' not in cfg.train_dataloader.dataset
    assert cfg.val_evaluator.ann_file != data.evaluator.ann_file


def test_the_split_is_the_one_that_training_kept_to(tiny, tmp_path):
    cfg = config(tiny.segmentor)
    wrapper = dict(type='sparsevit_mm.ExcludeHeldOut', share=0.5, seed=4)
    cfg.train_dataloader.dataset = ConfigDict(
        type='RepeatDataset', times=2, dataset={**wrapper, 'dataset': cfg.train_dataloader.dataset}
    )
    data = search_data(cfg, SplitSettings(share=0.1, seed=9), tmp_path)
    assert (data.split.share, data.split.seed) == (0.5, 4)
    assert data.names == search_data(config(tiny.segmentor), HALF, tmp_path).names


def test_validation_set_if_asked_for(tiny, tmp_path):
    cfg = config(tiny.detector)
    data = search_data(cfg, SplitSettings(part='val'), tmp_path)
    assert len(data.names) == 16
    assert 'indices' not in data.dataloader.dataset


def test_indices_of_the_validation_set_stay(tiny, tmp_path):
    cfg = config(tiny.detector)
    cfg.val_dataloader.dataset.indices = [4, 5, 9]
    whole = search_data(cfg, SplitSettings(part='val'), tmp_path)
    assert whole.names == ('4.png', '5.png', '9.png')
    coco = json.loads((tmp_path / 'held_out.json').read_text())
    assert [image['file_name'] for image in coco['images']] == list(whole.names)
    part = search_data(cfg, SplitSettings(part='val', images=2), tmp_path)
    assert [f'{number}.png' for number in part.dataloader.dataset.indices] == list(part.names)
    cfg.val_dataloader.dataset.indices = -3
    part = search_data(cfg, SplitSettings(part='val', images=1), tmp_path)
    assert [f'{16 + number}.png' for number in part.dataloader.dataset.indices] == list(part.names)


@pytest.mark.parametrize(
    'change, message',
    [
        (dict(train_dataloader=None), 'train_dataloader is not in the config, but split.part is'),
        (dict(val_dataloader=None, test_dataloader=None), 'val_dataloader and val_evaluator are'),
        (
            {'train_dataloader.dataset': dict(type='ConcatDataset', datasets=[])},
            'train_dataloader.dataset is a ConcatDataset of several data sets',
        ),
    ],
)
def test_configs_without_data_are_one_sentence(tiny, tmp_path, change, message):
    cfg: Config = config(tiny.detector)
    for key, value in change.items():
        parent, _, name = key.rpartition('.')
        (cfg[parent] if parent else cfg)[name] = ConfigDict(value) if value else None
    with pytest.raises(ConfigError, match=message) as error:
        search_data(cfg, HALF, tmp_path)
    assert '\n' not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_a_metric_with_annotations_of_another_kind_is_one_sentence(tiny, tmp_path):
    cfg = config(tiny.segmentor)
    cfg.test_evaluator.ann_file = 'infos.pkl'
    with pytest.raises(ConfigError, match='IoUMetric reads infos.pkl, which is no COCO file'):
        search_data(cfg, HALF, tmp_path)
    cfg.val_dataloader, cfg.val_evaluator = cfg.test_dataloader, cfg.test_evaluator
    whole = search_data(cfg, SplitSettings(part='val'), tmp_path)
    assert whole.evaluator == cfg.val_evaluator, 'the whole validation set can be judged'


def test_a_loss_needs_labels_and_no_evaluator(tiny, tmp_path):
    cfg = config(tiny.segmentor)
    cfg.test_evaluator.ann_file = 'infos.pkl'
    assert search_data(cfg, HALF, tmp_path, loss=True).evaluator is None
    pipeline = cfg.test_dataloader.dataset.pipeline
    cfg.test_dataloader.dataset.pipeline = [p for p in pipeline if p.type != 'LoadAnnotations']
    with pytest.raises(ConfigError, match='test_dataloader.dataset.pipeline has no LoadAnn'):
        search_data(cfg, HALF, tmp_path, loss=True)


@pytest.mark.parametrize('share', [1e-9, 1 - 1e-9])
def test_training_needs_both_parts(tiny, share):
    dataset = {**config(tiny.segmentor).train_dataloader.dataset, '_scope_': 'mmseg'}
    with pytest.raises(ConfigError, match='leaves .* of 16 images'):
        ExcludeHeldOut(dataset, share)
