"""Info files as JSON and as pickles of plain data; nothing that would run code is read."""

from __future__ import annotations

import json
import os
import pickle

import numpy as np
import pytest
from mmengine.config import Config

from sparsevit_mm.det3d.datasets.infos import check_infos, read_camera_matrices, read_infos
from sparsevit_mm.det3d.evaluation.info_lookup import InfoLookup
from sparsevit_mm.errors import ConfigError, DataError

CAM2IMG = [[100.0, 0, 60], [0, 100, 40], [0, 0, 1]]
INFOS = dict(
    metainfo={},
    data_list=[
        dict(
            images=dict(
                CAM_FRONT=dict(img_path='samples/CAM_FRONT/a.jpg', cam2img=CAM2IMG),
                CAM_BACK=dict(img_path='b.jpg', cam2img=np.array(CAM2IMG, np.float32)),
                CAM_LEFT=dict(img_path=None, cam2img=CAM2IMG),
            )
        )
    ],
)


@pytest.mark.parametrize('protocol', [2, pickle.HIGHEST_PROTOCOL])
def test_pickles(tmp_path, protocol):
    path = tmp_path / 'infos.pkl'
    path.write_bytes(pickle.dumps(INFOS, protocol))
    found = read_camera_matrices(path)
    assert found.keys() == {'a.jpg', 'b.jpg'}
    for cam2img in found.values():
        np.testing.assert_array_equal(cam2img, CAM2IMG)


def test_json(tmp_path):
    path = tmp_path / 'infos.json'
    images = dict(CAM2=dict(img_path='000001.png', cam2img=CAM2IMG))
    path.write_text(json.dumps(dict(data_list=[dict(images=images)])))
    np.testing.assert_array_equal(read_camera_matrices(path)['000001.png'], CAM2IMG)


class Harmful:
    def __reduce__(self):
        return os.mkdir, ('harm',)


def test_pickles_that_would_run_code_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / 'infos.pkl'
    path.write_bytes(pickle.dumps(dict(data_list=[Harmful()])))
    with pytest.raises(ConfigError, match='not an info file'):
        read_infos(path)
    with pytest.raises(ConfigError, match='not an info file'):
        InfoLookup(str(path))
    assert not (tmp_path / 'harm').exists()


def test_annotations_need_the_names_of_the_classes(tmp_path):
    path = tmp_path / 'infos.pkl'
    path.write_bytes(pickle.dumps(INFOS))
    with pytest.raises(DataError, match='no categories'):
        InfoLookup(str(path))
    named = {**INFOS, 'metainfo': {'categories': {'car': 2}}}
    path.write_bytes(pickle.dumps(named))
    assert InfoLookup(str(path), backend_args={'backend': 'local'}).class_names == {2: 'car'}


@pytest.mark.parametrize(
    ('name', 'content'),
    [
        ('infos.json', b'{'),
        ('infos.json', b'[1]'),
        ('infos.pkl', b''),
        ('infos.pkl', pickle.dumps([1])),
    ],
)
def test_other_files(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match='version 2'):
        read_infos(tmp_path / name)
    with pytest.raises(ConfigError, match='does not exist'):
        read_infos(tmp_path / f'no_{name}')


@pytest.mark.parametrize('suffix', ['json', 'pkl'])
def test_boxes_without_velocity_are_counted(tmp_path, suffix):
    boxes = [dict(bbox_3d=[0.0] * 7), dict(bbox_3d=[0.0] * 7, velocity=[0.0, 1.0])]
    infos = dict(data_list=[dict(instances=boxes)])
    path = tmp_path / f'infos.{suffix}'
    path.write_bytes(json.dumps(infos).encode() if suffix == 'json' else pickle.dumps(infos))
    dataset = dict(type='NuScenesDataset', data_root=str(tmp_path), ann_file=path.name)
    cfg = Config(dict(train_dataloader=dict(dataset=dict(type='CBGSDataset', dataset=dataset))))
    words = r'1 of 2 boxes in .* have no velocity, but train_dataloader.dataset.dataset.with_vel'
    with pytest.raises(ConfigError, match=words):
        check_infos(cfg, ['train_dataloader'])
    cfg.train_dataloader.dataset.dataset.with_velocity = False
    check_infos(cfg, ['train_dataloader'])


def test_a_harmful_info_file_is_named_with_its_class(tmp_path):
    (tmp_path / 'a.pkl').write_bytes(pickle.dumps(dict(data_list=[Harmful()])))
    dataset = dict(type='NuScenesDataset', data_root=str(tmp_path), ann_file='a.pkl')
    cfg = Config(dict(train_dataloader=dict(dataset=dataset)))
    with pytest.raises(ConfigError, match=r'a\.pkl is not an info file .*posix\.mkdir'):
        check_infos(cfg, ['train_dataloader'])
