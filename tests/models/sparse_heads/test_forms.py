"""Sparse heads compiled, exported, as ONNX, in the inference form and in training."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from sparsevit_mm import optimize_for_inference
from sparsevit_mm.deployment.graph import export_graph
from sparsevit_mm.deployment.onnx_file import INPUT, write_onnx
from sparsevit_mm.deployment.parts import exportable
from sparsevit_mm.models.sparse_heads import make_heads_sparse
from tests.helpers.head_networks import detector, segmentor, two_stage

pytestmark = pytest.mark.tools

NETWORKS = {
    'UPerNet': (segmentor, (0.6, 0.3, 0, 0)),
    'RetinaNet': (detector, (0, 0.5, 0.5, 0)),
    'Faster R-CNN': (two_stage, (0.6, 0.5, 0, 0)),
}
IMAGES = (1, 3, 128, 160)


def sparse(name):
    build, ratios = NETWORKS[name]
    return make_heads_sparse(build().eval(), ratios)


@pytest.mark.parametrize('name', NETWORKS)
def test_a_graph_gives_the_same(name, export):
    part = exportable(sparse(name), 'model').eval()
    images = torch.rand(IMAGES)
    with torch.no_grad():
        right = part(images)
    found = export_graph(part, images).module()(images)
    for one, other in zip(*((x,) if isinstance(x, torch.Tensor) else x for x in (found, right))):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_an_onnx_file_gives_the_same(tmp_path, onnx):
    import onnxruntime

    part = exportable(sparse('RetinaNet'), 'model').eval()
    images = torch.rand(IMAGES)
    write_onnx(export_graph(part, images), tmp_path / 'model.onnx')
    session = onnxruntime.InferenceSession(str(tmp_path / 'model.onnx'))
    found = session.run(None, {INPUT: images.numpy()})
    with torch.no_grad():
        right = part(images)
    for one, other in zip(found, right):
        np.testing.assert_allclose(one, other.numpy(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize('name', ['UPerNet', 'RetinaNet'])
def test_a_compiled_model_gives_the_same(name, compiler):
    torch._dynamo.reset()
    part = exportable(sparse(name), 'model').eval()
    images = torch.rand(IMAGES)
    compiled = torch.compile(part, backend='aot_eager')
    with torch.no_grad():
        right, found, again = part(images), compiled(images), compiled(images)
    for result in (found, again):
        for one, other in zip(tensors(result), tensors(right)):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
    torch._dynamo.reset()


@pytest.mark.parametrize('name', NETWORKS)
@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_the_inference_form_gives_the_same(name, dtype):
    model = sparse(name)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    fast = exportable(optimize_for_inference(copy.deepcopy(model), dtype), 'model')
    images = torch.rand(IMAGES)
    with torch.no_grad():
        right, found = exportable(model, 'model')(images), fast(images)
    assert any(type(module).__name__ == 'FastSparseConv2d' for module in fast.modules())
    if name == 'UPerNet':
        assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in fast.modules())
    for one, other in zip(tensors(found), tensors(right)):
        if dtype == 'float32':
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)
        else:  # a window or two may change places
            assert (one.float() - other).abs().mean() < 0.15 * other.abs().mean()


def tensors(outputs):
    return (outputs,) if isinstance(outputs, torch.Tensor) else outputs


@pytest.mark.parametrize('name', NETWORKS)
def test_it_learns(name):
    """A few steps on one batch: every parameter has a gradient, and the loss falls."""
    build, ratios = NETWORKS[name]
    torch.manual_seed(0)
    model = make_heads_sparse(build(), ratios).train()
    batch = segments() if name == 'UPerNet' else boxes()
    batch = model.data_preprocessor(batch, training=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    losses = []
    for step in range(12):
        torch.manual_seed(1)
        loss, _ = model.parse_losses(model(**batch, mode='loss'))
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            without = [n for n, p in model.named_parameters() if p.grad is None]
            assert not [n for n in without if not n.startswith('backbone.norm0')], without
            assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0], losses


def segments():
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    images, samples = [], []
    for i in range(2):
        label = torch.zeros(1, 96, 128, dtype=torch.long)
        label[:, 20 + 8 * i : 60, 30:90] = 1 + i
        images.append((torch.randn(3, 96, 128) + 2 * label).clamp(0, 255))
        samples.append(SegDataSample(gt_sem_seg=PixelData(data=label)))
        samples[-1].set_metainfo(dict(img_shape=(96, 128), ori_shape=(96, 128)))
    return dict(inputs=images, data_samples=samples)


def boxes():
    from mmdet.structures import DetDataSample
    from mmengine.structures import InstanceData

    images, samples = [], []
    for i in range(2):
        box = torch.tensor([[30.0, 20.0 + 8 * i, 80.0, 76.0]])
        image = torch.randn(3, 96, 128)
        image[:, 20 + 8 * i : 76, 30:80] += 2
        images.append(image)
        instances = InstanceData(bboxes=box, labels=torch.tensor([i]))
        samples.append(DetDataSample(gt_instances=instances))
        samples[-1].set_metainfo(
            dict(
                img_shape=(96, 128),
                ori_shape=(96, 128),
                scale_factor=(1.0, 1.0),
                pad_shape=(96, 128),
            )
        )
    return dict(inputs=images, data_samples=samples)
