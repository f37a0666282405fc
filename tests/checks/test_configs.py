"""Checks before a run: what they look at, and that they leave nothing behind."""

from __future__ import annotations

import pytest
import torch
from mmengine.config import Config

from sparsevit_mm import SparseViT
from sparsevit_mm.apis.configs import load_config, register_framework
from sparsevit_mm.checks.configs import (
    build_model,
    check_datasets,
    check_weights_fit,
    check_writable_folder,
)
from sparsevit_mm.errors import CheckpointError, ConfigError
from tests.helpers.tiny_data import SEGMENTOR, write_config


def test_writable_folder_is_not_made(tmp_path):
    check_writable_folder(tmp_path / 'a' / 'b', 'work_dir')
    assert not list(tmp_path.iterdir())
    (tmp_path / 'file').touch()
    with pytest.raises(ConfigError, match='Not a directory'):
        check_writable_folder(tmp_path / 'file' / 'b', 'work_dir')


def wrapped(wrap, root):
    dataset = dict(
        type='Any', data_root=str(root), ann_file='a.json', data_prefix=dict(img='images')
    )
    return {
        'plain': dataset,
        'repeated': dict(type='RepeatDataset', dataset=dataset),
        'joined': dict(type='ConcatDataset', datasets=[dataset, dataset]),
    }[wrap]


@pytest.mark.parametrize(
    'wrap, field',
    [('plain', 'dataset'), ('repeated', 'dataset.dataset'), ('joined', 'dataset.datasets.0')],
)
def test_data_sets_inside_wrappers(tmp_path, wrap, field):
    cfg = Config(dict(train_dataloader=dict(dataset=wrapped(wrap, tmp_path))))
    (tmp_path / 'a.json').touch()
    with pytest.raises(ConfigError, match=rf'^train_dataloader\.{field}\.data_prefix\.img is miss'):
        check_datasets(cfg, ['train_dataloader'], [])
    (tmp_path / 'images').mkdir()
    check_datasets(cfg, ['train_dataloader'], [])


def test_addresses_and_data_without_files_are_left_alone(tmp_path):
    remote = dict(type='Any', data_root='s3://bucket', ann_file='a.json', data_prefix=dict(img='i'))
    cfg = Config(dict(a=dict(dataset=remote), b=dict(dataset=dict(type='Toy')), c=None))
    check_datasets(cfg, ['a', 'b', 'c', 'absent'], ['absent'])


def test_every_metric_of_an_evaluator_is_looked_at():
    cfg = Config(dict(evaluator=[dict(type='A'), dict(type='B', ann_file='nowhere.json')]))
    with pytest.raises(ConfigError, match='evaluator.ann_file is missing: looked for /.*nowhere'):
        check_datasets(cfg, [], ['evaluator'])


def network(dims=8):
    return SparseViT(embed_dims=dims, depths=(1, 1), num_heads=(1, 2), out_indices=(1,))


def test_part_of_a_checkpoint_may_be_wanted(tmp_path):
    """A detector for other classes has the same backbone and another head."""
    path = str(tmp_path / 'file.pth')
    old = torch.nn.ModuleDict({'backbone': network(), 'head': torch.nn.Linear(16, 80)})
    new = torch.nn.ModuleDict({'backbone': network(), 'head': torch.nn.Linear(16, 3)})
    torch.save({'state_dict': old.state_dict()}, path)
    check_weights_fit(new, path, part='backbone.')
    with pytest.raises(CheckpointError, match=r'head.weight is \(80, 16\) instead of \(3, 16\)'):
        check_weights_fit(new, path)
    del old['head']
    torch.save({'state_dict': old.state_dict()}, path)
    with pytest.raises(CheckpointError, match=r'head.weight is missing \(1 more such\)'):
        check_weights_fit(new, path)


def test_extra_entries_of_a_checkpoint_do_no_harm(tmp_path):
    """Other implementations store derived indices beside the weights."""
    path = str(tmp_path / 'file.pth')
    weights = network().state_dict()
    index = 'stages.0.blocks.0.attn.w_msa.relative_position_index'
    torch.save({**weights, index: torch.zeros(49, 49, dtype=torch.int64)}, path)
    check_weights_fit(network(), path)


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        (
            dict(in_channels=[12, 48], in_index=[0, 1]),
            r'in_channels is \[12, 48\], but must be \[12, 24\]',
        ),
        (dict(in_channels=[12, 24], in_index=[1, 0]), r'must be \[24, 12\]'),
        (dict(in_channels=[12, 24], in_index=[0, 2]), r'is \[0, 2\], but SparseViT has 2'),
        (dict(in_channels=[12, 24], in_index=[0, 1]), None),
    ],
)
def test_heads_of_segmentors_without_a_neck(changes, words, tmp_path):
    pytest.importorskip('mmseg')
    cfg = load_config(str(write_config(tmp_path / 'config.py', SEGMENTOR, tmp_path)))
    register_framework(cfg)
    assert cfg.model.get('neck') is None
    cfg.model.decode_head.update(input_transform='resize_concat', **changes)
    if words is None:
        build_model(cfg)
    else:
        with pytest.raises(ConfigError, match=words):
            build_model(cfg)


def test_a_segmentation_head_on_one_map(tmp_path):
    pytest.importorskip('mmseg')
    cfg = load_config(str(write_config(tmp_path / 'config.py', SEGMENTOR, tmp_path)))
    register_framework(cfg)
    head = dict(type='FCNHead', in_channels=12, in_index=1, channels=4, num_convs=1, num_classes=2)
    cfg.model.auxiliary_head = [dict(head)]
    with pytest.raises(ConfigError, match=r'auxiliary_head\.0\.in_channels is 12, but must be 24'):
        build_model(cfg)
