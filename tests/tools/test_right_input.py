"""Unusual but right input is taken: no annotations, wrappers, files of classes, moved work dirs."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from sparsevit_mm import SparseViT
from sparsevit_mm.apis.configs import load_config, register_framework
from sparsevit_mm.checks.coco import check_coco_annotations
from sparsevit_mm.checks.configs import build_model
from sparsevit_mm.checks.images import check_complete
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.pruning.prunable import find_prunable_backbone
from tests.tools.conftest import call_tool


@pytest.fixture
def folder(tiny, tmp_path, monkeypatch):
    """The current folder, with weights of the tiny detector."""
    monkeypatch.chdir(tmp_path)
    cfg = load_config(str(tiny.detector))
    register_framework(cfg)
    torch.manual_seed(0)
    model = build_model(cfg)
    model.init_weights()
    meta = dict(dataset_meta=dict(classes=('person', 'car')))
    torch.save({'state_dict': model.state_dict(), 'meta': meta}, 'weights.pth')
    return tmp_path


def child(tiny, text, name='child.py', base='detector'):
    Path(name).write_text(f"_base_ = '{getattr(tiny, base)}'\n{text}")
    return name


def test_a_test_set_without_annotations_is_only_written(folder, tiny):
    coco = json.loads((tiny.data / 'instances.json').read_text())
    del coco['annotations']
    Path('images.json').write_text(json.dumps(coco))
    config = child(
        tiny,
        f"""
test_dataloader = dict(dataset=dict(ann_file='{folder}/images.json'))
test_evaluator = dict(
    ann_file='{folder}/images.json', format_only=True, outfile_prefix='{folder}/found')
""",
    )
    call_tool('test', config, 'weights.pth', '--work-dir', 'work')
    assert json.loads(Path('found.bbox.json').read_text())
    with pytest.raises(SystemExit):
        call_tool(
            'test', config, 'weights.pth', '--cfg-options', 'test_evaluator.format_only=False'
        )


def test_a_segmentation_test_set_without_label_maps(folder, tiny):
    config = child(
        tiny,
        f"""
test_dataloader = dict(dataset=dict(
    data_prefix=dict(seg_map_path='nowhere'),
    pipeline=[
        dict(type='LoadImageFromFile'), dict(type='Resize', scale=(84, 60)),
        dict(type='PackSegInputs')]))
test_evaluator = dict(format_only=True, output_dir='{folder}/labels')
""",
        base='segmentor',
    )
    cfg = load_config(config)
    register_framework(cfg)
    torch.save({'state_dict': build_model(cfg).state_dict()}, 'segmentor.pth')
    call_tool('test', config, 'segmentor.pth', '--work-dir', 'work')
    assert len(list(Path('labels').iterdir())) == 16


def test_panoptic_sets_have_a_format_of_their_own(folder, tiny):
    coco = dict(
        images=[dict(id=0, file_name='0.png', height=60, width=84)],
        annotations=[dict(image_id=0, file_name='0.png', segments_info=[])],
        categories=[dict(id=1, name='person', isthing=1)],
    )
    Path('panoptic.json').write_text(json.dumps(coco))
    cfg = load_config(str(tiny.detector))
    cfg.train_dataloader.dataset.update(
        type='CocoPanopticDataset', ann_file=f'{folder}/panoptic.json'
    )
    register_framework(cfg)
    check_coco_annotations(cfg, ['train_dataloader'])
    cfg.train_dataloader.dataset.type = 'CocoDataset'
    with pytest.raises(ConfigError, match='has none of the classes|but .*panoptic.json has'):
        check_coco_annotations(cfg, ['train_dataloader'])


def test_classes_from_a_file(folder, tiny):
    Path('classes.txt').write_text('person\ncar\n')
    both = "dict(dataset=dict(metainfo=dict(classes='classes.txt')))"
    config = child(tiny, f'train_dataloader = {both}\ntest_dataloader = {both}\n')
    call_tool('test', config, 'weights.pth', '--work-dir', 'work')
    image = tiny.data / 'images' / '0.png'
    call_tool('image_demo', image, config, '--out-dir', 'out')
    assert Path('out/predictions/0.png').is_file()
    Path('classes.txt').write_text('person\nlorry\n')
    with pytest.raises(SystemExit):
        call_tool('test', config, 'weights.pth', '--work-dir', 'work')


def test_several_sets_to_test_on(folder, tiny):
    config = child(
        tiny,
        """
