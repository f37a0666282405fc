"""The tool measures classifiers and backbones, and refuses what is wrong."""

from __future__ import annotations

import re

import pytest

from tests.tools.conftest import call_tool

CONFIG = (
    "default_scope = 'mmengine'\n"
    "model = dict(type='sparsevit_mm.ImageClassifier', in_channels=64, num_classes=2,\n"
    "    backbone=dict(type='sparsevit_mm.FasterViT', dim=8, in_dim=8))\n"
)


@pytest.mark.parametrize('flags', [(), ('--training-form', '--dtype', 'bfloat16', '--batch', '2')])
def test_prints_a_rate(tmp_path, capsys, flags):
    (tmp_path / 'config.py').write_text(CONFIG)
    call_tool(
        'throughput', str(tmp_path / 'config.py'), '--shape', '64', '96', '--runs', '2', *flags
    )
    assert re.search(r'^[\d.]+ images/s, a batch of [12]: ', capsys.readouterr().out, re.M)


@pytest.mark.parametrize(
    'flags, message', [(('--dtype', 'int8'), 'dtype is'), (('--batch', '0'), 'the input is 0 x')]
)
def test_refuses(tmp_path, capsys, flags, message):
    (tmp_path / 'config.py').write_text(CONFIG)
    with pytest.raises(SystemExit) as end:
        call_tool('throughput', str(tmp_path / 'config.py'), *flags)
    assert end.value.code == 1
    assert message in capsys.readouterr().err
