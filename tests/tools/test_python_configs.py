"""Every tool takes configs in pure Python and the configs that the frameworks installed."""

from __future__ import annotations

import re

import pytest
import torch
from mmengine.config import Config

from sparsevit_mm.apis.configs import load_config
from tests.helpers.tiny_data import DETECTOR, PLAIN_DETECTOR
from tests.tools.conftest import call_tool

INSTALLED = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'
IMPORTS = {
    'mmdet.models': (
        'RetinaNet', 'DetDataPreprocessor', 'FPN', 'RetinaHead', 'FocalLoss', 'SwinTransformer',
    ),
    'mmdet.models.task_modules': ('AnchorGenerator', 'MaxIoUAssigner'),
    'mmdet.datasets': ('CocoDataset',),
    'mmdet.datasets.transforms': ('LoadAnnotations', 'Resize', 'PackDetInputs'),
    'mmcv.transforms': ('LoadImageFromFile',),
    'mmdet.evaluation': ('CocoMetric',),
    'mmdet.engine.hooks': ('DetVisualizationHook',),
    'mmdet.visualization': ('DetLocalVisualizer',),
    'mmengine.dataset': ('DefaultSampler',),
    'mmengine.hooks': ('LoggerHook',),
    'mmengine.optim': ('OptimWrapper', 'LinearLR'),
    'mmengine.visualization': ('LocalVisBackend',),
    'torch.optim': ('AdamW',),
    'sparsevit_mm': ('SparseViT', 'WindowPruningHook', 'SparsityAdaptationHook'),
}  # fmt: skip


def in_pure_python(text, data):
    """A config with classes as types, and without the scope that finds classes by their names."""
    text = text.replace('DATA', str(data)).replace("default_scope = 'mmdet'", '')
    text = text.replace('sparsevit_mm.', '')
    for module, names in IMPORTS.items():
        used = [name for name in names if f"type='{name}'" in text]
        for name in used:
            text = text.replace(f"type='{name}'", f'type={name}')
        if used:
            text = f'from {module} import {", ".join(used)}\n{text}'
    return text


@pytest.fixture
def config(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'bases').mkdir()
    (tmp_path / 'bases' / 'detector.py').write_text(in_pure_python(DETECTOR, tiny.data))
    (tmp_path / 'bases' / 'plain.py').write_text(in_pure_python(PLAIN_DETECTOR, tiny.data))
    child = tmp_path / 'child.py'
    child.write_text(
        'from mmengine.config import read_base\n'
        'with read_base():\n    from .bases.detector import *\n'
        'train_cfg.update(dict(max_epochs=1, val_interval=1))\n'
        'for loader in (train_dataloader, val_dataloader):\n'
        '    loader.dataset.indices = [0, 1]\n'
        'test_dataloader = val_dataloader\n'
        'del loader\n'
    )
    return child


def test_tools_on_a_config_in_pure_python(config, tiny, tmp_path, capsys):
    image = tiny.data / 'images' / '0.png'
    call_tool('print_config', config, '--out', 'whole.py')
    assert "type='mmdet.models.RetinaNet'" in capsys.readouterr().out
    assert Config.fromfile('whole.py').model.type == 'mmdet.models.RetinaNet'
    call_tool('get_flops', config, '--shape', 64, 96, '--ratios', '0.5')
    call_tool('throughput', config, '--shape', 64, 96, '--device', 'cpu')
    call_tool('browse_dataset', config, '--num', 1)
    call_tool('train', config, '--work-dir', 'work')
    weights = 'work/epoch_1.pth'
    call_tool('test', config, weights, '--ratios', '0.5', '--work-dir', 'work')
    assert 'coco/bbox_mAP' in capsys.readouterr().out
    call_tool('image_demo', image, config, weights, '--out-dir', 'out')
    call_tool(
        'search', config, weights, '--metric', 'coco/bbox_mAP', '--share', '0.9',
        '--macs', '0.9x', '--work-dir', 'search',
        '--evaluations', 3, '--population', 2, '--parents', 1,
    )  # fmt: skip
    assert list((tmp_path / 'search').rglob('*.json'))
    call_tool(
        'rank_windows', config, weights, '--ratios', '0.5', '--importances', 'l2',
        '--num-images', 2, '--out', 'ranked.json',
    )  # fmt: skip
    assert (tmp_path / 'ranked.json').exists()


