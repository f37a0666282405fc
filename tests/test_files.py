"""Files that are whole or not there, also when the disk is full or the process is stopped."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from sparsevit_mm.checkpoints.files import write_checkpoint
from sparsevit_mm.errors import CheckpointError, ConfigError
from sparsevit_mm.files import append_text, replace_bytes, replace_text


@pytest.fixture
def full_disk():
    """No file may grow beyond 1000 bytes: writing more fails as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    yield
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


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, full_disk):
    path = tmp_path / 'a.txt'
    replace_text(path, 'old')
    with pytest.raises(ConfigError, match=r'^the file .*a\.txt cannot be written: File too large'):
        replace_text(path, 'x' * 2000)
    with pytest.raises(CheckpointError, match=r'a\.pth cannot be written: File too large\.$'):
        write_checkpoint({'state_dict': {'x': b'0' * 2000}}, tmp_path / 'a.pth')
    assert path.read_text() == 'old'
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_while_appending_is_one_sentence(tmp_path, full_disk):
    with pytest.raises(ConfigError, match='cannot be written: File too large'):
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
