"""Swin with carriers: Swin where it has none, and what carriers must and must not do."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sparsevit_mm import SparseViT, SwinHAT
from sparsevit_mm.errors import CheckpointError, ConfigError
from tests.helpers.slow_swin_hat import slow_forward

SMALL = dict(
    embed_dims=8, depths=(1, 2, 2), num_heads=(1, 2, 4), drop_path_rate=0.0, out_indices=(0, 1, 2)
)


def build(cls=SwinHAT, **kwargs):
    torch.manual_seed(0)
    options = dict(hat=(False, True, True)) if cls is SwinHAT else {}
    net = cls(**{**SMALL, **options, **kwargs})
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return net


def saved_swin(folder):
    swin, path = build(SparseViT), folder / 'swin.pth'
    torch.save({'state_dict': {f'backbone.{n}': v for n, v in swin.state_dict().items()}}, path)
    return swin.eval(), dict(type='Pretrained', checkpoint=str(path))


@pytest.mark.parametrize('height, width', [(64, 64), (90, 133), (5, 200)])
def test_stages_without_carriers_are_swin(tmp_path, height, width):
    swin, init_cfg = saved_swin(tmp_path)
    net = SwinHAT(**SMALL, hat=(False, False, True), init_cfg=init_cfg)
    net.init_weights()
    net.eval()
    images = torch.randn(2, 3, height, width)
    with torch.no_grad():
        for stage, (a, b) in enumerate(zip(net(images), swin(images))):
            assert torch.allclose(a, b, rtol=1e-5, atol=1e-5) == (stage < 2)
            assert a.isfinite().all()


def test_swin_checkpoint_loads_for_the_rest(tmp_path):
    swin, init_cfg = saved_swin(tmp_path)
    net = SwinHAT(**SMALL, hat=(False, True, True), init_cfg=init_cfg)
    net.init_weights()
    for name, value in swin.state_dict().items():
        assert net.state_dict()[name].equal(value)
    own = [name for name in net.state_dict() if name not in swin.state_dict()]
    assert own
    assert all('.carriers.' in name or '.carrier_pooling.' in name for name in own)
    torch.save(net.state_dict(), tmp_path / 'hat.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'hat.pth'))
    with pytest.raises(CheckpointError, match='has no place'):
        SparseViT(**SMALL, init_cfg=init_cfg).init_weights()


def test_hidden_carriers_make_it_swin():
    """With every carrier hidden as a key, what is left is Swin."""
    from sparsevit_mm.models.swin import WindowAttention
    from sparsevit_mm.ops.attention import Masks, edge_masks
    from sparsevit_mm.ops.windows import WindowGrid, Windows

    torch.manual_seed(0)
    attention = WindowAttention(8, 2, 3).eval()
    with torch.no_grad():
        attention.relative_position_bias_table.normal_()
    grid = WindowGrid(6, 9, 3, 1)
    edges, mask_ids = edge_masks(Windows.locate(grid, 1, None, torch.device('cpu')))
    tokens, windows = torch.randn(6, 4, 8), torch.randn(6, 9, 8)
    joined = torch.nn.functional.pad(edges, (4, 0, 4, 0))
    without = joined.clone()
    without[..., :4] = -torch.inf
    hidden = attention(torch.cat([tokens, windows], 1), Masks(without, mask_ids))
    torch.testing.assert_close(hidden[:, 4:], attention(windows, Masks(edges, mask_ids)))
    seen = attention(torch.cat([tokens, windows], 1), Masks(joined, mask_ids))
    assert not torch.allclose(seen[:, 4:], hidden[:, 4:])


def test_carriers_connect_distant_windows():
    """One block of Swin without shift sees its window only; carriers bring in the rest."""
    settings = dict(embed_dims=8, depths=(1,), num_heads=(1,), out_indices=(0,))
    images = torch.randn(1, 3, 84, 84)
    changed = images.clone()
    changed[..., -20:, -20:] += 1
    for hat in (False, True):
        net = build(**settings, hat=(hat,)).eval()
        with torch.no_grad():
            difference = (net(images)[0] - net(changed)[0]).abs()
        assert (difference[..., :7, :7].max() > 1e-6) == hat


@pytest.mark.parametrize('shape', [(2, 3, 60, 90), (1, 3, 1, 1), (1, 3, 33, 260)])
def test_trains_at_any_size_with_every_parameter(shape):
    net = build(hat=(True, True, True), layer_scale=0.5).train()
    sum(output.square().mean() for output in net(torch.randn(shape))).backward()
    assert [name for name, p in net.named_parameters() if p.grad is None] == []
    assert all(p.grad.isfinite().all() for p in net.parameters())
    copy.deepcopy(net)


RATIOS = st.sampled_from([0.0, 0.3, 0.5, 0.9])


@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    sides=st.tuples(st.integers(4, 40), st.integers(4, 40)),
    batch=st.integers(1, 3),
    hat=st.sampled_from([(True, True), (False, True), (True, False)]),
    ratios=st.tuples(*[st.tuples(RATIOS, RATIOS)] * 2),
    with_cp=st.booleans(),
    allocation=st.sampled_from(['image', 'batch']),
)
def test_skipping_equals_masked_dense(sides, batch, hat, ratios, with_cp, allocation):
    """Outputs and gradients; carriers of skipped windows go on, their tokens stay."""
    net = build(
        depths=(2, 2),
        num_heads=(1, 2),
        out_indices=(0, 1),
        hat=hat,
        pruning_ratios=[*map(sorted, ratios)],
        with_cp=with_cp,
        allocation=allocation,
        layer_scale=0.5,
    ).double()
    images = torch.randn(batch, 3, *(4 * side for side in sides), dtype=torch.float64)
    images.requires_grad_()
    outputs, expected = net(images), slow_forward(net, images)
    probes = [torch.randn_like(output) for output in outputs]
    for mine, reference in zip(outputs, expected):
        torch.testing.assert_close(mine, reference, rtol=1e-9, atol=1e-9)
    gradients, slow_gradients = (
        torch.autograd.grad(
            sum((o * p).sum() for o, p in zip(found, probes)),
            [images, *net.parameters()],
            materialize_grads=True,
        )
        for found in (outputs, expected)
    )
    for mine, reference in zip(gradients, slow_gradients):
        torch.testing.assert_close(mine, reference, rtol=1e-8, atol=1e-8)
    with torch.no_grad():
        for mine, reference in zip(net.eval()(images), expected):
            torch.testing.assert_close(mine, reference, rtol=1e-9, atol=1e-9)


def test_checkpointing_gives_the_same_gradients():
    plain, saving = build().train(), build(with_cp=True).train()
    images = torch.randn(2, 3, 60, 90)
    for net in (plain, saving):
        sum(output.square().mean() for output in net(images)).backward()
    for (name, a), b in zip(plain.named_parameters(), saving.parameters()):
        torch.testing.assert_close(a.grad, b.grad, msg=name)


def test_batch_order_does_not_matter():
    net = build().eval()
    images = torch.randn(3, 3, 70, 100)
    with torch.no_grad():
        for a, b in zip(net(images), net(images[[2, 0, 1]])):
            torch.testing.assert_close(a[[2, 0, 1]], b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('frozen', [-1, 0, 2, 3])
def test_frozen_stages_freeze_their_carriers(frozen):
    net = build(frozen_stages=frozen)
    for number, stage in enumerate(net.stages):
        assert all(p.requires_grad != (number < frozen) for p in stage.parameters())


@pytest.mark.parametrize(
    'wrong, message',
    [
        (dict(hat=(True, False)), 'hat is .* one entry for each of the 3 stages'),
        (dict(ct_size=8), 'ct_size is 8, but must lie between 1 and the window_size, 7'),
        (dict(ct_size=0), 'ct_size is 0'),
        (dict(carrier_pooling='mine'), 'carrier_pooling is'),
    ],
)
def test_bad_arguments_are_one_sentence(wrong, message):
    with pytest.raises(ConfigError, match=message):
        build(**wrong)
