"""Graphs and ONNX files compute what their models compute, for every schedule and size."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from sparsevit_mm.deployment.graph import export_graph
from sparsevit_mm.deployment.onnx_file import OnnxModel, write_onnx
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.models import FasterViT, SparseViT, SwinHAT

SPARSEVIT = dict(embed_dims=16, depths=(2, 4), num_heads=(2, 4), out_indices=(0, 1))
SCHEDULES = [0.0, 0.5, [[0.6], [0.0, 0.4]]]
# Like variants 0 and 2, but narrow and shallow.
FASTERVITS = {
    '0': dict(arch='0', dim=16, in_dim=16, depths=(1, 1, 1, 1)),
    '2': dict(arch='2', dim=24, in_dim=16, depths=(1, 1, 2, 1)),
}
SIZES = [(224, 224), (256, 352), (150, 333)]


def build(cls, **arguments):
    torch.manual_seed(0)
    backbone = cls(**arguments).eval()
    backbone.init_weights()
    with torch.no_grad():  # else attention biases are near 0 and would not be tested
        for name, parameter in backbone.named_parameters():
            if 'bias_table' in name or 'gamma' in name:
                parameter.normal_(std=0.5)
    return backbone


def noise(batch, height, width):
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(batch))


def run_onnx(program, folder):
    write_onnx(program, folder / 'model.onnx')
    return OnnxModel(folder / 'model.onnx', threads=1)


@torch.no_grad()
def check_equal(model, exported, images):
    for theirs, ours in zip(model(images), exported(images), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


@pytest.mark.parametrize('ratios', SCHEDULES, ids=str)
@pytest.mark.parametrize('size', [(112, 112), (120, 200)], ids=str)
def test_sparsevit(ratios, size, tmp_path, onnx):
    backbone = build(SparseViT, **SPARSEVIT, pruning_ratios=ratios)
    images = noise(1, *size)
    exported = run_onnx(export_graph(backbone, images), tmp_path)
    check_equal(backbone, exported, images)
    operators = Counter(node.op_type for node in onnx.load(tmp_path / 'model.onnx').graph.node)
    # Two rankings a stage that prunes: of the plain grid and of the shifted one.
    stages = sum(max(stage) > 0 for stage in backbone.pruning_schedule.ratios)
    assert operators['TopK'] == 2 * stages
    assert (operators['ScatterND'] > 0) == (stages > 0)


@pytest.mark.parametrize('importance', ['contrast', 'peak', 'learned'])
def test_other_importances(importance, tmp_path, onnx):
    options = dict(pruning_ratios=SCHEDULES[2], importance=importance)
    backbone = build(SparseViT, **SPARSEVIT, **options)
    images = noise(1, 120, 200)
    if importance == 'learned':
        backbone.importance.objects = images[:, 0] > 1.5
        backbone.train()(images)
        backbone.eval()
        assert backbone.importance_state.has_learned
    check_equal(backbone, run_onnx(export_graph(backbone, images), tmp_path), images)


def test_windows_are_chosen_by_the_image_and_the_schedule_is_baked_in(tmp_path, onnx):
    backbone = build(SparseViT, **SPARSEVIT, pruning_ratios=0.5)
    exported = run_onnx(export_graph(backbone, noise(1, 112, 112)), tmp_path)
    images = torch.zeros(1, 3, 112, 112)
    check_equal(backbone, exported, images)  # of equal windows the first are kept
    images[..., 60:, :40] = 5 * noise(1, 52, 40)
    check_equal(backbone, exported, images)
    backbone.pruning_schedule = 0.2
    with pytest.raises(AssertionError, match='not close'):
        check_equal(backbone, exported, images)


def test_sparsevit_with_any_batch(tmp_path, onnx):
    backbone = build(SparseViT, **SPARSEVIT, pruning_ratios=SCHEDULES[2])
    program = export_graph(backbone, noise(1, 120, 112), dynamic_batch=True)
    exported = run_onnx(program, tmp_path)
    for batch in (1, 2, 5):
        check_equal(backbone, exported, noise(batch, 120, 112))
        check_equal(backbone, program.module(), noise(batch, 120, 112))


@pytest.mark.parametrize('allocation', ['batch', dict(type='batch', group_size=3)])
def test_images_that_share_a_budget(allocation, tmp_path, onnx):
    options = dict(pruning_ratios=SCHEDULES[2], allocation=allocation)
    backbone = build(SparseViT, **SPARSEVIT, **options)
    images = torch.cat([noise(3, 120, 200), noise(3, 120, 200) * 0.1 + 1])
    images[4, :, 40:60, 40:60] = 5
    exported = run_onnx(export_graph(backbone, images), tmp_path)
    check_equal(backbone, exported, images)
    check_equal(backbone, exported, images[[4, 0, 3, 5, 1, 2]])


def test_any_batch_may_share_a_budget(tmp_path, onnx):
    options = dict(pruning_ratios=SCHEDULES[2], allocation='batch')
    backbone = build(SparseViT, **SPARSEVIT, **options)
    program = export_graph(backbone, noise(1, 120, 112), dynamic_batch=True)
    exported = run_onnx(program, tmp_path)
    for batch in (1, 2, 5):
        check_equal(backbone, exported, noise(batch, 120, 112))


@pytest.mark.parametrize('variant', FASTERVITS)
def test_one_file_of_fastervit_for_any_size_and_batch(variant, tmp_path, onnx):
    backbone = build(FasterViT, **FASTERVITS[variant])
    program = export_graph(backbone, noise(1, 256, 320), dynamic_batch=True, dynamic_size=True)
    exported = run_onnx(program, tmp_path)
    assert exported.session.native.get_inputs()[0].shape == ['batch', 3, 'height', 'width']
    for batch, size in enumerate([*SIZES, (33, 64)], start=1):
        check_equal(backbone, exported, noise(batch, *size))
        check_equal(backbone, program.module(), noise(batch, *size))


@pytest.mark.parametrize('allocation', ['image', 'batch'])
def test_a_fastervit_that_skips_windows(allocation, tmp_path, onnx):
    backbone = build(
        FasterViT, **FASTERVITS['2'], pruning_ratios=[0, 0, 0.6, 0.5], do_propagation=True,
        layer_scale=0.5, allocation=allocation,
    )  # fmt: skip
    exported = run_onnx(export_graph(backbone, noise(1, 256, 320), dynamic_batch=True), tmp_path)
    for batch in (1, 3):
        check_equal(backbone, exported, noise(batch, 256, 320))
    with pytest.raises(ConfigError, match='skips windows'):
        export_graph(backbone, noise(1, 256, 320), dynamic_size=True)


def test_a_dynamic_graph_from_a_sample_whose_last_stage_is_one_window(export):
    backbone = build(FasterViT, **FASTERVITS['0'])
    program = export_graph(backbone, noise(1, 224, 224), dynamic_size=True)
    for size in SIZES:
        check_equal(backbone, program.module(), noise(1, *size))


@pytest.mark.slow
def test_the_inference_form_and_other_geometries_of_fastervit(tmp_path, onnx):
    backbone = build(
        FasterViT, arch='3', dim=16, in_dim=16, depths=(1, 1, 2, 1), carrier_pooling='centered',
        hat=(False, False, True, True), window_size=(7, 7, 8, 4), ct_size=1,
        out_norm_cfg=dict(type='LN'),
    ).switch_to_deploy()  # fmt: skip
    exported = run_onnx(export_graph(backbone, noise(1, 256, 320), dynamic_size=True), tmp_path)
    for size in SIZES:
        check_equal(backbone, exported, noise(1, *size))


@pytest.mark.parametrize('ratios', [0, 0.4])
def test_swin_with_carriers(ratios, tmp_path, onnx):
    backbone = build(
        SwinHAT, embed_dims=16, depths=(2, 2), num_heads=(2, 2), hat=(False, True),
        out_indices=(0, 1), pruning_ratios=ratios,
    )  # fmt: skip
    exported = run_onnx(export_graph(backbone, noise(1, 120, 112)), tmp_path)
    check_equal(backbone, exported, noise(1, 120, 112))


def test_a_file_of_torch_export(tmp_path, export):
    backbone = build(SparseViT, **SPARSEVIT, pruning_ratios=SCHEDULES[2])
    torch.export.save(export_graph(backbone, noise(1, 120, 112)), tmp_path / 'model.pt2')
    loaded = torch.export.load(tmp_path / 'model.pt2').module()
    check_equal(backbone, loaded, noise(1, 120, 112))


def test_export_leaves_the_backbone_as_it_was(export):
    backbone = build(FasterViT, **FASTERVITS['0'])
    with torch.no_grad():
        before = backbone(noise(1, *SIZES[1]))
        export_graph(backbone, noise(1, *SIZES[1]))
        after = backbone(noise(1, *SIZES[1]))
    for ours, theirs in zip(before, after):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_sparsevit_is_for_one_size():
    backbone = build(SparseViT, **SPARSEVIT)
    with pytest.raises(ConfigError, match='dynamic_size is asked for SparseViT'):
        export_graph(backbone, noise(1, 112, 112), dynamic_size=True)
