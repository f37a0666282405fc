"""Swapped configs: what changes, what stays, what is refused, and files that say the same."""

from __future__ import annotations

import copy
import itertools
import json
import re
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope

from benchmarks.swap_sweep import as_markdown, run
from sparsevit_mm.apis.configs import load_config, register_framework
from sparsevit_mm.apis.swap_backbone import swap_to_file
from sparsevit_mm.checks.configs import build_model
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.swap import BackboneSpec, Change, Swap, swap_backbone
from sparsevit_mm.swap.config_file import write_config
from tests.tools.conftest import call_tool

RETINANET = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'
DEEPLAB = 'mmseg::deeplabv3plus/deeplabv3plus_r50-d8_4xb2-40k_cityscapes-512x1024.py'
OCRNET = 'mmseg::ocrnet/ocrnet_hr18_4xb2-40k_cityscapes-512x1024.py'
FCOS3D = 'mmdet3d::fcos3d/fcos3d_r101-caffe-dcn_fpn_head-gn_8xb2-1x_nus-mono3d.py'
SWIN = 'mmdet::swin/mask-rcnn_swin-t-p4-w7_fpn_1x_coco.py'
DETR = 'mmdet::deformable_detr/deformable-detr_r50_16xb2-50e_coco.py'
YOLOX = 'mmdet::yolox/yolox_s_8xb8-300e_coco.py'
SAMPLE = (
    RETINANET,
    DEEPLAB,
    OCRNET,
    FCOS3D,
    SWIN,
    DETR,
    'mmdet::yolo/yolov3_d53_8xb8-320-273e_coco.py',
    YOLOX,
    'mmdet::libra_rcnn/libra-retinanet_r50_fpn_1x_coco.py',
    'mmdet::soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco.py',
    'mmseg::fastfcn/fastfcn_r50-d32_jpu_psp_4xb4-80k_ade20k-512x512.py',
    'mmseg::vit/vit_vit-b16_mln_upernet_8xb2-80k_ade20k-512x512.py',
    'mmseg::knet/knet-s3_r50-d8_upernet_8xb2-adamw-80k_ade20k-512x512.py',
    'mmseg::segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py',
)


def original(name):
    cfg = load_config(name)
    register_framework(cfg)
    return cfg


def swapped(name, backbone='sparsevit-tiny', **kwargs):
    cfg = original(name)
    return cfg, swap_backbone(cfg, BackboneSpec(backbone, checkpoint='', **kwargs))


def at(cfg, *path):
    value = cfg
    for key in path:
        value = value[key]
    return value


@pytest.mark.parametrize(
    'name, backbone', zip(SAMPLE, itertools.cycle(['sparsevit-tiny', 'fastervit-0']))
)
def test_swapped_models_compute_a_loss(name, backbone):
    cfg, swap = swapped(name, backbone)
    kind = 'SparseViT' if backbone.startswith('sparsevit') else 'FasterViT'
    host = swap.cfg.model.get('detector', swap.cfg.model)
    assert host.backbone.type == f'sparsevit_mm.{kind}'
    assert run(swap.cfg) == 'ran'


def test_a_detector_gets_channels_optimizer_and_nothing_else():
    cfg, swap = swapped(RETINANET, ratios=[0.3, 0, 0.2, 0])
    new = swap.cfg
    assert new.model.neck.in_channels == [96, 192, 384, 768]
    assert new.model.backbone.pruning_ratios == [0.3, 0, 0.2, 0]
    assert new.model.neck.start_level == 1
    assert new.optim_wrapper.optimizer.type == 'AdamW'
    assert new.optim_wrapper.paramwise_cfg.norm_decay_mult == 0
    back = copy.deepcopy(new)
    back.model.backbone = cfg.model.backbone
    back.model.neck.in_channels = cfg.model.neck.in_channels
    back.optim_wrapper = cfg.optim_wrapper
    assert back._cfg_dict == cfg._cfg_dict
    assert cfg.model.backbone.type == 'ResNet', 'the original stays as it is'


