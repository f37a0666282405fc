"""Files that are whole or not there, also when the disk is full or the process is stopped."""

from __future__ import annotations

import contextlib
import os
import resource
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from sparsevit_mm.checkpoints.files import write_checkpoint
from sparsevit_mm.errors import CheckpointError, ConfigError
from sparsevit_mm.files import (
    append_text,
    locked,
    read_json,
    replace_bytes,
    replace_text,
    written_whole,
)
from sparsevit_mm.visualization.images import write_image


@contextlib.contextmanager
def full_disk():
    """No file may grow beyond 1000 bytes inside; the log of the tests may, which can be a file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_file_is_replaced_and_its_folder_made(tmp_path):
    path = tmp_path / 'new' / 'a.txt'
    replace_text(path, 'größer')
    assert path.read_bytes() == 'größer'.encode()
    replace_bytes(path, b'\x00\r\n')
    assert path.read_bytes() == b'\x00\r\n'
    assert list(path.parent.iterdir()) == [path]


def test_a_new_file_has_the_permissions_of_any_other(tmp_path):
    replace_text(tmp_path / 'a', '')
    (tmp_path / 'b').write_text('')
    assert (tmp_path / 'a').stat().st_mode == (tmp_path / 'b').stat().st_mode


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / 'a.txt'
    replace_text(path, 'old')
    too_large = r'^the file .*a\.txt cannot be written: File too large'
    with full_disk(), pytest.raises(ConfigError, match=too_large):
        replace_text(path, 'x' * 2000)
    too_large = r'a\.pth cannot be written: File too large\.$'
    with full_disk(), pytest.raises(CheckpointError, match=too_large):
        write_checkpoint({'state_dict': {'x': b'0' * 2000}}, tmp_path / 'a.pth')
    assert path.read_text() == 'old'
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_while_appending_is_one_sentence(tmp_path):
    with full_disk(), pytest.raises(ConfigError, match='cannot be written: File too large'):
        append_text(tmp_path / 'a.txt', 'x' * 2000)


@pytest.mark.parametrize('failure', [OSError(5, 'Input/output error'), KeyboardInterrupt()])
def test_nothing_is_left_of_what_was_interrupted(tmp_path, monkeypatch, failure):
    def fail(descriptor):
        raise failure

    monkeypatch.setattr('os.fsync', fail)
    expected = ConfigError if isinstance(failure, OSError) else KeyboardInterrupt
    with pytest.raises(expected):
        replace_text(tmp_path / 'a.txt', 'new')
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / 'a').write_text('')
    with pytest.raises(ConfigError, match='cannot be written: File exists'):
        replace_text(Path(tmp_path, 'a', 'b.txt'), '')


def test_what_a_library_writes_appears_when_it_is_whole(tmp_path):
    path = tmp_path / 'new' / 'net.onnx'
    with written_whole(path) as file:
        file.write_text('net')
        file.with_name('net.onnx.data').write_text('weights')
        assert not path.exists()
    assert sorted(p.name for p in path.parent.iterdir()) == ['net.onnx', 'net.onnx.data']
    with pytest.raises(RuntimeError), written_whole(path) as file:
        file.write_text('half')
        raise RuntimeError
    assert path.read_text() == 'net'
    assert len(list(path.parent.iterdir())) == 2


def test_a_full_disk_is_one_sentence_for_what_a_library_writes(tmp_path):
    path = tmp_path / 'a.png'
    path.write_text('old')
    noise = np.random.default_rng(0).integers(0, 255, (60, 60, 3), np.uint8)
    too_large = r'a\.png cannot be written: File too large'
    with full_disk(), pytest.raises(ConfigError, match=too_large):
        write_image(path, noise)
    assert path.read_text() == 'old'
    assert list(tmp_path.iterdir()) == [path]


def test_an_image_of_no_format_is_one_sentence(tmp_path):
    with pytest.raises(ConfigError, match='unknown file extension'):
        write_image(tmp_path / 'a.thesis', np.zeros((2, 2, 3), np.uint8))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        (None, 'No such file'),
        (b'{', 'it is not valid JSON: Expecting'),
        (b'\xff', 'it is not valid JSON: '),
        (b'[' * 10**5, 'it is nested too deeply'),
        (b'9' * 10**4, 'it is not valid JSON: Exceeds the limit'),
    ],
)
def test_json_that_cannot_be_read(tmp_path, content, words):
    if content is not None:
        (tmp_path / 'a.json').write_bytes(content)
    with pytest.raises(ConfigError, match=rf'^the file .*a\.json cannot be read: {words}') as error:
        read_json(tmp_path / 'a.json', 'the file')
    assert '\n' not in str(error.value)


def test_one_process_at_a_time(tmp_path):
    path = tmp_path / 'work' / 'search.lock'

    with locked(path), ProcessPoolExecutor(1, get_context('fork')) as pool:
        words = f'work is in use by the process {os.getpid()}: wait until'
        with pytest.raises(ConfigError, match=words):
            pool.submit(_lock, path).result()
    _lock(path)
    path.write_text('12345\n')  # left by a process that was killed
    _lock(path)
    assert list(path.parent.iterdir()) == []


def _lock(path):
    with locked(path):
        pass
