"""What a backbone computes follows the weights it has now, and whatever hangs on its layers.

Weights change behind one's back: fused optimizers, `.data`, views, swaps of running averages,
`functional_call`. Each time the outputs are those of a fresh network with the same weights.
"""

from __future__ import annotations

import threading

import pytest
import torch
from mmengine.model import ExponentialMovingAverage
from torch import nn
from torch.func import functional_call
from torch.nn.utils import prune

from conftest import with_larger_weights
from sparsevit_mm import FasterViT, SparseViT, SwinHAT

SWIN = dict(embed_dims=8, depths=(2, 2), num_heads=(1, 2), window_size=4, out_indices=(0, 1))
FASTERVIT = dict(
    dim=4,
    in_dim=4,
    depths=(1, 1, 1, 1),
    num_heads=(1, 1, 2, 2),
    window_size=(3, 3, 3, 3),
    hat=(False, False, True, True),
    layer_scale=0.5,
    do_propagation=True,
    out_norm_cfg=dict(type='LN'),
)
BACKBONES = {
    'sparsevit': lambda: SparseViT(**SWIN, pruning_ratios=[[0.4], [0.0]]),
    'swin_hat': lambda: SwinHAT(**SWIN, hat=(True, False), pruning_ratios=0.3),
    'fastervit': lambda: FasterViT(**FASTERVIT, pruning_ratios=0.4),
}
IMAGES = torch.randn(2, 3, 70, 90, generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=BACKBONES)
def build(request):
    return lambda: with_larger_weights(BACKBONES[request.param]())


def assert_as_fresh(net, build):
    """Outputs, in inference, are those of a new network with the same state."""
    fresh = build()
    fresh.load_state_dict(net.state_dict())
    with torch.no_grad():
        for found, expected in zip(net(IMAGES), fresh(IMAGES)):
            torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


def test_a_fused_optimizer_in_evaluation(build):
    net = build()
    try:
        optimizer = torch.optim.AdamW(net.parameters(), lr=0.1, fused=True)
    except RuntimeError as error:
        pytest.skip(f'this torch has no fused AdamW on a CPU: {error}')
    for _ in range(2):
        assert_as_fresh(net, build)
        sum(output.square().mean() for output in net(IMAGES)).backward()
        optimizer.step()
    assert_as_fresh(net, build)


def test_writes_through_data_and_views(build):
    net = build()
    assert_as_fresh(net, build)
    for parameter in net.parameters():
        parameter.data.mul_(1.5)
    assert_as_fresh(net, build)
    for parameter in net.parameters():
        parameter.detach().numpy()[...] *= -0.7
    assert_as_fresh(net, build)


def test_a_swap_of_running_averages_and_back(build):
    net = build()
    average = ExponentialMovingAverage(net, momentum=0.5)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(0.5)
        average.update_parameters(net)
        average.update_parameters(net)
    for _ in range(2):
        assert_as_fresh(net, build)
        for mine, theirs in zip(net.parameters(), average.module.parameters()):
            swapped = theirs.data.clone()
            theirs.data.copy_(mine.data)
            mine.data.copy_(swapped)
    assert_as_fresh(net, build)


