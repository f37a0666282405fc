"""SparseViT's configs: who starts from whom, what decays, which sizes are tested."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from PIL import Image

from sparsevit_mm.apis.configs import load_config, register_framework
from sparsevit_mm.checks.configs import build_model
from tests.helpers.small_configs import load_for_step

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / 'configs' / 'sparsevit'
# The KITTI config of a minute is no step of a recipe: it trains from scratch.
PATHS = {
    path.stem: path
    for path in sorted(FOLDER.glob('*/*.py'))
    if path.parent.name != '_base_' and '_200it_' not in path.stem
}
BASES = {
    name: re.search(r"^_base_ = \[?'(.*?)'", path.read_text(), re.M)[1]
    for name, path in PATHS.items()
}
# One dense and one sparse config of every base: what decays is written in the base.
ONE_OF_EACH = {(base, 'sparsevit' in name): name for name, base in reversed(BASES.items())}.values()
UNDECAYED = re.compile(r'(^|\.)norm\d*\.|relative_position_bias_table|absolute_pos_embed')


@functools.cache
def config_of(name):
    return Config.fromfile(PATHS[name])


@pytest.mark.parametrize('name', ONE_OF_EACH)
def test_norms_and_position_tables_do_not_decay(name):
    cfg = load_for_step(PATHS[name])
    cfg.optim_wrapper.type = 'OptimWrapper'
    # The frameworks' own Swin reads numbers while it is built, which takes memory.
    with torch.device('meta' if 'sparsevit' in name else 'cpu'):
        model = build_model(cfg)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    assert type(optimizer).__name__ == 'AdamW'
    decay = {
        id(p): group['weight_decay'] for group in optimizer.param_groups for p in group['params']
    }
    backbone = dict(model.backbone.named_parameters())
    assert sum(bool(UNDECAYED.search(key)) for key in backbone) > 20
    for key, parameter in backbone.items():
        assert (decay[id(parameter)] == 0) == bool(UNDECAYED.search(key)), key


@pytest.mark.parametrize('name', PATHS)
def test_starts_from_the_last_checkpoint_of_a_shipped_config(name):
    cfg = config_of(name)
    start = cfg.load_from
    if 'sparsevit' not in name:
        assert start is None or name.startswith('mask-rcnn_swin-t-width')
        return
    if start.startswith('https://'):
        assert 'adaptation' in name
        return
    _, earlier, file = start.split('/')
    train_cfg = config_of(earlier).train_cfg
    unit, count = ('epoch', 'max_epochs') if 'max_epochs' in train_cfg else ('iter', 'max_iters')
    assert file == f'{unit}_{train_cfg[count]}.pth'
    assert ('finetune' in name) == ('adaptation' in earlier)


@pytest.mark.parametrize('name', [name for name in PATHS if 'sparsevit' in name])
def test_differs_from_its_dense_network_in_the_backbone_alone(name):
    cfg = config_of(name)
    size = re.search(r'sparsevit-([tsb])', name)[1]
    (dense,) = [
        other
        for other in PATHS
        if BASES[other] == BASES[name]
        and f'swin-{size}-p4' in other
        and other.rpartition('_')[2] == name.rpartition('_')[2]
    ]
    dense_model = config_of(dense).model
    if '-heads_' in name:
        ratios = cfg.model.pop('head_ratios', None)
        assert (ratios is not None and any(ratios)) == ('finetune' in name)
        assert cfg.model.type == 'sparsevit_mm.SparseHeads'
        cfg.model.type = cfg.model.pop('of')
    assert {k: v for k, v in cfg.model.items() if k != 'backbone'} == {
        k: v for k, v in dense_model.items() if k != 'backbone'
    }
    assert cfg.model.backbone.drop_path_rate == dense_model.backbone.drop_path_rate
    hooks = [hook.type for hook in cfg.get('custom_hooks', [])]
    assert hooks == ['sparsevit_mm.SparsityAdaptationHook'] * ('adaptation' in name)
    assert ('pruning_ratios' in cfg.model.backbone) == ('finetune' in name)


@pytest.mark.parametrize('name', [name for name in PATHS if config_of(name).model.get('neck')])
def test_every_output_of_the_backbone_is_read(name):
    """An output norm that nothing reads would stop distributed training."""
    model = config_of(name).model
    outputs = len(model.backbone.get('out_indices', range(4)))
    assert len(model.neck.in_channels) == outputs
    assert model.neck.get('start_level', 0) == 0


@pytest.mark.parametrize(
    'folder, size, resized',
    [
        ('ade20k', '512x512', (512, 683)),
        ('ade20k', '1024x1024', (1024, 1365)),
        ('cityscapes', '512x1024', (1024, 2048)),
    ],
)
def test_segmentors_are_tested_at_their_size_and_at_six_scales_of_it(
    folder, size, resized, tmp_path
):
    height, width = (96, 128) if folder == 'ade20k' else (1024, 2048)
    picture, labels = tmp_path / 'image.png', tmp_path / 'labels.png'
    Image.fromarray(np.zeros((height, width, 3), np.uint8)).save(picture)
    Image.fromarray(np.zeros((height, width), np.uint8)).save(labels)
    paths = list((FOLDER / folder).glob(f'*{size}.py'))
    assert paths
    for path in paths:
        cfg = load_config(str(path))
        register_framework(cfg)
        start = dict(
            img_path=str(picture), seg_map_path=str(labels), seg_fields=[], label_map=None,
            reduce_zero_label=folder == 'ade20k',
        )  # fmt: skip
        with DefaultScope.overwrite_default_scope('mmseg'):
            single = Compose(cfg.test_dataloader.dataset.pipeline)(dict(start))
            several = Compose(cfg.tta_pipeline)(dict(start))
        assert single['inputs'].shape[1:] == resized
        shapes = [tuple(image.shape[1:]) for image in several['inputs']]
        assert len(shapes) == 12
        for ratio in cfg.img_ratios:
            wish = (int(resized[0] * ratio), int(resized[0] * ratio * width / height + 0.5))
            assert shapes.count(wish) == 2, (wish, shapes)
        assert cfg.tta_model.type == 'SegTTAModel'
