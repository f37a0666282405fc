"""Broken files of every kind: readers return a result, or say in one sentence what is wrong."""

from __future__ import annotations

import copy
import io
import json
import pickle
import zipfile

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from mmengine.config import Config

from sparsevit_mm import SparseViT
from sparsevit_mm.apis.configs import register_framework
from sparsevit_mm.apis.schedules import parse_ratios
from sparsevit_mm.checkpoints.files import read_checkpoint
from sparsevit_mm.checkpoints.loading import load_pretrained_swin
from sparsevit_mm.checks.coco import check_coco_annotations
from sparsevit_mm.engine.resuming import check_resumable, latest_checkpoint
from sparsevit_mm.errors import SparseVitError
from sparsevit_mm.pruning.schedule import PruningSchedule
from sparsevit_mm.search.latency_table import LatencyConditions, LatencyTable, TableCheck
from sparsevit_mm.search.records import Evaluation, EvaluationLog, check_same_search

DEPTHS = (1, 2)


def quickly(examples):
    return settings(
        max_examples=examples,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


JUNK = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.sampled_from(
            [0, -1, 10**30, -(10**400), 1e308, float('inf'), float('nan'), '', 'a', '\0']
        ),
        st.integers(),
        st.floats(),
        st.text(max_size=5),
    ),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=5,
)


@st.composite
def changed(draw, data):
    """The data with one to three values, at any depth, replaced by something else or left out."""
    data = copy.deepcopy(data)
    for _ in range(draw(st.integers(1, 3))):
        place, key = None, None
        inner = data
        while isinstance(inner, (dict, list)) and inner and (place is None or draw(st.booleans())):
            key = draw(
                st.sampled_from(list(inner) if isinstance(inner, dict) else range(len(inner)))
            )
            place, inner = inner, inner[key]
        if place is None:
            return draw(JUNK)
        if draw(st.integers(0, 3)) == 0:
            del place[key]
        else:
            place[key] = draw(JUNK)
    return data


@st.composite
def damaged(draw, content):
    """The bytes with some replaced, put in, or cut off."""
    found = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(found) - 1, 0)))
        piece = draw(st.binary(max_size=4))
        how = draw(st.sampled_from(['replace', 'insert', 'cut', 'head']))
        if how == 'replace':
            found[at : at + len(piece)] = piece
        elif how == 'insert':
            found[at:at] = piece
        elif how == 'cut':
            del found[at:]
        else:
            del found[:at]
    return bytes(found)


def attempt(read, *args):
    """Calls a reader: only an error of ours, of one line, may come."""
    try:
        read(*args)
    except SparseVitError as error:
        assert '\n' not in str(error), str(error)
        assert len(str(error)) < 2000


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('fuzzed')


def small_swin():
    return SparseViT(embed_dims=4, depths=DEPTHS, num_heads=(1, 1), out_indices=(1,), window_size=2)


def training_checkpoint():
    return {
        'meta': {'epoch': 1, 'iter': 10, 'experiment_name': 'a'},
        'state_dict': {f'backbone.{n}': w for n, w in small_swin().state_dict().items()},
        'message_hub': {'log_scalars': {}, 'runtime_info': {}, 'resumed_keys': {}},
        'optimizer': {'state': {}, 'param_groups': [{'lr': 0.1, 'params': [0, 1]}]},
    }


