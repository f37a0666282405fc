"""Backbones under `torch.compile`: one graph, for all images of a size or for all sizes."""

from __future__ import annotations

import os
import shutil

import pytest
import torch
from torch._dynamo.testing import CompileCounter

from conftest import with_larger_weights
from sparsevit_mm import FasterViT, SparseViT, SwinHAT

SWIN = dict(embed_dims=8, depths=(2,), num_heads=(2,), window_size=4, out_indices=(0,))
FASTERVIT = dict(
    dim=4,
    in_dim=4,
    depths=(1, 1, 1, 1),
    num_heads=(1, 1, 2, 2),
    window_size=(3, 3, 3, 2),
    hat=(False, False, True, False),
    layer_scale=0.5,
    do_propagation=True,
)
BACKBONES = {
    'dense': lambda: SparseViT(**SWIN),
    'sparse': lambda: SparseViT(**SWIN, pruning_ratios=[[0.3, 0.6]]),
    'contrast': lambda: SparseViT(**SWIN, pruning_ratios=[[0.3, 0.6]], importance='contrast'),
    'shared': lambda: SparseViT(**SWIN, pruning_ratios=[[0.3, 0.6]], allocation='batch'),
    'carriers': lambda: SwinHAT(**SWIN, hat=(True,)),
    'fastervit': lambda: FasterViT(**FASTERVIT),
    'sparse fastervit': lambda: FasterViT(**FASTERVIT, pruning_ratios=0.5),
    'sparse carriers': lambda: SwinHAT(**SWIN, hat=(True,), pruning_ratios=0.4),
}

COMPILERS = (os.environ.get('CXX', 'g++'), 'clang++')
OTHERS = ('dense', 'carriers', 'sparse carriers')
LONG = pytest.param('fastervit', marks=pytest.mark.slow)


@pytest.fixture(autouse=True)
def forget_graphs(compiler):
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def assert_same(compiled, net, images):
    for found, expected in zip(compiled(images), net(images)):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    'name',
    [
        'sparse',
        'contrast',
        'shared',
        'fastervit',
        'sparse fastervit',
        *(pytest.param(n, marks=pytest.mark.slow) for n in OTHERS),
    ],
)
def test_one_graph_serves_all_images_of_a_size(name):
    net, counter = with_larger_weights(BACKBONES[name]()), CompileCounter()
    compiled = torch.compile(net, backend=counter, fullgraph=True)
    with torch.no_grad():
        for _ in range(2):
            assert_same(compiled, net, torch.randn(2, 3, 70, 90))
    assert counter.frame_count == 1


@pytest.mark.parametrize('name', ['sparse', LONG])
def test_one_graph_serves_all_sizes(name):
    net, counter = with_larger_weights(BACKBONES[name]()), CompileCounter()
    compiled = torch.compile(net, backend=counter, fullgraph=True)
    with torch.no_grad():
        for height, width in ((70, 90), (130, 110), (96, 128), (99, 193)):
            images = torch.randn(2, 3, height, width)
            torch._dynamo.mark_dynamic(images, (2, 3))
            assert_same(compiled, net, images)
    assert counter.frame_count == 1


@pytest.mark.parametrize('name', ['sparse', LONG])
def test_a_compiled_backbone_trains(name):
    net = with_larger_weights(BACKBONES[name]())
    compiled = torch.compile(net, backend='aot_eager', fullgraph=True)
    images = torch.randn(2, 3, 70, 90)
    gradients = [
        torch.autograd.grad(
            sum(output.square().mean() for output in forward(images)), list(net.parameters())
        )
        for forward in (compiled, net)
    ]
    for found, expected in zip(*gradients):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('name', ['sparse', LONG])
def test_kernels_are_part_of_the_graph(name, triton_device):
    net, counter = with_larger_weights(BACKBONES[name]()).to(triton_device), CompileCounter()
    compiled = torch.compile(net, backend=counter, fullgraph=True)
    with torch.no_grad():
        for height, width in ((70, 90), (66, 99)):
            images = torch.randn(1, 3, height, width, device=triton_device)
            torch._dynamo.mark_dynamic(images, (2, 3))
            assert_same(compiled, net, images)
    assert counter.frame_count == 1


@pytest.mark.skipif(not any(map(shutil.which, COMPILERS)), reason='needs a C++ compiler')
@pytest.mark.parametrize(
    'name',
    [
        'dense',
        'sparse',
        *(pytest.param(n, marks=pytest.mark.slow) for n in ('carriers', 'fastervit')),
    ],
)
def test_generated_code_computes_the_same(name):
    net = with_larger_weights(BACKBONES[name]())
    compiled = torch.compile(net, fullgraph=True)
    with torch.no_grad():
        assert_same(compiled, net, torch.randn(2, 3, 70, 90))