test_dataloader = dict(dataset=dict(
    _delete_=True, type='ConcatDataset', ignore_keys=['dataset_type'],
    datasets=[{{_base_.dataset}}, dict(type='RepeatDataset', times=1, dataset={{_base_.dataset}})]))
test_evaluator = dict(_delete_=True, type='DumpResults', out_file_path='found.pkl')
""",
    )
    image = tiny.data / 'images' / '0.png'
    call_tool('image_demo', image, config, 'weights.pth', '--out-dir', 'out')
    assert Path('out/predictions/0.png').is_file()
    call_tool('test', config, 'weights.pth', '--tta', '--work-dir', 'work')
    assert len(pickle.loads(Path('found.pkl').read_bytes())) == 32


@pytest.mark.parametrize('suffix', ['.jpg', '.png'])
def test_bytes_behind_the_end_of_an_image(suffix, tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / f'motion{suffix}'
    cv2.imwrite(str(path), rng.integers(0, 256, (60, 84, 3), dtype=np.uint8))
    whole = path.read_bytes()
    for film in (b'ftypmp42', b'IDAT\xff\xda and then a film', whole):
        path.write_bytes(whole + film)
        check_complete(path)
    thumbnail = b'\xff\xe1\x00\x20' + b'\xff\xd8 a thumbnail \xff\xda \xff\xd9'.ljust(30, b'\0')
    header = 2 if suffix == '.jpg' else 0
    for start in (whole[:header] + thumbnail * bool(header) + whole[header:], whole):
        path.write_bytes(start)
        check_complete(path)
        for end in (len(start) - 20, len(start) // 2, 60):
            path.write_bytes(start[:end])
            with pytest.raises(ConfigError, match='its end is missing'):
                check_complete(path)


def test_resuming_in_a_work_dir_that_was_moved(folder, tiny):
    few = ['train_cfg.val_interval=9', 'train_dataloader.dataset.indices=2']
    call_tool(
        'train',
        tiny.detector,
        '--work-dir',
        'before',
        '--cfg-options',
        'train_cfg.max_epochs=1',
        *few,
    )
    shutil.move('before', 'after')
    call_tool(
        'train', tiny.detector, '--work-dir', 'after', '--resume',
        '--cfg-options', 'train_cfg.max_epochs=2', *few,
    )  # fmt: skip
    assert Path('after/epoch_2.pth').is_file()
    assert not Path('before').exists()


def test_starting_from_weights_of_another_window(folder, tiny, capsys):
    call_tool(
        'train', tiny.detector, '--work-dir', 'work', '--cfg-options', 'load_from=weights.pth',
        'model.backbone.window_size=6', 'train_cfg.max_epochs=1', 'train_cfg.val_interval=9',
        'train_dataloader.dataset.indices=1',
    )  # fmt: skip
    name = 'backbone.stages.0.blocks.0.attn.w_msa.relative_position_bias_table'
    weights = torch.load('work/epoch_1.pth', weights_only=True)['state_dict']
    assert weights[name].shape == (11**2, 1)
    assert '4 position tables are interpolated' in capsys.readouterr().out
    with pytest.raises(SystemExit):
        call_tool(
            'test', tiny.detector, 'weights.pth', '--cfg-options', 'model.backbone.window_size=6'
        )


def test_a_student_and_its_teacher_share_a_schedule():
    sizes = dict(embed_dims=12, depths=(2, 2), num_heads=(1, 2), out_indices=(0, 1))
    pair = nn.ModuleDict({'student': SparseViT(**sizes), 'teacher': SparseViT(**sizes)})
    backbone = find_prunable_backbone(pair)
    backbone.pruning_schedule = 0.5
    seen = []
    backbone.window_observer = seen.append
    for net in pair.values():
        assert net.pruning_schedule.ratios == ((0.5, 0.5), (0.5, 0.5))
    pair['teacher'](torch.zeros(1, 3, 60, 80))
    assert len(seen) == 4
    assert backbone.arch == pair['student'].arch
    other = nn.ModuleDict({'a': SparseViT(**sizes), 'b': SparseViT(**{**sizes, 'embed_dims': 24})})
    with pytest.raises(ConfigError, match='has 2 backbones'):
        find_prunable_backbone(other)