def test_a_config_in_pure_python_and_an_installed_one_are_exported(config, tmp_path, export):
    call_tool('export_onnx', config, '--shape', 64, 96, '--out', 'detector.pt2')
    options = ['--shape', 64, 64, '--cfg-options', 'model.backbone.init_cfg=None']
    call_tool('export_onnx', INSTALLED, '--out', 'network.pt2', *options)
    assert (tmp_path / 'detector.pt2').exists() and (tmp_path / 'network.pt2').exists()


@pytest.mark.parametrize('name', ['plain', 'detector'])
def test_a_swapped_config_is_in_the_style_of_the_original(name, config, tmp_path):
    original = tmp_path / 'bases' / f'{name}.py'
    for out in ('new.py', 'bases/new.py', 'bases/inner/new.py'):
        call_tool('swap_backbone', original, '--backbone', 'fastervit-0', '--out', out)
        text = (tmp_path / out).read_text()
        assert re.search(rf'with read_base\(\):\n    from \.\S*{name} import \*', text)
        assert '_base_ =' not in text
        cfg = load_config(out)
        assert cfg.default_scope == 'mmdet'
        assert cfg.model.backbone == dict(
            type='sparsevit_mm.FasterViT', arch='0', out_indices=(0, 1),
            out_norm_cfg=dict(type='LN'), norm_eval=True,
            init_cfg=cfg.model.backbone.init_cfg,
        )  # fmt: skip
        assert cfg.model.neck.in_channels == [64, 128]
        assert cfg.optim_wrapper.optimizer == dict(
            type='torch.optim.AdamW', lr=1e-3, weight_decay=0.01
        )
        call_tool('get_flops', out, '--shape', 64, 96)


def test_a_name_that_python_cannot_import(config, tmp_path, capsys):
    original = tmp_path / 'a-b.py'
    original.write_text(config.read_text())
    with pytest.raises(SystemExit):
        call_tool('swap_backbone', original, '--backbone', 'sparsevit-tiny', '--out', 'new.py')
    assert (
        'config is a-b.py, which a config in pure Python cannot import' in capsys.readouterr().err
    )
    assert not (tmp_path / 'new.py').exists()


def test_sparsify_takes_a_config_in_pure_python(config, tmp_path):
    from sparsevit_mm.checks.configs import build_model

    original = tmp_path / 'bases' / 'plain.py'
    cfg = load_config(str(original))
    torch.save({'state_dict': build_model(cfg).state_dict()}, 'plain.pth')
    call_tool(
        'sparsify', original, 'plain.pth', '--ratios', 0.5, '--out-dir', 'out', '--shape', 64, 96,
        '--pictures', 1,
    )  # fmt: skip
    assert load_config('out/plain_sparse.py').model.backbone.type == 'sparsevit_mm.SparseViT'


def test_tools_take_installed_configs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    call_tool('print_config', INSTALLED)
    assert "type='RetinaNet'" in capsys.readouterr().out
    call_tool('get_flops', INSTALLED, '--shape', 64, 64)
    options = ['--shape', 64, 64, '--cfg-options', 'model.backbone.init_cfg=None']
    call_tool('throughput', INSTALLED, '--device', 'cpu', '--runs', 1, *options)
    for tool in (['train', INSTALLED], ['browse_dataset', INSTALLED]):
        with pytest.raises(SystemExit):
            call_tool(*tool)
        assert 'train_dataloader.dataset.data_root is missing' in capsys.readouterr().err
    assert load_config(INSTALLED).work_dir == 'work_dirs/retinanet_r50_fpn_1x_coco'


def test_a_class_that_there_is_not(config, capsys):
    config.write_text(
        config.read_text()
        + 'from mmdet.models import NoSuchHead\nmodel.bbox_head.update(dict(type=NoSuchHead))\n'
    )
    with pytest.raises(SystemExit):
        call_tool('get_flops', config, '--shape', 64, 64)
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last == (
        "error: model.bbox_head.type is 'mmdet.models.NoSuchHead', but there is no such class."
    )
