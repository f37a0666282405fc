"""What can compute windows, and what is refused with a reason."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from torch import nn

from sparsevit_mm import optimize_for_inference
from sparsevit_mm.apis.configs import load_config, register_framework
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.models.sparse_heads import find_two_passes, make_heads_sparse
from tests.helpers.head_networks import BACKBONE, segmentor, two_stage

ROOT = Path(__file__).parents[3]


def framework_model(name, **changes):
    """A shipped model of a framework around a SparseViT of its channels."""
    cfg = load_config(name)
    register_framework(cfg)
    cfg.model.backbone = {
        **BACKBONE, 'embed_dims': 96, 'num_heads': (3, 6, 12, 24), 'depths': (1, 1, 1, 1), **changes
    }  # fmt: skip
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        return MODELS.build(cfg.model)


def shipped(name, **changes):
    """A config of ours, its backbone with a block a stage."""
    cfg = Config.fromfile(ROOT / f'configs/sparsevit/nuscenes/{name}.py')
    cfg.merge_from_dict({'model.backbone.depths': (1, 1, 1, 1), **changes})
    register_framework(cfg)
    with DefaultScope.overwrite_default_scope('mmdet3d'):
        return MODELS.build(cfg.model)


BOXES_3D = ('fcos3d_sparsevit-t_fpn_8xb2-adaptation-1x', 'pgd_sparsevit-t_fpn_8xb2-adaptation-1x')


@pytest.mark.parametrize('name', BOXES_3D)
def test_heads_for_3d_boxes_are_served_without_deformable_convolutions(name):
    with pytest.raises(ConfigError, match='ModulatedDeformConv2dPack reads where it wants to'):
        make_heads_sparse(shipped(f'{name}_nus-mono3d'))
    changes = {'model.bbox_head.dcn_on_last_conv': False}
    model = make_heads_sparse(shipped(f'{name}_nus-mono3d', **changes).eval())
    assert model.backbone.head_stages == (False, True, True, True)
    with torch.no_grad():
        maps = model.extract_feat(dict(imgs=torch.rand(1, 3, 96, 128)))
        dense = model.bbox_head(maps)
        model.backbone.pruning_schedule = dict(ratios=0.0, head_ratios=(0, 0.5, 0.5, 0))
        sparse = model.bbox_head(maps)
    assert len(sparse) == len(dense)
    assert sparse[0][0].shape == dense[0][0].shape and not torch.equal(sparse[0][0], dense[0][0])
    torch.testing.assert_close(sparse[0][3], dense[0][3])


def test_a_detector_that_sees_the_scene_from_above():
    with pytest.raises(ConfigError, match='BEVDetHead, .*: it reads a map seen from above'):
        make_heads_sparse(shipped('bevdet_sparsevit-t_8xb8-adaptation-20e_nus-3d-256x704'))


@pytest.mark.parametrize(
    'name, changes, words',
    [
        (
            'mmdet::deformable_detr/deformable-detr_r50_16xb2-50e_coco.py',
            dict(out_indices=(1, 2, 3)),
            'MultiScaleDeformableAttention attends to whole maps',
        ),
        (
            'mmseg::mask2former/mask2former_swin-t_8xb2-160k_ade20k-512x512.py',
            {},
            'its pixel decoder MSDeformAttnPixelDecoder attends to whole maps',
        ),
        (
            'mmdet::dyhead/atss_swin-l-p4-w12_fpn_dyhead_ms-2x_coco.py',
            {},
            'ModulatedDeformConv2d reads where it wants to',
        ),
    ],
)
def test_heads_of_frameworks_are_refused_with_the_reason(name, changes, words):
    with pytest.raises(ConfigError, match=words):
        make_heads_sparse(framework_model(name, **changes))


def test_a_head_of_convolutions_without_neighbors():
    with pytest.raises(ConfigError, match='SegformerHead, which cannot compute windows: no conv'):
        make_heads_sparse(segmentor('SegformerHead'))


def test_a_backbone_without_a_ranking():
    resnet = dict(type='mmseg.ResNet', depth=18, base_channels=3)
    with pytest.raises(ConfigError, match='backbone ResNet has no pruning schedule'):
        make_heads_sparse(segmentor(backbone=resnet))


def test_a_backbone_alone():
    with pytest.raises(ConfigError, match=r'SparseViT has no head whose convolutions.*rpn_head'):
        make_heads_sparse(MODELS.build(BACKBONE))


def test_a_cascade():
    model = segmentor()
    model.decode_head = nn.ModuleList([model.decode_head])
    with pytest.raises(ConfigError, match='it is a cascade of several heads'):
        make_heads_sparse(model)


def test_a_model_in_its_inference_form():
    with pytest.raises(ConfigError, match='make the heads sparse first'):
        make_heads_sparse(optimize_for_inference(segmentor().eval()))


class Doubled(nn.Module):
    """A neck whose maps must have the size that it was built for."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(12, 16, 3, padding=1)

    def forward(self, maps):
        if maps[0].shape[2] == 8:
            raise RuntimeError('maps of 8 rows are too small')
        return [self.conv(maps[0]), *maps[1:]]


