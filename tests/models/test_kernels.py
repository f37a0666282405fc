"""Whole backbones by Triton's kernels against the same by PyTorch's operators."""

from __future__ import annotations

import copy

import pytest
import torch

from conftest import with_larger_weights
from sparsevit_mm import FasterViT, SparseViT, SwinHAT
from sparsevit_mm.models.ablations import AblatedSparseViT
from sparsevit_mm.ops import backend
from tests.models import test_fastervit as test_fastervit_numbers
from tests.models import test_sparsevit as test_sparsevit_numbers
from tests.models.test_sparsevit import authors_checkpoint  # noqa: F401 -- a fixture

TOLERANCE = {torch.float32: 1e-5, torch.float16: 1e-2}
# One level is enough of a Swin: its blocks do not know of others.
SWIN = dict(embed_dims=16, depths=(2, 2), num_heads=(1, 2), window_size=4, out_indices=(0, 1))


def fastervit(**kwargs):
    options = dict(
        dim=4,
        in_dim=4,
        depths=(1, 1, 1, 1),
        num_heads=(1, 1, 2, 2),
        window_size=(3, 3, 3, 3),
        layer_scale=0.5,
        do_propagation=True,
    )
    return FasterViT(**{**options, **kwargs})


def assert_kernels_compute(net, images, dtype, device, names):
    """The kernels named run, and the maps are PyTorch's."""
    net, images = copy.deepcopy(net).to(device, dtype), images.to(device, dtype)
    with torch.no_grad():
        with backend.use('pytorch'):
            expected = net(images)
        with torch.profiler.profile() as profile:
            found = net(images)
    ran = {event.key.partition('::')[2] for event in profile.key_averages()}
    assert set(names) <= ran
    for mine, theirs in zip(found, expected):
        assert mine.dtype == dtype
        torch.testing.assert_close(mine, theirs, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize('dtype', list(TOLERANCE))
@pytest.mark.parametrize(
    'options, height, width',
    [
        (dict(), 32, 64),
        (dict(pruning_ratios=[[0.5], [0.3]]), 32, 64),
        (dict(pruning_ratios=[[0.0, 0.6], [0.4]]), 41, 70),
        (dict(pruning_ratios=[[0.5], [0.0]], padding='sparsevit'), 41, 70),
        (dict(pruning_ratios=[[0.5], [0.3]], allocation='batch'), 41, 70),
    ],
)
def test_sparsevit(options, height, width, dtype, triton_device):
    names = ['gather_norm', 'window_attention', 'residual_norm', 'residual_scatter_']
    net = with_larger_weights(SparseViT(**SWIN, **options))
    assert_kernels_compute(net, torch.randn(2, 3, height, width), dtype, triton_device, names)


def test_zeroed_windows(triton_device):
    net = with_larger_weights(AblatedSparseViT(**SWIN, pruning_ratios=0.5, skipped='zeroed'))
    names = ['residual_scatter_']
    assert_kernels_compute(net, torch.randn(1, 3, 41, 70), torch.float32, triton_device, names)


@pytest.mark.parametrize('dtype', list(TOLERANCE))
@pytest.mark.parametrize('ratios', [0, 0.4])
def test_swin_with_carriers(ratios, dtype, triton_device):
    net = with_larger_weights(SwinHAT(**SWIN, hat=(False, True), pruning_ratios=ratios))
    names = ['window_attention', 'residual_norm']
    assert_kernels_compute(net, torch.randn(1, 3, 41, 50), dtype, triton_device, names)


@pytest.mark.parametrize('dtype', list(TOLERANCE))
@pytest.mark.parametrize('hat', [(False, False, False, False), (False, False, True, True)])
@pytest.mark.parametrize('ratios', [0, 0.4])
def test_fastervit(ratios, hat, dtype, triton_device):
    net = with_larger_weights(fastervit(hat=hat, pruning_ratios=ratios))
    names = ['window_attention', 'residual_norm']
    assert_kernels_compute(net, torch.randn(1, 3, 75, 98), dtype, triton_device, names)


def test_windows_are_computed_in_chunks(triton_device, monkeypatch):
    from sparsevit_mm.ops import windows

    net = with_larger_weights(SparseViT(**SWIN, pruning_ratios=0.4)).to(triton_device)
    images = torch.randn(2, 3, 41, 70, device=triton_device)
    with torch.no_grad():
        at_once = net(images)
        monkeypatch.setattr(windows, '_CPU_BYTES', 7 * 16 * 64 * 4)
        monkeypatch.setattr(windows, '_OTHER_BYTES', 7 * 16 * 64 * 4)
        for found, expected in zip(net(images), at_once):
            torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    'build',
    [
        lambda: SparseViT(**{**SWIN, 'depths': (2, 1)}, pruning_ratios=0.4),
        lambda: fastervit(hat=(False, False, True, False), out_indices=(2,)),
    ],
)
def test_gradients_do_not_depend_on_the_choice(build, triton_device):
    net = with_larger_weights(build()).to(triton_device)
    images = torch.randn(1, 3, 41, 50, device=triton_device)
    gradients = []
    for choice in ('pytorch', 'triton'):
        with backend.use(choice):
            total = sum(output.square().mean() for output in net(images))
            gradients.append(torch.autograd.grad(total, list(net.parameters())))
    for found, expected in zip(*gradients):
        torch.testing.assert_close(found, expected)


INTERPRETED = pytest.mark.skipif(torch.cuda.is_available(), reason='compares on the CPU')


@INTERPRETED
def test_the_authors_numbers_of_fastervit(triton_device, tmp_path):
    test_fastervit_numbers.test_equals_the_authors_numbers('scaled_propagate', '224', tmp_path)


@INTERPRETED
@pytest.mark.slow
@pytest.mark.parametrize('case', ['dense_224x224', 'cfg2_padded_250x333'])
def test_the_authors_numbers_of_sparsevit(case, authors_checkpoint, triton_device):  # noqa: F811
    test_sparsevit_numbers.test_equals_the_authors_numbers(case, authors_checkpoint)
