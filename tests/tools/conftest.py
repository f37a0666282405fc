"""One tiny data set and one trained detector for all tests of the tools."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.helpers.tiny_data import (
    DETECTOR,
    PLAIN_DETECTOR,
    SEGMENTOR,
    write_config,
    write_tiny_data,
)

ROOT = Path(__file__).parents[2]


def start_tool(name, *args, **kwargs):
    """Starts a tool as its own process, on one thread so that runs are the same."""
    environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT)}
    return subprocess.Popen(
        [sys.executable, str(ROOT / 'tools' / f'{name}.py'), *map(str, args)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **kwargs,
    )


def run_tool(name, *args, **kwargs):
    """Runs a tool to its end."""
    process = start_tool(name, *args, **kwargs)
    try:
        stdout, stderr = process.communicate(timeout=300)
    finally:
        process.kill()  # does nothing once the tool has ended
    return SimpleNamespace(code=process.returncode, stdout=stdout, stderr=stderr)


def load_tool(name):
    """A tool as a module, to call its `main` in this process."""
    spec = importlib.util.spec_from_file_location(f'tool_{name}', ROOT / 'tools' / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / 'tools')  # as for a script
        spec.loader.exec_module(module)
    return module


def call_tool(name, *args):
    """Calls a tool's `main` in this process."""
    load_tool(name).main([str(arg) for arg in args])


def files_below(folder):
    """Every file and folder below a folder."""
    return sorted(str(path.relative_to(folder)) for path in Path(folder).rglob('*'))


@pytest.fixture(scope='session')
def tiny(tmp_path_factory):
    """A folder with the tiny data set and configs for it."""
    folder = tmp_path_factory.mktemp('tiny')
    data = write_tiny_data(folder / 'data')
    return SimpleNamespace(
        data=data,
        detector=write_config(folder / 'detector.py', DETECTOR, data),
        plain=write_config(folder / 'plain.py', PLAIN_DETECTOR, data),
        segmentor=write_config(folder / 'segmentor.py', SEGMENTOR, data),
    )


@pytest.fixture(scope='session')
def trained(tiny, tmp_path_factory):
    """A work dir in which tools/train.py has trained the tiny detector without interruption."""
    work_dir = tmp_path_factory.mktemp('trained')
    run = run_tool('train', tiny.detector, '--work-dir', work_dir)
    assert run.stdout.splitlines()[-1:] == [f'checkpoints and logs: {work_dir}'], run.stderr
    assert run.code == 0, run.stderr
    return work_dir
