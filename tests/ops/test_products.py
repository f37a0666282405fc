"""Products by either library."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounter
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from conftest import with_larger_weights
from sparsevit_mm import FasterViT, SparseViT
from sparsevit_mm.ops import backend
from sparsevit_mm.ops.compat import plain_attention
from sparsevit_mm.ops.tokens import linear
from sparsevit_mm.profiling.model_macs import model_macs

pytestmark = pytest.mark.skipif(not backend.HAS_ONEDNN, reason='torch was built without oneDNN')

ONEDNN = 'mkldnn::_linear_pointwise'
ROWS = {
    'matrix': lambda: torch.randn(10, 16),
    'windows': lambda: torch.randn(3, 5, 16),
    'of a larger tensor': lambda: torch.randn(3, 5, 32)[..., ::2],
    'transposed': lambda: torch.randn(5, 3, 16).transpose(0, 1),
    'none': lambda: torch.randn(0, 5, 16),
}
BACKBONES = {
    'sparsevit': lambda: SparseViT(
        embed_dims=8, depths=(2, 2), num_heads=(1, 2), out_indices=(0, 1), pruning_ratios=0.4
    ),
    'fastervit': lambda: FasterViT(
        dim=4, in_dim=4, depths=(1, 1, 1, 1), num_heads=(1, 1, 2, 2), out_indices=(2, 3)
    ),
}


def operators(run):
    """Names of the operators that run."""
    with profile(activities=[ProfilerActivity.CPU]) as found:
        run()
    return {event.key for event in found.key_averages()}


@pytest.mark.parametrize('rows', ROWS.values(), ids=ROWS)
@pytest.mark.parametrize('with_bias', [True, False])
def test_products_are_those_of_pytorch(rows, with_bias):
    given, layer = rows(), nn.Linear(16, 24, bias=with_bias)
    with torch.no_grad(), backend.use('onednn'):
        found = linear(layer, given)
        assert ONEDNN in operators(lambda: linear(layer, given))
    torch.testing.assert_close(found, layer(given))


def test_gradients_come_from_pytorch():
    layer, rows = nn.Linear(16, 24), torch.randn(10, 16)
    with backend.use('onednn'):
        linear(layer, rows).square().sum().backward()
    expected = 2 * (rows @ layer.weight.T + layer.bias).T @ rows
    torch.testing.assert_close(layer.weight.grad, expected.detach(), rtol=1e-4, atol=1e-4)


def test_one_graph_has_the_products_for_any_number_of_rows():
    layer, counter = nn.Linear(16, 24), CompileCounter()
    compiled = torch.compile(lambda rows: linear(layer, rows), backend=counter, fullgraph=True)
    torch._dynamo.reset()
    with torch.no_grad(), backend.use('onednn'):
        for number in (3, 5, 8):
            rows = torch.randn(number, 16)
            torch._dynamo.mark_dynamic(rows, 0)
            torch.testing.assert_close(compiled(rows), layer(rows))
            assert ONEDNN in operators(lambda given=rows: compiled(given))
    assert counter.frame_count == 1


@pytest.mark.parametrize('name', BACKBONES)
def test_backbones_give_the_same_maps_and_macs(name):
    net, images = with_larger_weights(BACKBONES[name]()), torch.randn(2, 3, 75, 90)
    if name == 'fastervit':
        net.switch_to_deploy()  # else torch counts what follows from the weights, too
    maps, macs, seen = {}, {}, {}
    for library in ('pytorch', 'onednn'):
        with torch.no_grad(), backend.use(library):
            maps[library] = net(images)
            seen[library] = operators(lambda: net(images))
            macs[library] = model_macs(net, lambda: net(images)).total
            with FlopCounterMode(display=False) as counter, plain_attention():
                net(images)
            assert counter.get_total_flops() == 2 * macs[library]
    assert ONEDNN in seen['onednn'] - seen['pytorch']
    assert macs['pytorch'] == macs['onednn'] > 0
    for found, expected in zip(maps['onednn'], maps['pytorch']):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