def test_heads_that_read_several_maps():
    _, swap = swapped(DEEPLAB, 'fastervit-0')
    model = swap.cfg.model
    assert (model.decode_head.in_channels, model.decode_head.c1_in_channels) == (512, 64)
    assert model.auxiliary_head.in_channels == 256
    assert model.pretrained is None
    _, swap = swapped(OCRNET)
    for head in swap.cfg.model.decode_head:
        assert head.in_channels == [96, 192, 384, 768]
    assert swap.cfg.model.decode_head[0].channels == 270


def test_images_are_normalized_for_the_new_weights():
    cfg, swap = swapped(FCOS3D)
    new = swap.cfg.model.data_preprocessor
    assert cfg.model.data_preprocessor.bgr_to_rgb is False
    assert (new.bgr_to_rgb, new.mean) == (True, [123.675, 116.28, 103.53])
    assert new.pad_size_divisor == cfg.model.data_preprocessor.pad_size_divisor
    assert swap.cfg.optim_wrapper.clip_grad == cfg.optim_wrapper.clip_grad
    _, swap = swapped(YOLOX)
    assert swap.cfg.model.data_preprocessor.std == [58.395, 57.12, 57.375]
    semi = swapped(
        'mmdet::soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco.py'
    )
    model = semi[1].cfg.model
    assert model.detector.data_preprocessor.bgr_to_rgb is True
    assert model.data_preprocessor.data_preprocessor.bgr_to_rgb is True


@pytest.mark.parametrize('channels', [1, 4])
@pytest.mark.parametrize('backbone', ['sparsevit-tiny', 'fastervit-0'])
def test_networks_keep_the_channels_of_their_images(channels, backbone, tmp_path):
    own = tmp_path / 'own.py'
    own.write_text(
        f"_base_ = '{RETINANET}'\n"
        f'model = dict(backbone=dict(in_channels={channels}, init_cfg=None), '
        'data_preprocessor=dict(mean=[7.0], std=[5.0], bgr_to_rgb=False))\n'
    )
    swap = swap_to_file(str(own), backbone, tmp_path / 'new.py')
    model = swap.cfg.model
    assert model.backbone.in_channels == channels
    assert 'init_cfg' not in model.backbone, 'the weights are for three channels'
    assert model.data_preprocessor == load_config(str(own)).model.data_preprocessor
    text = ' '.join((tmp_path / 'new.py').read_text().replace('#', '').split())
    assert f'Images have {channels} channels, and the weights are for 3: they are left out' in text
    assert build_model(swap.cfg).backbone(torch.rand(1, channels, 64, 64))[0].shape[0] == 1
    swap = swap_to_file(str(own), backbone, tmp_path / 'taken.py', channels='bgr')
    init_cfg = swap.cfg.model.backbone.init_cfg
    assert (init_cfg.type, init_cfg.channels) == ('Pretrained', 'bgr')
    with pytest.raises(ConfigError, match="channels is 'gbr', but must be one of rgb, bgr"):
        BackboneSpec(backbone, channels='gbr')


def test_adaptive_optimizers_keep_their_rates():
    cfg, swap = swapped(DETR)
    assert swap.cfg.optim_wrapper.optimizer == cfg.optim_wrapper.optimizer
    keys = swap.cfg.optim_wrapper.paramwise_cfg.custom_keys
    assert keys['backbone'] == cfg.optim_wrapper.paramwise_cfg.custom_keys['backbone']
    assert keys['relative_position_bias_table'] == dict(lr_mult=0.1, decay_mult=0.0)
    assert swap.cfg.model.backbone.out_indices == (1, 2, 3)
    assert swap.cfg.model.neck.in_channels == [192, 384, 768]


RTMDET = 'mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py'


def test_kept_optimizers_are_said_to_be_kept(tmp_path, capsys):
    out = tmp_path / 'new.py'
    call_tool('swap_backbone', RTMDET, '--backbone', 'sparsevit-tiny', '--out', out)
    assert Config.fromfile(out).optim_wrapper.optimizer.lr == 0.004
    note = (
        'optim_wrapper.optimizer: AdamW stays with lr 0.004, because it suits transformers, too; '
        'but this framework trains Swin with lr 0.0001 for batches of 16: lower it if the'
    )
    assert note in capsys.readouterr().out
    assert note in ' '.join(out.read_text().replace('#', '').split())
    call_tool('swap_backbone', RETINANET, '--backbone', 'sparsevit-tiny', '--out', out)
    note = 'AdamW as this framework trains Swin with, for batches of 16; SGD suits convolutional'
    assert note in capsys.readouterr().out
    assert note in ' '.join(out.read_text().replace('#', '').split())


