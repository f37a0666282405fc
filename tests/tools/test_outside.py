"""No tool runs what is in a file that it is given, whether by its path or by an address."""

from __future__ import annotations

import json
import pickle

import pytest
import torch
from mmengine.fileio import load

from sparsevit_mm.engine.safe_reading import load_from_safe_reader, use_safe_reading
from sparsevit_mm.errors import CheckpointError, DataError
from tests.helpers.harm import Harm, served
from tests.helpers.tiny_data import DETECTOR, write_config
from tests.tools.conftest import call_tool

TAKES_A_CHECKPOINT = {
    'test': ('test', ['CONFIG', 'FILE', '--work-dir', 'WORK']),
    'search': (
        'search',
        ['CONFIG', 'FILE', '--macs', '0.9x', '--metric', 'coco/bbox_mAP', '--work-dir', 'WORK'],
    ),
    'load_from': ('train', ['CONFIG', '--work-dir', 'WORK', '--cfg-options', 'load_from=FILE']),
    'resume': ('train', ['CONFIG', '--work-dir', 'WORK', '--resume', 'FILE']),
    'init_cfg': ('train', ['PRETRAINED', '--work-dir', 'WORK']),
    'init_cfg of another backbone': ('train', ['PLAIN', '--work-dir', 'WORK']),
    'publish_model': ('publish_model', ['FILE', 'WORK/out.pth']),
    'to_mmdet': ('model_converters/to_mmdet', ['FILE', 'WORK/out.pth']),
    'to_sparsevit_mm': ('model_converters/to_sparsevit_mm', ['FILE', 'WORK/out.pth']),
    'image_demo': ('image_demo', ['PICTURE', 'CONFIG', 'FILE', '--out-dir', 'WORK']),
    'sparsify': ('sparsify', ['PLAINCONFIG', 'FILE', '--out-dir', 'WORK', '--ratios', '0.5']),
    'export_onnx': (
        'export_onnx',
        ['CONFIG', 'FILE', '--out', 'WORK/net.onnx', '--shape', '64', '64'],
    ),
    'verify_release': ('verify_release', ['CONFIG', 'FILE', '--load-only']),
}


@pytest.fixture
def place(tiny, tmp_path, monkeypatch):
    """A folder with a harmful checkpoint, and what stands for the words of the cases above."""
    monkeypatch.setattr('torch.hub._hub_dir', str(tmp_path / 'cache'))
    weights = {'state_dict': {'a': torch.zeros(1)}, 'harm': Harm(tmp_path / 'harm')}
    torch.save(weights, tmp_path / 'bad.pth')
    (tmp_path / 'metafile.yml').write_text(
        json.dumps({'Models': [{'Name': 'd', 'Config': 'detector.py', 'Results': []}]})
    )
    write_config(tmp_path / 'detector.py', DETECTOR, tiny.data)
    return tmp_path


@pytest.mark.parametrize('by', ['file', 'address'])
@pytest.mark.parametrize('case', TAKES_A_CHECKPOINT)
def test_a_harmful_checkpoint_is_one_sentence(case, by, place, tiny, capsys):
    tool, args = TAKES_A_CHECKPOINT[case]
    with served(place) as address:
        file = f'{address}/bad.pth' if by == 'address' else str(place / 'bad.pth')
        init = f"model['backbone']['init_cfg'] = dict(type='Pretrained', checkpoint='{file}')\n"
        for name, config in (('pretrained', tiny.detector), ('plain', tiny.plain)):
            text = config.read_text()
            if name == 'plain':
                text = text.replace(text[text.index('custom_hooks') :], 'custom_hooks = []\n')
            (place / f'{name}.py').write_text(text + init)
        words = {
            'PRETRAINED': place / 'pretrained.py',
            'PLAINCONFIG': tiny.plain,
            'PLAIN': place / 'plain.py',
            'CONFIG': place / 'detector.py',
            'PICTURE': tiny.data / 'images' / '0.png',
            'FILE': file,
            'WORK': place / 'work',
        }
        for word, value in words.items():
            args = [arg.replace(word, str(value)) for arg in args]
        with pytest.raises(SystemExit) as end:
            call_tool(tool, *args)
    assert end.value.code == 1
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith('error: ')]
    assert len(error) == 1
    assert 'could run code' in error[0]
    assert not (place / 'harm').exists()


def test_a_config_in_a_checkpoint_is_not_run(tmp_path):
    """mmengine runs `meta['config']` of a checkpoint that it resumes from."""
    torch.save({'state_dict': {}, 'meta': {'config': 'import os', 'epoch': 1}}, tmp_path / 'a.pth')
    found = load_from_safe_reader(str(tmp_path / 'a.pth'))
    assert found['meta'] == {'epoch': 1}
    torch.save([1], tmp_path / 'list.pth')
    with pytest.raises(CheckpointError, match='holds a list, but must hold a dictionary'):
        load_from_safe_reader(str(tmp_path / 'list.pth'))


def test_pickles_of_annotations_are_not_run(tmp_path):
    use_safe_reading()
    path = tmp_path / 'infos.pkl'
    path.write_bytes(pickle.dumps({'data_list': [{'a': 1}], 'metainfo': {}}))
    assert load(path) == {'data_list': [{'a': 1}], 'metainfo': {}}
    path.write_bytes(pickle.dumps({'data_list': [Harm(tmp_path / 'harm')]}))
    with pytest.raises(DataError, match='holds a posix.mkdir, which is not loaded because'):
        load(path)
    assert not (tmp_path / 'harm').exists()