def test_a_neck_that_does_not_take_pooled_maps_stays_as_it_was():
    model = segmentor('FCNHead', in_index=0, in_channels=16).eval()
    model.neck = Doubled()
    with pytest.raises(ConfigError, match=r'pooled maps \(maps of 8 rows are too small\)'):
        make_heads_sparse(model)
    assert not find_two_passes(model) and model.backbone.head_stages is None
    assert type(model.neck.conv) is nn.Conv2d
    with torch.no_grad():
        model.decode_head(model.extract_feat(torch.rand(1, 3, 96, 96)))


def test_a_neck_of_unknown_class():
    """Such as a BiFPN of depthwise convolutions: all its levels are pooled together."""
    model = segmentor('FPNHead')
    model.neck = Bidirectional()
    make_heads_sparse(model.eval(), (0.5, 0.5, 0, 0))
    (passes,) = find_two_passes(model)
    assert passes.parts.neck.calls['top.1'] == (1,)
    with torch.no_grad():
        assert model.extract_feat(torch.rand(1, 3, 130, 96))[0].shape == (1, 16, 33, 24)


class Bidirectional(nn.Module):
    def __init__(self):
        super().__init__()
        self.inputs = nn.ModuleList(nn.Conv2d(dims, 16, 1) for dims in (12, 24, 48, 96))
        self.top = nn.ModuleList(nn.Conv2d(16, 16, 3, padding=1, groups=16) for _ in range(4))
        self.bottom = nn.ModuleList(nn.Conv2d(16, 16, 3, padding=1, groups=16) for _ in range(4))

    def forward(self, maps):
        maps = [conv(level) for conv, level in zip(self.inputs, maps)]
        for i in (2, 1, 0):
            up = nn.functional.interpolate(maps[i + 1], size=maps[i].shape[2:])
            maps[i] = self.top[i](maps[i] + up)
        for i in (1, 2, 3):
            down = nn.functional.max_pool2d(maps[i - 1], 2, ceil_mode=True)
            maps[i] = self.bottom[i](maps[i] + down)
        return tuple(maps)


@pytest.mark.parametrize(
    'arguments, words',
    [
        (dict(pool=1), 'pool is 1, but must be a whole number of at least 2'),
        (dict(pool=2.0), 'pool is 2.0'),
        (dict(ranking='entropy'), "ranking is 'entropy', but must be 'head' or 'backbone'"),
        (dict(head_ratios=(0, 0, 0, 0.5)), 'head_ratios of stage 3 is 0.5, but must be 0'),
        (dict(head_ratios=(0.5,)), 'one number for each of the 4 stages'),
        (dict(head_ratios=(1.5, 0, 0, 0)), 'head_ratios of stage 0 is 1.5'),
    ],
)
def test_wrong_arguments(arguments, words):
    with pytest.raises(ConfigError, match=words):
        make_heads_sparse(segmentor(), **arguments)


def test_head_ratios_of_a_model_whose_heads_are_not_sparse():
    model = two_stage()
    with pytest.raises(ConfigError, match=r"model.type='sparsevit_mm.SparseHeads'"):
        model.backbone.pruning_schedule = dict(ratios=0.5, head_ratios=(0.5, 0, 0, 0))


def test_the_backbone_ranks_only_stages_with_windows():
    fastervit = dict(
        type='sparsevit_mm.FasterViT', arch='0', dim=8, in_dim=8, depths=(1, 1, 2, 2),
        num_heads=(1, 1, 2, 4),
    )  # fmt: skip
    model = segmentor(backbone=fastervit, in_channels=[8, 16, 32, 64])
    with pytest.raises(ConfigError, match='head_ratios of stage 0 is 0.5, but must be 0'):
        make_heads_sparse(model, (0.5, 0, 0, 0), ranking='backbone')


def test_a_misspelled_field_of_a_config():
    with pytest.raises(TypeError, match='head_ratio'):
        segmentor(build=dict(head_ratio=[0.5, 0, 0, 0]))
