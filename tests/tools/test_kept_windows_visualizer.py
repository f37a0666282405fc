"""Validation during training and testing leave pictures of the kept windows."""

from __future__ import annotations

import pytest
from PIL import Image

from sparsevit_mm.engine.hooks import KeptWindowsVisualizer
from sparsevit_mm.errors import ConfigError
from tests.tools.conftest import run_tool


def test_pictures_of_validation_and_test(tiny, tmp_path):
    config = tmp_path / 'drawn.py'
    config.write_text(
        f"_base_ = '{tiny.detector}'\n"
        'custom_hooks = [\n'
        "    dict(type='sparsevit_mm.WindowPruningHook', log_kept=True),\n"
        "    dict(type='sparsevit_mm.KeptWindowsVisualizer', images=2)]\n"
    )
    work_dir = tmp_path / 'work'
    done = run_tool('train', config, '--work-dir', work_dir)
    assert done.code == 0, done.stderr
    drawn = sorted(work_dir.glob('*/vis_data/vis_image/val_kept_windows_*.png'))
    assert {path.name.split('_')[3] for path in drawn} == {'0', '1'}
    assert Image.open(drawn[0]).size[0] > 400
    # The other hook's counts go on while pictures are drawn.
    scalars = next(work_dir.glob('*/vis_data/scalars.json')).read_text()
    assert 'kept_windows/stage0' in scalars


def test_wrong_number():
    with pytest.raises(ConfigError, match='images is 0'):
        KeptWindowsVisualizer(images=0)
