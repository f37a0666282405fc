"""A broken image ends a run of the tools in a sentence that names it."""

from __future__ import annotations

import shutil

import pytest
import torch

from sparsevit_mm.apis.configs import load_config, register_framework
from sparsevit_mm.checks.configs import build_model
from tests.tools.conftest import call_tool, run_tool


@pytest.fixture
def broken(tiny, tmp_path):
    """Configs whose image 1.png is cut off."""
    shutil.copytree(tiny.data, tmp_path / 'data')
    image = tmp_path / 'data' / 'images' / '1.png'
    image.write_bytes(image.read_bytes()[:-200])
    configs = []
    for name in ('detector', 'segmentor'):
        text = getattr(tiny, name).read_text().replace(str(tiny.data), str(tmp_path / 'data'))
        configs.append(tmp_path / f'{name}.py')
        configs[-1].write_text(text)
    return image, *configs


def sentence(image):
    return f'error: the image {image} cannot be read: its end is missing.'


def test_training(broken, tmp_path, capsys):
    image, detector, segmentor = broken
    for config in (detector, segmentor):
        with pytest.raises(SystemExit) as end:
            call_tool('train', config, '--work-dir', tmp_path / 'work')
        assert end.value.code == 1
        assert capsys.readouterr().err.strip().splitlines()[-1] == sentence(image)


def test_evaluation_with_a_worker(broken, tmp_path):
    """From a worker's process the sentence comes without the worker's traceback."""
    image, detector, _ = broken
    cfg = load_config(str(detector))
    register_framework(cfg)
    torch.save({'state_dict': build_model(cfg).state_dict()}, tmp_path / 'weights.pth')
    run = run_tool(
        'test', detector, tmp_path / 'weights.pth', '--work-dir', tmp_path / 'work',
        '--cfg-options', 'test_dataloader.num_workers=1',
    )  # fmt: skip
    assert run.code == 1
    assert run.stderr.strip().splitlines()[-1] == sentence(image)
    assert 'Traceback' not in run.stderr


def test_drawing(broken, tmp_path, capsys):
    image, detector, _ = broken
    with pytest.raises(SystemExit):
        call_tool('browse_dataset', detector, '--out-dir', tmp_path / 'drawn')
    assert capsys.readouterr().err.strip().splitlines()[-1] == sentence(image)
