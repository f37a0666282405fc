"""The set-up's decisions, with a fake pip: no network, no environment is made."""

from __future__ import annotations

import importlib.util
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def set_up(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location('set_up', ROOT / 'tools' / 'set_up.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, path in {
        'VENV': '.venv',
        'PYTHON': '.venv/bin/python',
        'STAMP': '.venv/set_up.stamp',
        'LOG': '.venv/set_up.log',
    }.items():
        monkeypatch.setattr(module, name, tmp_path / path)
    monkeypatch.setattr(module, 'ROOT', tmp_path)
    monkeypatch.setattr(module, 'fingerprint', lambda: 'now')
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    return module


def fake_python(path, script):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\n{script}\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def test_finished_set_up_does_nothing(set_up, capsys):
    fake_python(set_up.PYTHON, 'exit 1')
    set_up.STAMP.write_text('now')
    assert set_up.main() == 0
    assert capsys.readouterr().out == ''


def test_everything_installed_leaves_a_stamp(set_up, capsys):
    fake_python(set_up.PYTHON, 'exit 0')
    assert set_up.main() == 0
    assert set_up.STAMP.read_text() == 'now'
    log = set_up.LOG.read_text()
    assert 'mmdet==3.3.0' in log
    assert '--editable' in log


def test_failing_index_is_a_sentence_and_leaves_no_stamp(set_up, capsys):
    fake_python(
        set_up.PYTHON,
        'case "$*" in *--version*|*"import torch"*) exit 0;; esac; echo no route to index; exit 1',
    )
    assert set_up.main() == 1
    assert not set_up.STAMP.exists()
    error = capsys.readouterr().err
    assert 'pip install failed' in error
    assert 'no route to index' in error


@pytest.mark.parametrize('name', ['STAMP', 'LOG'])
def test_a_file_that_cannot_be_written_is_a_sentence(set_up, name, capsys):
    path = getattr(set_up, name)
    # The stamp is read before anything is installed, and /dev/full can be read without end.
    fake_python(set_up.PYTHON, f'ln -sf /dev/full {set_up.STAMP}; exit 0')
    if name == 'LOG':
        path.symlink_to('/dev/full')
    assert set_up.main() == 1
    sentence = f'a file in {set_up.VENV} cannot be written: No space left on device.'
    assert capsys.readouterr().err == f'Set-up stopped: {sentence}\n'


def test_missing_compiler_is_a_sentence(set_up, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(set_up.shutil, 'which', lambda name: None)
    with pytest.raises(set_up.SetUpError, match='no C\\+\\+ compiler'):
        set_up.build_mmcv(tmp_path)


def test_build_shows_progress_and_caches_the_wheel(set_up, monkeypatch, capsys, tmp_path):
    wheel_dir = set_up.VENV / 'mmcv_build'
    fake_python(
        set_up.PYTHON,
        f'mkdir -p {wheel_dir}; for i in 1 10 20; do echo "[$i/20] c++ file.cpp"; done; '
        f'echo wheel > {wheel_dir}/mmcv-2.1.0-cp311-cp311-linux_x86_64.whl',
    )
    monkeypatch.setattr(set_up, 'strip_wheel', lambda wheel, scratch: wheel)
    cache = tmp_path / 'wheels'
    cache.mkdir()
    set_up.build_mmcv(cache)
    assert '20/20 files' in capsys.readouterr().out
    assert [path.name for path in cache.iterdir()] == ['mmcv-2.1.0-cp311-cp311-linux_x86_64.whl']


def test_failed_build_says_why_and_caches_nothing(set_up, capsys, tmp_path):
    fake_python(set_up.PYTHON, 'echo "fatal error: Python.h: No such file"; exit 1')
    cache = tmp_path / 'wheels'
    cache.mkdir()
    with pytest.raises(set_up.SetUpError, match=r'Python\.h'):
        set_up.build_mmcv(cache)
    assert list(cache.iterdir()) == []


def test_unwritable_folder_is_a_sentence(set_up, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'executable', '/bin/false')
    assert set_up.main() == 1
    assert 'cannot make a virtual environment' in capsys.readouterr().err


def test_make_without_a_suitable_python_is_a_sentence(tmp_path):
    result = subprocess.run(
        ['make', '-s', '-C', str(ROOT), 'setup'],
        capture_output=True,
        text=True,
        env={'PATH': make_only_path(tmp_path)},
    )
    assert result.returncode != 0
    assert 'No Python 3.10, 3.11 or 3.12 was found' in result.stderr


def make_only_path(folder):
    for tool in ('make', 'sh'):
        source = subprocess.run(['which', tool], capture_output=True, text=True).stdout.strip()
        (folder / tool).symlink_to(source)
    return str(folder)


@pytest.mark.parametrize('terminal', [True, False])
def test_a_long_step_shows_a_terminal_that_it_lives(set_up, terminal, monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, 'isatty', lambda: terminal)
    ticked = threading.Event()
    clock = set_up.clock
    monkeypatch.setattr(set_up, 'clock', lambda seconds: ticked.set() or clock(seconds))
    with set_up.step('torch'):
        assert ticked.wait(30 if terminal else 0) == terminal
    out = capsys.readouterr().out
    assert (out.count('\r') > 1) == terminal
    assert out.endswith('\n')
    assert out.count('\n') == 1


def test_a_step_that_fails_says_so(set_up, capsys):
    with pytest.raises(set_up.SetUpError), set_up.step('torch'):
        raise set_up.SetUpError('no index.')
    assert capsys.readouterr().out == '  torch … stopped\n'


def test_help_installs_nothing(set_up, capsys):
    with pytest.raises(SystemExit) as end:
        set_up.main(['--help'])
    assert end.value.code == 0
    assert 'Makes `.venv`' in capsys.readouterr().out
    assert not set_up.VENV.exists()
