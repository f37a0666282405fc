"""What comes from outside is read without running it: files, addresses, pickles."""

from __future__ import annotations

import argparse
import collections
import functools
import pathlib
import pickle
import struct

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict

from sparsevit_mm.checkpoints.files import read_checkpoint
from sparsevit_mm.checkpoints.reading import read_content, read_pickle
from sparsevit_mm.errors import CheckpointError
from tests.helpers.harm import Harm, served

WEIGHTS = {'state_dict': {'a.weight': torch.arange(3.0)}}

HARMLESS = {
    'args': argparse.Namespace(lr=0.1, layers=[1, 2]),
    'out': pathlib.Path('runs', 'a'),
    'theirs': pathlib.PureWindowsPath('C:/runs'),
    'found': collections.defaultdict(list, {'a': [1]}),
    'ordered': collections.OrderedDict(a=1),
    'counted': collections.Counter('aab'),
    'config': ConfigDict(a=dict(b=1)),
    'best': np.float64(0.5),
    'epoch': np.int64(3),
    'seen': np.bool_(True),
    'names': np.array(['a', 'b']),
    'few': frozenset({1}),
    'type': float,
}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache of torch."""
    monkeypatch.setattr('torch.hub._hub_dir', str(tmp_path / 'cache'))


@pytest.mark.parametrize('name', HARMLESS)
@pytest.mark.parametrize('protocol', [2, 4])
def test_what_is_harmless_is_read(name, protocol, tmp_path):
    path, value = tmp_path / 'a.pth', HARMLESS[name]
    torch.save({**WEIGHTS, 'meta': {name: value}}, path)
    found = read_checkpoint(path)[1][name]
    assert found == value if name != 'names' else (found == value).all()
    again = read_pickle(pickle.dumps(value, protocol))
    assert again == value if name != 'names' else (again == value).all()


def test_a_class_that_is_not_loaded_is_named_with_the_way_out(tmp_path):
    torch.save({**WEIGHTS, 'made_by': functools.partial(print, 'never')}, tmp_path / 'a.pth')
    words = r"functools\.partial, which is not loaded .* torch\.save\(\{'state_dict'"
    with pytest.raises(CheckpointError, match=words) as error:
        read_content(tmp_path / 'a.pth')
    assert '\n' not in str(error.value)
    assert 'weights_only' not in str(error.value)


@pytest.mark.usefixtures('cache')
def test_an_address_is_read_as_safely_as_a_file(tmp_path):
    torch.save({**WEIGHTS, 'harm': Harm(tmp_path / 'harm')}, tmp_path / 'bad.pth')
    torch.save(WEIGHTS, tmp_path / 'good.pth')
    with served(tmp_path) as address:
        for _ in range(2):  # fetched, then from the cache
            with pytest.raises(CheckpointError, match='could run code'):
                read_content(f'{address}/bad.pth')
        found = read_content(f'{address}/good.pth')
        with pytest.raises(CheckpointError, match=r'gone\.pth cannot be read: File not found'):
            read_content(f'{address}/gone.pth')
    assert torch.equal(found['state_dict']['a.weight'], torch.arange(3.0))
    assert read_content(f'{address}/good.pth').keys() == {'state_dict'}
    with pytest.raises(CheckpointError, match='cannot be read: .*refused'):
        read_content(f'{address}/other.pth')
    assert not (tmp_path / 'harm').exists()


@pytest.mark.usefixtures('cache')
def test_files_of_one_name_from_two_addresses_are_two(tmp_path):
    for place, value in (('a', 1.0), ('b', 2.0)):
        (tmp_path / place).mkdir()
        torch.save({'w': torch.tensor(value)}, tmp_path / place / 'best.pth')
    with served(tmp_path) as address:
        found = [read_content(f'{address}/{place}/best.pth')['w'].item() for place in 'aba']
    assert found == [1.0, 2.0, 1.0]


def test_names_of_lists_of_models():
    for scheme in ('openmmlab', 'open-mmlab', 'mmcls'):
        with pytest.raises(CheckpointError, match=f'is in no list of {scheme}:// models'):
            read_content(f'{scheme}://resnet51')
    with pytest.raises(CheckpointError, match='begins with pavi://, but must be a file, or begin'):
        read_content('pavi://a/b')


@pytest.mark.parametrize(
    'content',
    [
        b'',
        b'e',
        b'a text file\nof two lines\n',
        b'PK\x03\x04',
        b'\x80\x02}q\x00',
        b'\x80\x02X' + struct.pack('<I', 2**31) + b'a',
        b'\x89HDF\r\n\x1a\n' + bytes(100),
    ],
)
def test_a_file_that_is_no_checkpoint_is_one_sentence(content, tmp_path):
    (tmp_path / 'a.pth').write_bytes(content)
    with pytest.raises(CheckpointError, match=r'a\.pth') as error:
        read_content(tmp_path / 'a.pth')
    assert '\n' not in str(error.value)


def test_a_folder_is_no_checkpoint(tmp_path):
    with pytest.raises(CheckpointError, match='cannot be read: Is a directory'):
        read_content(tmp_path)