@pytest.mark.parametrize(
    'kind, decay',
    [(torch.optim.AdamW, 0.01), ('torch.optim.AdamW', 0.01), (torch.optim.Adam, 0.0)],
)
def test_optimizers_are_known_as_classes_and_by_full_names(kind, decay):
    """They stay; a weight decay that they leave to torch is stated."""
    cfg = original(RETINANET)
    cfg.optim_wrapper.optimizer = dict(type=kind, lr=3e-5)
    swap = swap_backbone(cfg, BackboneSpec('sparsevit-tiny', checkpoint=''))
    assert swap.cfg.optim_wrapper.optimizer == dict(type=kind, lr=3e-5, weight_decay=decay)
    ((path, note),) = swap.kept
    assert path == ('optim_wrapper', 'optimizer')
    assert re.match(r'AdamW? stays with lr 3e-05, .* Swin with lr 0.0001', note)
    cfg.optim_wrapper.optimizer = dict(type=torch.optim.SGD, lr=0.1)
    swap = swap_backbone(cfg, BackboneSpec('sparsevit-tiny', checkpoint=''))
    assert (swap.cfg.optim_wrapper.optimizer.type, swap.kept) == ('AdamW', ())
    assert any('; SGD suits convolutional' in change.reason for change in swap.changes)


def test_reversed_channels_and_plain_transformers():
    _, swap = swapped('mmdet::yolo/yolov3_d53_8xb8-320-273e_coco.py')
    assert swap.cfg.model.neck.in_channels == [768, 384, 192]
    _, swap = swapped('mmseg::vit/vit_vit-b16_mln_upernet_8xb2-80k_ade20k-512x512.py')
    assert swap.cfg.model.neck is None
    assert swap.cfg.model.decode_head.in_channels == [96, 192, 384, 768]


def test_swin_becomes_sparsevit_with_the_same_outputs():
    cfg, swap = swapped(SWIN)
    # An empty checkpoint means random weights; nothing is ranked yet, and nothing else differs.
    assert {change.path[-1] for change in swap.changes} == {'type', 'importance', 'init_cfg'}
    cfg.model.backbone.init_cfg = None
    with DefaultScope.overwrite_default_scope('mmdet'):
        theirs, ours = build_model(cfg).backbone, build_model(swap.cfg).backbone
    ours.load_state_dict(theirs.state_dict(), strict=False)
    theirs.eval()
    ours.eval()
    images = torch.randn(1, 3, 90, 133)
    with torch.no_grad():
        for a, b in zip(theirs(images), ours(images)):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('name', SAMPLE)
def test_written_configs_are_the_swap_and_swapping_twice_is_swapping_once(name, tmp_path):
    out = tmp_path / 'new' / 'config.py'
    swap = swap_to_file(name, 'sparsevit-tiny', out, ratios=0.5)
    loaded = Config.fromfile(out)
    assert loaded._cfg_dict == swap.cfg._cfg_dict
    text = out.read_text()
    assert f"_base_ = '{name}'" in text
    assert max(map(len, re.sub(r'.*noqa.*', '', text).splitlines())) <= 100
    again = swap_backbone(loaded, BackboneSpec('sparsevit-tiny', 0.5))
    assert again.cfg._cfg_dict == loaded._cfg_dict
    assert again.changes == ()