def test_twelve_members_by_functional_call(build):
    net, generator = build(), torch.Generator().manual_seed(1)
    for _ in range(12):
        member = {
            name: value + 0.1 * torch.randn(value.shape, generator=generator)
            for name, value in net.named_parameters()
        }
        fresh = build()
        fresh.load_state_dict(member, strict=False)
        with torch.no_grad():
            found = functional_call(net, member, (IMAGES,))
            for mine, expected in zip(found, fresh(IMAGES)):
                torch.testing.assert_close(mine, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize('deployed', [False, True])
def test_four_threads_serve_sixteen_sizes(deployed):
    net = with_larger_weights(FasterViT(**FASTERVIT))
    if deployed:
        net.switch_to_deploy()
    images = [torch.randn(1, 3, 32 + 12 * n, 120 - 5 * n) for n in range(16)]
    with torch.no_grad():
        expected = [net(image) for image in images]
    wrong = []

    def serve(first):
        with torch.inference_mode():
            for n in range(48):
                number = (first + 5 * n) % 16
                try:
                    for mine, theirs in zip(net(images[number]), expected[number]):
                        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5)
                except Exception as error:
                    wrong.append((number, error))

    threads = [threading.Thread(target=serve, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def layers_of(net):
    """Every layer with weights of its own."""
    kinds = (nn.Linear, nn.Conv2d, nn.LayerNorm, nn.BatchNorm2d)
    return {name: module for name, module in net.named_modules() if isinstance(module, kinds)}


def outputs_of(net):
    with torch.no_grad():
        return torch.cat([output.flatten() for output in net(IMAGES)])


@pytest.fixture(params=['auto', 'onednn'])
def products(request):
    """With PyTorch's products and with oneDNN's, which take the place of plain layers."""
    from sparsevit_mm.ops import backend

    if request.param == 'onednn' and not backend.HAS_ONEDNN:
        pytest.skip('torch was built without oneDNN')
    with backend.use(request.param):
        yield


def test_hooks_on_every_layer_take_effect(build, products):
    net, called = build(), set()
    plain = outputs_of(net)
    for name in layers_of(net):
        module = net.get_submodule(name)
        before = module.register_forward_pre_hook(lambda *_, name=name: called.add(name))
        changed = module.register_forward_hook(lambda _, args, output: output * 1.5 + 0.1)
        assert not torch.equal(outputs_of(net), plain), name
        before.remove()
        changed.remove()
    assert called == set(layers_of(net))
    torch.testing.assert_close(outputs_of(net), plain)


class Adapted(nn.Module):
    """A layer and a low-rank addition beside it, as LoRA puts in the place of a layer."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer
        self.down = nn.Linear(layer.in_features, 2, bias=False)
        self.up = nn.Linear(2, layer.out_features, bias=False)

    def __getattr__(self, name):
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__('layer'), name)

    def forward(self, rows):
        return self.layer(rows) + self.up(self.down(rows))


def test_adapters_on_every_linear_layer_take_effect(build, products):
    net = build()
    plain = outputs_of(net)
    linear = [name for name, layer in layers_of(net).items() if isinstance(layer, nn.Linear)]
    for name in linear:
        parent = net.get_submodule(name.rpartition('.')[0])
        layer, own = net.get_submodule(name), name.rpartition('.')[2]
        setattr(parent, own, Adapted(layer))
        assert not torch.equal(outputs_of(net), plain), name
        setattr(parent, own, layer)
    assert len(linear) > 8


def test_a_forward_of_ones_own_takes_effect(build, products):
    net = build()
    plain = outputs_of(net)
    for name, layer in layers_of(net).items():
        original = layer.forward
        layer.forward = lambda rows, original=original: original(rows) * 1.5 + 0.1
        assert not torch.equal(outputs_of(net), plain), name
        del layer.forward


def test_pruning_masks_on_every_layer_take_effect(build, products):
    net = build()
    plain = outputs_of(net)
    for name, layer in layers_of(net).items():
        before = layer.weight.detach().clone()
        prune.random_unstructured(layer, 'weight', amount=0.7)
        assert not torch.equal(outputs_of(net), plain), name
        prune.remove(layer, 'weight')
        with torch.no_grad():
            layer.weight.copy_(before)
    torch.testing.assert_close(outputs_of(net), plain)


def test_dynamic_quantization_finds_the_linear_layers(build):
    net = build()
    quantized = torch.ao.quantization.quantize_dynamic(net, {nn.Linear}, dtype=torch.qint8)
    left = [name for name, layer in layers_of(quantized).items() if type(layer) is nn.Linear]
    assert not left
    full, small = outputs_of(net), outputs_of(quantized)
    assert not torch.equal(full, small)
    assert torch.nn.functional.cosine_similarity(full, small, dim=0) > 0.95
