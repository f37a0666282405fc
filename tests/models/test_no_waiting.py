"""Inference never waits for the device, so that a CUDA graph can capture it.

This is checked on a CPU: a forward on warm caches asks no tensor for a value, makes no tensor whose
shape depends on values and moves none between devices.
"""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from conftest import with_larger_weights
from sparsevit_mm import FasterViT, SparseViT, SwinHAT
from sparsevit_mm.deployment.cuda_graph import capture
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.ops import backend, windows

SWIN = dict(embed_dims=8, depths=(2, 2), num_heads=(1, 2), window_size=4, out_indices=(0, 1))
FASTERVIT = dict(
    dim=4,
    in_dim=4,
    depths=(1, 1, 1, 1),
    num_heads=(1, 1, 2, 2),
    window_size=(3, 3, 3, 3),
    hat=(False, False, True, True),
)
BACKBONES = {
    'sparse': lambda: SparseViT(**SWIN, pruning_ratios=[[0.3, 0.6], [0.5]]),
    'sparse, other padding': lambda: SparseViT(**SWIN, pruning_ratios=0.5, padding='sparsevit'),
    'shared budget': lambda: SparseViT(**SWIN, pruning_ratios=0.5, allocation='batch'),
    'carriers': lambda: SwinHAT(**SWIN, hat=(True, False)),
    'fastervit': lambda: FasterViT(**FASTERVIT),
    'sparse carriers': lambda: SwinHAT(**SWIN, hat=(True, False), pruning_ratios=0.5),
    'sparse fastervit': lambda: FasterViT(**FASTERVIT, pruning_ratios=0.5, allocation='batch'),
}

WAITING = {
    '_local_scalar_dense',
    'nonzero',
    'masked_select',
    'unique_consecutive',
    '_unique2',
    'equal',
    'is_nonzero',
    'bincount',
    # Tensors made from numbers of the host are copied to the device.
    'scalar_tensor',
    'lift_fresh',
    'lift_fresh_copy',
}


class RefuseToWait(TorchDispatchMode):
    """Fails on operators that make the host wait for a GPU or copy to it."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        name = operator.overloadpacket.__name__
        self.seen.add(name)
        assert name not in WAITING, name
        indices = args[1] if name in ('index', 'index_put', 'index_put_') else ()
        assert not any(index is not None and index.dtype == torch.bool for index in indices), name
        assert 'device' not in (kwargs or {}) or name not in ('_to_copy', 'to'), name
        return operator(*args, **(kwargs or {}))


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """A CPU counts windows with masks and may have oneDNN's products; a GPU has neither."""
    monkeypatch.setattr(windows, '_edge_windows', lambda grid, batch_size, device: None)
    with backend.use('pytorch'):
        yield


@pytest.mark.parametrize('name', BACKBONES)
def test_a_forward_asks_for_no_value(name, as_on_a_gpu):
    net, images = with_larger_weights(BACKBONES[name]()), torch.randn(2, 3, 70, 90)
    with torch.no_grad():
        expected = net(images)
        with RefuseToWait() as mode:
            found = net(images)
    assert len(mode.seen) > 10
    assert all(torch.equal(a, b) for a, b in zip(found, expected))


def test_the_check_sees_what_waits():
    values = torch.tensor([1.0, 0.0])
    for wait in (lambda: values[0].item(), lambda: values[values > 0], lambda: values.nonzero()):
        with pytest.raises(AssertionError), RefuseToWait():
            wait()


def test_only_a_gpu_has_graphs():
    net = with_larger_weights(BACKBONES['sparse']())
    with pytest.raises(ConfigError, match='images are on cpu and training is False'):
        capture(net, torch.zeros(1, 3, 64, 64))


@pytest.mark.skipif(not torch.cuda.is_available(), reason='CUDA graphs need a GPU')
@pytest.mark.parametrize('name', BACKBONES)
def test_a_captured_backbone_computes_the_same(name):
    net = with_larger_weights(BACKBONES[name]()).cuda()
    forward = capture(net, torch.zeros(2, 3, 70, 90, device='cuda'))
    for _ in range(2):
        images = torch.randn(2, 3, 70, 90, device='cuda')
        with torch.no_grad():
            expected = net(images)
        for found, wanted in zip(forward(images), expected):
            torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
