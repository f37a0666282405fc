"""The inference form of whole models: equal predictions, and what it refuses."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.profiler import ProfilerActivity, profile

from sparsevit_mm import SparseViT, optimize_for_inference
from sparsevit_mm.deployment.batch_norms import fold_batch_norms
from sparsevit_mm.errors import ConfigError, DeployedModelError
from sparsevit_mm.ops import backend
from sparsevit_mm.pruning.prunable import prunable_or_none
from tests.helpers.predicting import batch_for, build_trained, predict, raw_outputs

MODELS = (
    'mask-rcnn', 'cascade', 'retinanet', 'fcos', 'tood', 'dino', 'mask2former', 'upernet', 'fcn',
    'fcos3d', 'smoke', 'bevdet', 'classifier',
)  # fmt: skip
PROPOSING = ('mask-rcnn', 'cascade', 'dino')
"""What comes after proposals depends on which were taken, and that on the last digit."""


@pytest.mark.parametrize('name', MODELS)
def test_heads_of_every_framework_give_the_same(name):
    model = build_trained(name)
    batches = [batch_for(name, 160, 224), batch_for(name, 150, 270, images=2)]
    expected = [raw_outputs(model, *batch) for batch in batches]
    predictions = predict(model, *batches[0])
    with backend.use('onednn' if backend.HAS_ONEDNN else 'auto'):
        optimize_for_inference(model)
        for batch, outputs in zip(batches, expected):
            found = raw_outputs(model, *batch)
            assert len(found) == len(outputs) > 0
            for mine, theirs in zip(found, outputs):
                torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-3)
        assert_same_predictions(predict(model, *batches[0]), predictions)


@pytest.mark.parametrize('name', MODELS)
def test_bfloat16_gives_nearly_the_same_in_float32(name):
    model, batch = build_trained(name), batch_for(name, 160, 224)
    backbone = prunable_or_none(model)
    if backbone is not None:
        backbone.pruning_schedule = 0.0  # which windows are kept depends on the last digit, too
    expected = raw_outputs(model, *batch)
    optimize_for_inference(model, 'bfloat16')
    found = raw_outputs(model, *batch)
    if name not in PROPOSING:
        for mine, theirs in zip(found, expected, strict=True):
            assert mine.dtype == theirs.dtype
            if mine.is_floating_point():
                # One rounding is 0.4%; untrained norms over few pixels make most of it.
                assert (mine - theirs).norm() <= 0.07 * theirs.norm() + 1e-3
    for sample in predict(model, *batch):
        assert_float32(sample)


def assert_float32(sample):
    if isinstance(sample, dict):
        assert sample['scores'].dtype == torch.float32
    for field in ('pred_instances', 'pred_instances_3d'):
        for value in sample.get(field, {}).values():
            if isinstance(value, torch.Tensor) and value.is_floating_point():
                assert value.dtype == torch.float32


def assert_same_predictions(found, expected):
    for mine, theirs in zip(found, expected, strict=True):
        if isinstance(mine, dict):
            torch.testing.assert_close(mine['scores'], theirs['scores'], rtol=1e-3, atol=1e-4)
        elif 'pred_sem_seg' in mine:
            same = mine.pred_sem_seg.data == theirs.pred_sem_seg.data
            assert same.float().mean() > 0.999
        else:
            kind = 'pred_instances_3d' if 'pred_instances_3d' in mine else 'pred_instances'
            mine, theirs = mine.get(kind), theirs.get(kind)
            scores = 'scores_3d' if kind.endswith('3d') else 'scores'
            assert len(mine) == len(theirs) > 0
            torch.testing.assert_close(mine[scores], theirs[scores], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize('name', ['fcos', 'upernet', 'fcn', 'bevdet', 'classifier'])
def test_no_batch_norm_behind_a_convolution_is_left(name):
    model = build_trained(name)
    assert any(isinstance(module, _BatchNorm) for module in model.modules())
    optimize_for_inference(model)
    left = [where for where, module in model.named_modules() if isinstance(module, _BatchNorm)]
    assert not left


@pytest.mark.skipif(not backend.HAS_ONEDNN, reason='torch was built without oneDNN')
def test_maps_are_channels_last_and_products_are_those_of_onednn():
    model = optimize_for_inference(build_trained('mask-rcnn'))
    seen = {}
    for name in ('neck', 'roi_head.mask_head.convs.0'):
        model.get_submodule(name).register_forward_hook(
            lambda _, args, output, name=name: seen.update({name: output})
        )
    with backend.use('onednn'), profile(activities=[ProfilerActivity.CPU]) as profiled:
        predict(model, *batch_for('mask-rcnn', 160, 224))
    for level in seen['neck'][:3]:
        assert level.is_contiguous(memory_format=torch.channels_last)
    assert seen['roi_head.mask_head.convs.0'].is_contiguous(memory_format=torch.channels_last)
    products = [e for e in profiled.events() if e.name == 'mkldnn::_linear_pointwise']
    assert not [e for e in profiled.events() if e.name == 'aten::addmm']
    assert len(products) > 20


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_roi_features_are_those_of_the_operator(dtype):
    model = build_trained('mask-rcnn')
    extractor = model.roi_head.mask_roi_extractor
    maps = [torch.randn(2, extractor.out_channels, 64 // 2**n, 80 // 2**n) for n in range(4)]
    corners = torch.rand(50, 2) * 200
    image = torch.randint(0, 2, (50, 1)).float()
    rois = torch.cat([image, corners, corners + torch.rand(50, 2) ** 4 * 400], 1)
    with torch.inference_mode():
        expected = [extractor(maps, rois), extractor(maps, rois, 1.5), extractor(maps[:1], rois)]
        none = extractor(maps, rois[:0])
    optimize_for_inference(model, dtype)
    maps = [each.to(getattr(torch, dtype)) for each in maps]
    with torch.inference_mode(), profile(activities=[ProfilerActivity.CPU]) as profiled:
        found = [extractor(maps, rois), extractor(maps, rois, 1.5), extractor(maps[:1], rois)]
        assert extractor(maps, rois[:0]).shape == none.shape
    assert not [event for event in profiled.events() if 'RoIAlign' in event.name]
    for mine, theirs in zip(found, expected):
        tolerance = 1e-5 if dtype == 'float32' else 1e-2
        assert (mine.float() - theirs).norm() < tolerance * theirs.norm()
        assert mine.is_contiguous()  # some heads view what they get


class Doubled(nn.Conv2d):
    """A convolution of someone's own."""

    def forward(self, feature_map):
        return 2 * super().forward(feature_map)


