"""The configs that the page about watching a training shows are configs, with types that exist."""

from __future__ import annotations

import re

import pytest
from mmengine.registry import VISBACKENDS

from sparsevit_mm.apis.configs import load_config, register_framework
from sparsevit_mm.registry import HOOKS
from tests.helpers.pages import ROOT
from tests.helpers.tiny_data import DETECTOR, write_config

PAGE = (ROOT / 'docs' / 'watch_training.md').read_text()
BLOCKS = re.findall(r'```python\n(.*?)```', PAGE, re.S)


@pytest.mark.parametrize('block', BLOCKS)
def test_a_block_is_a_config(block, tmp_path):
    write_config(tmp_path / 'my_config.py', DETECTOR, tmp_path / 'data')
    if '_base_' not in block:
        block = f"_base_ = 'my_config.py'\n{block}"
    (tmp_path / 'watched.py').write_text(block)
    cfg = load_config(str(tmp_path / 'watched.py'))
    register_framework(cfg)
    backends = [backend.type for backend in cfg.get('visualizer', {}).get('vis_backends', [])]
    assert all(VISBACKENDS.get(name) is not None for name in backends)
    assert ('WandbVisBackend' in block) == ('WandbVisBackend' in backends)
    for hook in cfg.get('custom_hooks', ()):
        HOOKS.build(hook)


def test_named_back_ends_exist():
    named = set(re.findall(r'\w+VisBackend', PAGE))
    assert {'TensorboardVisBackend', 'WandbVisBackend', 'MLflowVisBackend'} <= named
    assert all(VISBACKENDS.get(name) is not None for name in named)