def test_values_of_any_kind_are_written(tmp_path):
    (tmp_path / 'base.py').write_text('model = dict(a=dict(z=1), kept=[dict(b=1), 2])\n')
    cfg = Config.fromfile(tmp_path / 'base.py')
    value = {'from': (1,), 'a b': {2: None}, 'c': [], 'd': "it's", 'e': ('x' * 90, 'y' * 90)}
    new = copy.deepcopy(cfg)
    new.model.a, new.model.kept[0].b = value, -1.5
    changes = (
        Change(('model', 'a'), value, 'Words ' * 40, replaces=True),
        Change(('model', 'kept', 0, 'b'), -1.5, 'A list.'),
    )
    write_config(
        Swap(new, changes), cfg, str(tmp_path / 'base.py'), tmp_path / 'new.py', 'A title.'
    )
    assert Config.fromfile(tmp_path / 'new.py')._cfg_dict == new._cfg_dict


@pytest.mark.parametrize(
    'name, reason',
    [
        ('mmdet::ssd/ssd300_coco.py', 'a VGG and of layers added to it'),
        ('mmdet::detectors/detectors_htc-r50_1x_coco.py', 'feeds back into the backbone'),
        ('mmdet::faster_rcnn/faster-rcnn_r50-caffe-c4_ms-1x_coco.py', 'last stage of the ResNet'),
        ('mmdet::cornernet/cornernet_hourglass104_8xb6-210e-mstest_coco.py', 'hourglass'),
        ('mmseg::mobilenet_v3/mobilenet-v3-d8_lraspp_4xb4-320k_cityscapes-512x1024.py', '49 by 49'),
        ('mmseg::unet/unet-s5-d16_fcn_4xb4-160k_cityscapes-512x1024.py', 'inside the backbone'),
        ('mmdet3d::votenet/votenet_8xb8_scannet-3d.py', 'reads point clouds'),
        ('mmdet3d::smoke/smoke_dla34_dlaneck_gn-all_4xb8-6x_kitti-mono3d.py', 'six maps'),
        ('mmdet::glip/glip_atss_swin-t_a_fpn_dyhead_pretrain_obj365.py', 'image and language'),
    ],
)
def test_refusals_give_the_reason(name, reason):
    with pytest.raises(ConfigError, match=f'cannot be swapped: .*{reason}'):
        swapped(name)


def test_page_of_the_sweep_is_what_its_results_say():
    root = Path(__file__).parents[2]
    report = json.loads((root / 'benchmarks/results/swap_sweep.json').read_text())
    assert (root / 'docs/swap_sweep.md').read_text() == as_markdown(report)


def test_wrong_arguments():
    for wrong, message in (
        (dict(name='resnet-50'), "backbone is 'resnet-50', but must be one of sparsevit-tiny"),
        (dict(name='fastervit-0', ratios=[0.5, 0, 0, 0]), 'the stage is convolutional'),
        (dict(name='sparsevit-tiny', ratios=1.5), 'below 1'),
    ):
        with pytest.raises(ConfigError, match=message):
            BackboneSpec(**wrong)
    with pytest.raises(ConfigError, match='cannot be read'):
        load_config('mmdet::no/such_config.py')


def test_parts_that_are_not_understood_are_left_alone():
    cfg = original(RETINANET)
    cfg.model.neck.in_channels = [256, 512, 1024, 1000]
    with pytest.raises(ConfigError, match=r'neck.in_channels is \[256, 512, 1024, 1000\] \(FPN\)'):
        swap_backbone(cfg, BackboneSpec('sparsevit-tiny'))


@pytest.mark.parametrize(('kind', 'decay'), [('AdamW', 0.01), ('Adam', 0.0)])
def test_an_optimizer_that_names_no_weight_decay_can_be_built(kind, decay):
    cfg = original(RETINANET)
    cfg.optim_wrapper.optimizer = dict(type=kind, lr=1e-4)
    swap = swap_backbone(cfg, BackboneSpec('sparsevit-tiny', checkpoint=''))
    assert swap.cfg.optim_wrapper.optimizer == dict(type=kind, lr=1e-4, weight_decay=decay)
    model = torch.nn.ModuleDict({'backbone': torch.nn.LayerNorm(3), 'neck': torch.nn.Linear(3, 3)})
    groups = build_optim_wrapper(model, swap.cfg.optim_wrapper).optimizer.param_groups
    assert {group['weight_decay'] for group in groups} == {0.0, decay}