class Crossed(nn.Module):
    """Declares a convolution and a norm one after the other, but does not call them so."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.bn = nn.BatchNorm2d(4)

    def forward(self, feature_map):
        return self.conv(self.bn(feature_map))


def some_norm():
    norm = nn.BatchNorm2d(4)
    for entry in (norm.running_mean, norm.running_var, norm.weight, norm.bias):
        nn.init.uniform_(entry, 0.5, 1.5)
    return norm


def test_what_is_not_known_stays_as_it_is():
    hooked = nn.Conv2d(4, 4, 1)
    hooked.register_forward_hook(lambda _, args, output: output + 1)
    model = nn.Sequential(
        nn.Sequential(nn.Conv2d(4, 4, 3), some_norm(), nn.ReLU()),
        nn.Sequential(Doubled(4, 4, 3), some_norm()),
        nn.Sequential(hooked, some_norm()),
        Crossed(),
        nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU(), some_norm()),
        nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4, track_running_stats=False)),
    ).eval()
    images = torch.randn(2, 4, 12, 15)
    with torch.no_grad():
        expected = model(images)
        assert fold_batch_norms(model) == 1
        torch.testing.assert_close(model(images), expected, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(
            optimize_for_inference(model)(images), expected, rtol=1e-4, atol=1e-4
        )
    kinds = (Doubled, Crossed, nn.BatchNorm2d)
    found = [sum(isinstance(module, kind) for module in model.modules()) for kind in kinds]
    assert found == [1, 1, 5]


def test_a_convolution_of_several_norms_becomes_several():
    from mmcv.cnn import ConvModule

    levels = nn.ModuleList(ConvModule(4, 4, 3, norm_cfg=dict(type='BN')) for _ in range(2))
    levels[1].conv = levels[0].conv
    for level in levels:
        level.bn = some_norm()
    levels.eval()
    images = torch.randn(1, 4, 9, 9)
    with torch.no_grad():
        expected = [level(images) for level in levels]
        assert fold_batch_norms(levels) == 2
        for level, outputs in zip(levels, expected):
            torch.testing.assert_close(level(images), outputs)


def test_what_the_form_cannot_do_is_one_sentence():
    model, batch = build_trained('fcn'), batch_for('fcn')
    with pytest.raises(ConfigError, match='the EncoderDecoder is in training, but must be trained'):
        optimize_for_inference(model.train())
    weights = model.eval().state_dict()
    with pytest.raises(ConfigError, match='dtype is int8, but must be one of float32, float16'):
        optimize_for_inference(model, torch.int8)
    with pytest.raises(ConfigError, match='dtype is float16, but must be float32 or bfloat16'):
        optimize_for_inference(model, 'float16')
    assert optimize_for_inference(model) is model
    with pytest.raises(ConfigError, match='optimized for inference in torch.float32 already'):
        optimize_for_inference(model, 'bfloat16')
    expected = raw_outputs(model, *batch)
    with pytest.raises(DeployedModelError, match='cannot be trained: build it again'):
        model.train()
    with pytest.raises(DeployedModelError, match='its weights are no checkpoint'):
        model.state_dict()
    with pytest.raises(DeployedModelError, match='takes no checkpoint: load it before'):
        model.load_state_dict(weights)
    assert not any(module.training for module in model.modules() if module is not model)
    for mine, theirs in zip(raw_outputs(model, *batch), expected):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize('name', ['mask-rcnn', 'classifier'])
def test_copies_and_repeated_calls(name):
    model, batch = build_trained(name), batch_for(name)
    plain = raw_outputs(model, *batch)
    copied = optimize_for_inference(deepcopy(model))
    again = deepcopy(copied)
    assert optimize_for_inference(again) is again
    with torch.no_grad():
        for parameter in copied.parameters():
            parameter.zero_()
    for other in (model, again):
        for mine, theirs in zip(raw_outputs(other, *batch), plain):
            torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-3)
    with pytest.raises(DeployedModelError):
        deepcopy(again).train()


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_a_backbone_alone(dtype):
    backbone = SparseViT(embed_dims=8, depths=(2, 2), num_heads=(1, 2), out_indices=(0, 1)).eval()
    images = torch.randn(2, 3, 70, 90)
    with torch.no_grad():
        expected = backbone(images)
        for mine, theirs in zip(optimize_for_inference(backbone, dtype)(images), expected):
            tolerance = 1e-5 if dtype == 'float32' else 0.1
            torch.testing.assert_close(mine, theirs, rtol=tolerance, atol=tolerance)
            assert mine.is_contiguous(memory_format=torch.channels_last)