def saved(content):
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def with_pickle(content, change):
    """A checkpoint whose pickle is changed, but not the archive around it."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(target, 'w') as new:
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, change(data) if name.endswith('data.pkl') else data)
    return target.getvalue()


CHECKPOINT = saved(training_checkpoint())
PICKLED = next(
    zipfile.ZipFile(io.BytesIO(CHECKPOINT)).read(name)
    for name in zipfile.ZipFile(io.BytesIO(CHECKPOINT)).namelist()
    if name.endswith('data.pkl')
)


def read_everything(path):
    attempt(read_checkpoint, path)
    attempt(check_resumable, str(path), Config(dict(train_cfg=dict(max_epochs=3))))
    attempt(load_pretrained_swin, small_swin(), path)


@quickly(60)
@given(data=st.data())
def test_checkpoints(folder, data):
    path = folder / 'a.pth'
    how = data.draw(st.sampled_from(['archive', 'pickle', 'values', 'text']))
    if how == 'archive':
        path.write_bytes(data.draw(damaged(CHECKPOINT)))
    elif how == 'pickle':
        broken = data.draw(damaged(PICKLED))
        path.write_bytes(with_pickle(CHECKPOINT, lambda _: broken))
    elif how == 'values':
        path.write_bytes(saved(data.draw(changed(training_checkpoint()))))
    else:
        path.write_text(data.draw(st.text(st.characters(max_codepoint=127), max_size=40)))
    read_everything(path)


@quickly(60)
@given(content=st.one_of(damaged(b'epoch_1.pth'), st.binary(max_size=20)))
def test_the_name_of_the_last_checkpoint(folder, content):
    work_dir = folder / 'run'
    work_dir.mkdir(exist_ok=True)
    (work_dir / 'epoch_1.pth').write_bytes(CHECKPOINT)
    (work_dir / 'last_checkpoint').write_bytes(content)
    attempt(latest_checkpoint, work_dir)


SCHEDULE = PruningSchedule.parse(0.5, DEPTHS)


@quickly(150)
@given(content=changed(SCHEDULE.to_dict()).map(lambda data: json.dumps(data).encode())
       | damaged(json.dumps(SCHEDULE.to_dict()).encode()))  # fmt: skip
def test_schedules(folder, content):
    path = folder / 'schedule.json'
    path.write_bytes(content)
    attempt(PruningSchedule.load, path)


@quickly(150)
@given(text=st.one_of(changed([[0.5], [0.1, 0.2]]).map(repr), st.text(max_size=20)))
def test_ratios(text):
    attempt(lambda: PruningSchedule.parse(parse_ratios(text), DEPTHS))


@pytest.mark.parametrize(
    'text', ['[' * 10**4, '[' * 80 + ']' * 80, '9' * 5000, '1e999', '-' * 9999]
)
def test_ratios_that_are_enormous_or_deep(text, folder):
    attempt(lambda: PruningSchedule.parse(parse_ratios(text), DEPTHS))
    (folder / 'deep.json').write_text(f'{{"ratios": {text}}}')
    attempt(PruningSchedule.load, folder / 'deep.json')


TABLE = LatencyTable(
    1.0,
    (4, 4),
    [[{1: 1.0, 4: 2.0}], [{1: 1.0, 4: 2.0}, {4: 2.0}]],
    LatencyConditions('cpu', 1, 'float32', 1, 64, 64, None, 'tiny', {'torch': '2'}),
    TableCheck((1.0,), (1.0,), (0.1,)),
).to_dict()
EVALUATION = Evaluation(SCHEDULE, 1.0, 'random', None, {'mIoU': 0.5}, 1.0).to_dict()


def use_table(path):
    table = LatencyTable.load(path)
    str(table.check)
    table.differences(table.conditions)


@quickly(150)
@given(data=st.data())
def test_state_files_of_a_search(folder, data):
    for name, whole, read in (
        ('table.json', TABLE, use_table),
        ('log.jsonl', EVALUATION, EvaluationLog.read),
        ('search.json', {'a': {'b': 1}}, lambda path: check_same_search(path, {'a': 1}, True)),
    ):
        content = json.dumps(whole).encode() + b'\n'
        if data.draw(st.booleans()):
            content = json.dumps(data.draw(changed(whole))).encode() + b'\n'
        else:
            content = data.draw(damaged(content))
        (folder / name).write_bytes(content)
        attempt(read, folder / name)


COCO = {
    'images': [{'id': 1, 'file_name': 'a.png', 'height': 4, 'width': 4}],
    'annotations': [
        {'id': 1, 'image_id': 1, 'category_id': 1, 'bbox': [0, 0, 2, 2], 'area': 4,
         'segmentation': [[0, 0, 2, 0, 2, 2]], 'iscrowd': 0}
    ],
    'categories': [{'id': 1, 'name': 'person'}, {'id': 2, 'name': 'car'}],
}  # fmt: skip


UNLIKE_IDS = [{'id': '', 'name': 'person'}, {'id': 2, 'name': 'car'}]


@quickly(150)
@given(content=changed(COCO).map(lambda data: json.dumps(data).encode())
       | damaged(json.dumps(COCO).encode()))  # fmt: skip
@example(content=json.dumps({**COCO, 'categories': UNLIKE_IDS}).encode())
@pytest.mark.parametrize('classes', [('person', 'car'), None])
def test_annotations(folder, classes, content):
    pytest.importorskip('mmdet')
    (folder / 'coco.json').write_bytes(content)
    dataset = dict(type='CocoDataset', data_root=str(folder), ann_file='coco.json')
    if classes:
        dataset['metainfo'] = dict(classes=classes)
    cfg = Config(
        dict(default_scope='mmdet', model=dict(bbox_head=dict(num_classes=2)),
             train_dataloader=dict(dataset=dataset))
    )  # fmt: skip
    register_framework(cfg)
    attempt(check_coco_annotations, cfg, ['train_dataloader'])


CAM2IMG = [[100.0, 0.0, 60.0], [0.0, 100.0, 40.0], [0.0, 0.0, 1.0]]
INFOS = {
    'metainfo': {'categories': {'car': 0}},
    'data_list': [{'sample_idx': 0, 'images': {'CAM2': {'img_path': 'a.png', 'cam2img': CAM2IMG}}}],
}


@quickly(150)
@given(data=st.data())
@pytest.mark.parametrize('suffix', ['json', 'pkl'])
def test_infos(folder, suffix, data):
    pytest.importorskip('mmdet3d')
    from sparsevit_mm.det3d.datasets.infos import read_camera_matrices
    from sparsevit_mm.det3d.evaluation.info_lookup import InfoLookup

    def dumped(infos):
        return json.dumps(infos).encode() if suffix == 'json' else pickle.dumps(infos)

    path = folder / f'infos.{suffix}'
    if data.draw(st.booleans()):
        path.write_bytes(dumped(data.draw(changed(INFOS))))
    else:
        path.write_bytes(data.draw(damaged(dumped(INFOS))))
    attempt(read_camera_matrices, path)
    attempt(InfoLookup, str(path))
    attempt(InfoLookup, str(path), True)


def test_a_reason_of_two_lines(folder):
    """A damaged pickle may begin with a persistent id, which torch refuses in two lines."""
    pytest.importorskip('mmdet3d')
    from sparsevit_mm.det3d.datasets.infos import read_camera_matrices

    path = folder / 'infos.pkl'
    path.write_bytes(b'P' + pickle.dumps(INFOS)[1:])
    attempt(read_camera_matrices, path)
