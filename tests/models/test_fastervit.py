"""FasterViT against the authors' numbers and against the definitions, one token at a time."""

from __future__ import annotations

import copy
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mmengine.model import ExponentialMovingAverage
from torch import nn

from sparsevit_mm import FasterViT
from sparsevit_mm.errors import CheckpointError, ConfigError, DeployedModelError
from sparsevit_mm.models import carrier_tokens
from tests.helpers.slow_fastervit import slow_forward

GOLDENS = Path(__file__).parents[1] / 'data' / 'fastervit.npz'
VARIANTS = json.loads(bytes(np.load(GOLDENS)['meta']))['variants']
TINY = dict(
    dim=4,
    in_dim=4,
    depths=(1, 1, 2, 2),
    num_heads=(1, 1, 2, 4),
    window_size=(3, 3, 3, 3),
    drop_path_rate=0.0,
)
SCALED = dict(layer_scale=0.5, do_propagation=True, layer_scale_conv=0.7)


def build(**kwargs):
    torch.manual_seed(0)
    net = FasterViT(**{**TINY, **kwargs})
    # Weights large enough that positions, carriers and statistics matter.
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.3)
                module.running_var.uniform_(0.5, 2)
    return net


def authors_weights(variant):
    arrays, prefix = np.load(GOLDENS), f'{variant}/weight/'
    weights = {
        name[len(prefix) :]: torch.from_numpy(np.asarray(arrays[name]))
        for name in arrays.files
        if name.startswith(prefix)
    }
    return {n: w.float() if w.is_floating_point() else w for n, w in weights.items()}


def authors_file(folder, variant, wrap=lambda weights: {'state_dict': weights}):
    weights = authors_weights(variant)
    for name in [n for n in weights if '.global_tokenizer.pos_embed.' in n]:
        copied = name.replace('.pos_embed.', '.to_global_feature.pos.')
        weights[copied] = weights[name]
    # Derived buffers of another window, which must not matter.
    attention = 'levels.3.blocks.0.attn.pos_emb_funct'
    weights[f'{attention}.relative_bias'] = torch.zeros(1, 4, 9, 9)
    weights[f'{attention}.relative_coords_table'] = torch.zeros(1, 5, 5, 2)
    weights[f'{attention}.relative_position_index'] = torch.zeros(9, 9)
    weights['levels.3.blocks.0.pos_embed.relative_bias'] = torch.zeros(1, 9, 64)
    path = folder / f'{variant}.pth'
    torch.save(wrap(weights), path)
    return str(path)


def golden_network(folder, variant, **kwargs):
    config = {k: v for k, v in VARIANTS[variant]['config'].items() if k != 'resolution'}
    init_cfg = dict(type='Pretrained', checkpoint=authors_file(folder, variant))
    net = FasterViT(**{**config, 'init_cfg': init_cfg, **kwargs})
    net.init_weights()
    return net.eval()


def golden_images(variant, case):
    pixels = torch.from_numpy(np.load(GOLDENS)[f'{variant}/{case}/lowres'])
    numbers = VARIANTS[variant]['cases'][case]
    pixels = pixels.repeat_interleave(8, 2).repeat_interleave(8, 3)
    return (pixels[:, :, : numbers['height'], : numbers['width']].float() - 128) / 64


@pytest.mark.parametrize(
    'variant, case', [(name, case) for name in VARIANTS for case in VARIANTS[name]['cases']]
)
def test_equals_the_authors_numbers(variant, case, tmp_path):
    arrays = np.load(GOLDENS)
    with torch.no_grad():
        outputs = golden_network(tmp_path, variant)(golden_images(variant, case))
    assert len(outputs) == 4
    for stage, output in enumerate(outputs):
        name = f'{variant}/{case}/out{stage}'
        assert tuple(output.shape) == tuple(arrays[f'{name}_shape'])
        flat = output.flatten().numpy()
        samples = flat[np.linspace(0, flat.size - 1, min(1024, flat.size)).astype(int)]
        np.testing.assert_allclose(samples, arrays[f'{name}_samples'], rtol=0, atol=1e-5)
        np.testing.assert_allclose(np.abs(flat).mean(), arrays[f'{name}_absmean'], atol=1e-5)


@settings(max_examples=50, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    height=st.integers(1, 150),
    width=st.integers(1, 150),
    window=st.integers(2, 4),
    ct_size=st.integers(1, 2),
    hat=st.sampled_from([(True, False), (True, True), (False, False), (False, True)]),
    scaled=st.booleans(),
)
def test_equals_the_definitions_on_any_grid(height, width, window, ct_size, hat, scaled):
    net = build(
        window_size=(7, 7, window, 3),
        ct_size=ct_size,
        hat=(False, False, *hat),
        **(SCALED if scaled else {}),
    ).eval()
    images = torch.randn(1, 3, height, width)
    with torch.no_grad():
        for fast, slow in zip(net(images), slow_forward(net, images)):
            torch.testing.assert_close(fast, slow, rtol=1e-5, atol=1e-5)


RATIOS = st.sampled_from([0.0, 0.3, 0.5, 0.9])


@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    height=st.integers(20, 150),
    width=st.integers(20, 150),
    hat=st.sampled_from([(True, False), (True, True), (False, False)]),
    scaled=st.booleans(),
    ratios=st.tuples(*[st.tuples(RATIOS, RATIOS)] * 2),
    with_cp=st.booleans(),
)
def test_skipping_equals_the_definitions(height, width, hat, scaled, ratios, with_cp):
    """Outputs and gradients of a batch are those of its images, computed one token at a time."""
    ratios = [[0.0], [0.0], *map(sorted, ratios)]
    net = build(
        hat=(False, False, *hat),
        pruning_ratios=ratios,
        norm_eval=True,
        with_cp=with_cp,
        **(SCALED if scaled else {}),
    ).train()
    images = torch.randn(2, 3, height, width, requires_grad=True)
    outputs = net(images)
    expected = [torch.cat(maps) for maps in zip(*(slow_forward(net, i[None]) for i in images))]
    probes = [torch.randn_like(output) for output in outputs]
    for fast, slow in zip(outputs, expected):
        torch.testing.assert_close(fast, slow, rtol=1e-5, atol=1e-5)
    gradients, slow_gradients = (
        torch.autograd.grad(
            sum((o * p).mean() for o, p in zip(found, probes)),
            [images, *net.parameters()],
            materialize_grads=True,
        )
        for found in (outputs, expected)
    )
    for mine, reference in zip(gradients, slow_gradients):
        torch.testing.assert_close(mine, reference, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        for fast, slow in zip(net.eval()(images), expected):
            torch.testing.assert_close(fast, slow, rtol=1e-5, atol=1e-5)
        for fast, slow in zip(net.switch_to_deploy()(images), expected):
            torch.testing.assert_close(fast, slow, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('importance', ['l2', 'contrast', 'peak', 'random'])
def test_values_of_padding_do_not_rank_windows(importance, monkeypatch):
    """Padding changes in the first block, before the second ranks the windows."""
    from sparsevit_mm.models import fastervit

    net = build(pruning_ratios=[0, 0, 0, 0], importance=importance, **SCALED).eval()
    net.pruning_ratios = [[0], [0], [0, 0.5], [0, 0.5]]
    images, kept = torch.randn(2, 3, 75, 130), []
    net.window_observer = lambda selection: kept.append(selection.windows.kept)
    pad = fastervit.pad_to_windows
    for filling in (1e3, -1e3):
        torch.manual_seed(0)
        monkeypatch.setattr(
            fastervit,
            'pad_to_windows',
            lambda feature_map, size, filling=filling: pad(feature_map - filling, size) + filling,
        )
        with torch.no_grad():
            net(images)
    assert len(kept) == 8
    for first, second in zip(kept[:4], kept[4:]):
        assert first is None or first.equal(second)


def test_images_may_share_a_budget_of_windows():
    ratios = [[0], [0], [0.2, 0.5, 0.7], [0.0, 0.4]]
    net = build(depths=(1, 1, 3, 2), pruning_ratios=ratios, importance='contrast').train()
    images = torch.randn(3, 3, 200, 150) * torch.tensor([1.0, 0.3, 2.0])[:, None, None, None]
    images[1, :, 90:] = 0  # plain ground below
    own, shared = [], []
    net.window_observer = own.append
    net(images)
    net.allocation, net.window_observer = 'batch', shared.append
    sum(output.square().mean() for output in net(images)).backward()
    assert all(parameter.grad is not None for parameter in net.parameters())
    assert any(not torch.equal(a.shares, b.shares) for a, b in zip(own, shared))
    for ours, theirs in zip(own, shared):
        assert ours.windows.num_windows == theirs.windows.num_windows
        assert theirs.shares.min() > 0
    for first, then in itertools.pairwise(shared[:3]):
        for image in range(3):
            assert set(then.kept_in(image).tolist()) <= set(first.kept_in(image).tolist())
    net.eval().window_observer = None
    with torch.no_grad():
        alone = net(images[:1])
        net.allocation = 'image'
        for ours, theirs in zip(alone, net(images[:1])):
            assert torch.equal(ours, theirs)


def test_kept_windows_are_nested_and_do_not_depend_on_the_batch():
    net = build(depths=(1, 1, 3, 2), pruning_ratios=[[0], [0], [0.2, 0.5, 0.7], [0.0, 0.4]])
    kept = []
    net.eval().window_observer = kept.append
    images = torch.randn(3, 3, 200, 150)
    with torch.no_grad():
        together = net(images)
        alone = net(images[1:2])
    of_batch, of_one = kept[:5], kept[5:]
    assert [selection.stage for selection in of_batch] == [2, 2, 2, 3, 3]
    for first, then in itertools.pairwise(of_batch[:3]):
        for image in range(3):
            assert set(then.kept_in(image).tolist()) < set(first.kept_in(image).tolist())
    for ours, theirs in zip(of_batch, of_one):
        if ours.windows.kept is not None:
            assert ours.kept_in(1).equal(theirs.kept_in(0))
    for ours, theirs in zip(together, alone):
        torch.testing.assert_close(ours[1:2], theirs, rtol=1e-5, atol=1e-5)


def test_numbers_are_for_stages_with_windows():
    net = build(pruning_ratios=0.5)
    assert net.pruning_schedule.ratios == ((0.0,), (0.0,), (0.5, 0.5), (0.5, 0.5))
    message = r'pruning_ratios of stage 1 are \[0.3\], but must be 0: the stage is convolutional'
    for ratios in ([0, 0.3, 0.3, 0.3], [[0], [0.3], [0.3], [0.3]]):
        with pytest.raises(ConfigError, match=message):
            net.pruning_ratios = ratios


def test_batch_order_does_not_matter():
    net = build(hat=(False, False, True, True), **SCALED).eval()
    images = torch.randn(3, 3, 90, 70)
    with torch.no_grad():
        together, alone = net(images), net(images[[2, 0, 1]])
    for a, b in zip(together, alone):
        torch.testing.assert_close(a[[2, 0, 1]], b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('hat', [(False, False, False, False), (False, False, True, True)])
def test_values_of_padding_change_nothing(hat, monkeypatch):
    from sparsevit_mm.models import fastervit

    net = build(hat=hat, **SCALED).eval()
    images = torch.randn(2, 3, 75, 130)
    pad = fastervit.pad_to_windows
    padded = []

    def pad_with_noise(feature_map, window_size):
        height, width = feature_map.shape[1:3]
        noisy = torch.randn_like(pad(feature_map, window_size)) * 100
        noisy[:, :height, :width] = feature_map
        padded.append(noisy.numel() - feature_map.numel())
        return noisy

    with torch.no_grad():
        expected = net(images)
        monkeypatch.setattr(fastervit, 'pad_to_windows', pad_with_noise)
        found = net(images)
    assert min(padded) > 0
    for a, b in zip(expected, found):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


# Faults of published implementations, by name.


def test_one_network_takes_every_size():
    net = build(hat=(False, False, True, True), **SCALED)
    for height, width in ((1, 1), (5, 300), (64, 64), (97, 33), (64, 96)):
        outputs = net.eval()(torch.randn(1, 3, height, width))
        for stage, output in enumerate(outputs):
            stride = 4 * 2**stage
            assert output.shape[2:] == (-(-height // stride), -(-width // stride))
            assert output.is_contiguous()
            assert output.isfinite().all()


def test_carriers_are_not_scrambled_on_grids_that_are_not_square():
    """A change in one window reaches that window's carriers, and in pooling no other's."""
    grid = carrier_tokens.WindowGrid(6, 12, 3)
    pooling = carrier_tokens.CarrierPooling(4, 1)
    nn.init.zeros_(pooling.conv.weight)
    nn.init.zeros_(pooling.conv.bias)
    with torch.no_grad():
        pooling.conv.weight[:, :, 1, 1] = 1
        feature_map = torch.zeros(1, 4, 6, 12)
        feature_map[:, :, 3:6, 6:9] = torch.arange(1.0, 5)[:, None, None]
        carriers = pooling(feature_map, grid)
    assert carriers.shape == (1, 2, 4, 4)
    expected = torch.zeros(2, 4, 4)
    expected[1, 2] = torch.arange(1.0, 5)
    torch.testing.assert_close(carriers[0], expected)


def test_carriers_have_positions_on_grids_that_are_not_square():
    block = carrier_tokens.CarrierBlock(4, 2, 8).eval()
    same = torch.ones(1, 2, 6, 4)
    with torch.no_grad():
        nn.init.normal_(block.position.cpb_mlp[2].weight)
        out = block(same).flatten(0, 2)
    assert (torch.cdist(out, out) + torch.eye(12)).min() > 1e-3


def test_carrier_bias_covers_every_carrier():
    bias = carrier_tokens.OffsetBias(2).eval()(6, 10, 0)
    assert bias.shape == (2, 60, 60)
    assert (bias > 0).all()
    with_carriers = carrier_tokens.OffsetBias(2).eval()(3, 3, 4)
    assert with_carriers.shape == (2, 13, 13)
    assert (with_carriers[:, :4] == 0).all()
    assert (with_carriers[:, :, :4] == 0).all()
    assert (with_carriers[:, 4:, 4:] > 0).all()


def test_positions_are_normalised_by_the_side_of_the_grid():
    embedding = carrier_tokens.PlaceEmbedding(2)
    seen = []
    embedding.cpb_mlp.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    embedding(4, 10)
    places = seen[0].view(4, 10, 2)
    assert places[..., 0].min() == -1
    assert places[..., 0].max() == 0.5
    assert places[..., 1].min() == -1
    torch.testing.assert_close(places[..., 1].max(), torch.tensor(0.8))
    embedding(1, 1)
    assert (seen[1] == 0).all(), 'a grid of side 1 has no NaN'


def test_propagation_adds_the_nearest_carrier():
    block = carrier_tokens.CarrierBlock(1, 1, 2, layer_scale=2.0)
    carriers = torch.tensor([[[1.0], [2], [3], [4]]])
    spread = block.propagate(carriers, 2, 7).view(7, 7)
    assert (spread[:4, :4] == 2).all()
    assert (spread[:4, 4:] == 4).all()
    assert (spread[4:, :4] == 6).all()
    assert (spread[4:, 4:] == 8).all()


def test_convolutional_stages_are_not_padded():
    net = build().eval()
    seen = []
    net.levels[0].register_forward_hook(lambda m, i, o: seen.append(o.shape))
    net(torch.randn(1, 3, 20, 36))
    assert seen == [(1, 4, 5, 9)]


@pytest.mark.parametrize('stages', range(-1, 5))
def test_frozen_stages_stay_as_they_are(stages):
    net = build(frozen_stages=stages, hat=(False, False, True, True), **SCALED).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    optimizer = torch.optim.SGD(
        [p for p in net.parameters() if p.requires_grad] or [torch.zeros(1)], 0.1
    )
    outputs = net(torch.randn(2, 3, 40, 40))
    if stages < 4:
        sum(output.mean() for output in outputs).backward()
        optimizer.step()
    frozen = ['patch_embed.'] * (stages >= 0) + [f'levels.{i}.' for i in range(stages)]
    changed = {n for n, value in net.state_dict().items() if not value.equal(before[n])}
    assert not any(name.startswith(tuple(frozen)) for name in changed)
    rest = {n.rsplit('.', 1)[0] for n in before if not n.startswith(tuple(frozen))}
    if stages < 3:
        assert any(name.startswith(f'levels.{max(stages, 0)}.') for name in changed)
        assert rest


def test_norm_eval_keeps_statistics():
    net = build(norm_eval=True).train()
    before = net.patch_embed[1].running_mean.clone()
    net(torch.randn(2, 3, 32, 32))
    assert net.patch_embed[1].running_mean.equal(before)
    assert net.levels[2].training


# What training frameworks do to a model.


def train_step(net, images):
    net.zero_grad()
    outputs = net(images)
    sum(output.square().mean() for output in outputs).backward()
    return {name: parameter.grad for name, parameter in net.named_parameters()}


@pytest.mark.parametrize('hat', [(False, False, True, False), (False, False, True, True)])
def test_every_parameter_takes_part_in_training(hat):
    grads = train_step(build(hat=hat, **SCALED).train(), torch.randn(2, 3, 60, 90))
    assert [name for name, grad in grads.items() if grad is None] == []
    grads = train_step(build(hat=hat, out_indices=(0, 1)).train(), torch.randn(2, 3, 60, 90))
    assert [name for name, grad in grads.items() if grad is None] == []


def test_checkpointing_gives_the_same_gradients_and_statistics():
    images = torch.randn(2, 3, 60, 90)
    plain, saving = build(**SCALED).train(), build(**SCALED, with_cp=True).train()
    grads, saved = train_step(plain, images), train_step(saving, images)
    for name, grad in grads.items():
        torch.testing.assert_close(saved[name], grad, msg=name)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(saving.state_dict()[name], value, msg=name)


def test_tables_are_never_stored_with_a_graph():
    net = build(hat=(False, False, True, True), **SCALED)
    images = torch.randn(1, 3, 60, 60)
    train_step(net.train(), images)
    copied = copy.deepcopy(net)
    assert {name for name, _ in net.named_buffers()} == {
        name for name, _ in net.named_buffers() if 'running' in name or 'tracked' in name
    }
    with torch.no_grad():
        net.eval()(images)
    copy.deepcopy(net)
    # Evaluation with gradients, as with frozen norms, after one without.
    grads = train_step(net.eval(), images)
    assert all(grad is not None for grad in grads.values())
    net.load_state_dict(copied.state_dict())


def test_positions_follow_the_weights():
    net = build(hat=(False, False, True, True), **SCALED).eval()
    images = torch.randn(1, 3, 60, 60)
    with torch.inference_mode():
        before = net(images)[-1].clone()
    with torch.no_grad():
        net.levels[2].blocks[0].attn.position_bias.cpb_mlp[2].weight.mul_(-3)
        changed = net(images)[-1]
        assert not torch.allclose(before, changed)
        net.load_state_dict(build(hat=(False, False, True, True), **SCALED).state_dict())
        torch.testing.assert_close(net(images)[-1], before)
        net.double()
        assert net(images.double())[-1].dtype == torch.float64
        net.float()
        average = ExponentialMovingAverage(net, momentum=0.5)
        average.module(images)
        for parameter in net.parameters():
            parameter.zero_()
        average.update_parameters(net)
        average.update_parameters(net)
        fresh = build(hat=(False, False, True, True), **SCALED).eval()
        fresh.load_state_dict(average.module.state_dict())
        torch.testing.assert_close(average.module(images)[-1], fresh(images)[-1])


def test_memory_of_the_inference_form_is_bounded():
    net = build(hat=(False, False, True, False)).switch_to_deploy()
    with torch.no_grad():
        for side in range(48, 48 * 12, 48):
            net(torch.randn(1, 3, 48, side))
    kept = [len(module._kept) for module in net.modules() if hasattr(module, '_kept')]
    assert kept and set(kept) == {4}


def test_bfloat16_autocast_trains_and_leaves_the_state_as_it_is():
    net = build(hat=(False, False, True, True), **SCALED).train()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        grads = train_step(net, torch.randn(2, 3, 50, 70))
    assert all(grad.isfinite().all() for grad in grads.values())
    assert {v.dtype for v in net.state_dict().values()} == {torch.float32, torch.int64}
    images = torch.randn(1, 3, 50, 70)
    with torch.no_grad():
        with torch.autocast('cpu', dtype=torch.bfloat16):
            half = net.eval()(images)[-1]
        full = net(images)[-1]
    assert full.dtype == torch.float32
    torch.testing.assert_close(half.float(), full, rtol=0.1, atol=0.1)
    torch.testing.assert_close(copy.deepcopy(net)(images)[-1], full)


# The inference form.


@pytest.mark.parametrize('after_a_forward', [False, True])
@pytest.mark.parametrize('hat', [(False, False, False, False), (False, False, True, True)])
def test_inference_form_gives_the_same_outputs(hat, after_a_forward):
    net = build(hat=hat, out_norm_cfg=dict(type='BN'), **SCALED)
    expected_net = copy.deepcopy(net).eval()
    if after_a_forward:
        net.eval()(torch.randn(1, 3, 64, 64))
    net.switch_to_deploy()
    assert not any(isinstance(m, nn.BatchNorm2d) for m in net.levels.modules())
    for height, width in ((64, 64), (50, 90)):
        images = torch.randn(2, 3, height, width)
        with torch.no_grad():
            for a, b in zip(net(images), expected_net(images)):
                torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
    with pytest.raises(DeployedModelError, match='cannot be trained'):
        net.train()
    net.eval()
    assert net.switch_to_deploy() is net


# Checkpoints.


@pytest.mark.parametrize(
    'wrap',
    [
        lambda w: w,
        lambda w: {'model': w},
        lambda w: {'state_dict_ema': w, 'epoch': 3},
        lambda w: {'state_dict': {f'module.{n}': v for n, v in w.items()}},
        lambda w: {'state_dict': {f'backbone.{n}': v for n, v in w.items()}},
    ],
)
def test_authors_files_load_however_they_are_wrapped(wrap, tmp_path):
    path = authors_file(tmp_path, 'scaled_propagate', wrap)
    net = golden_network(tmp_path, 'scaled_propagate', init_cfg=None)
    net.init_cfg = dict(type='Pretrained', checkpoint=path)
    net.init_weights()
    expected = golden_network(tmp_path, 'scaled_propagate')
    for name, value in expected.state_dict().items():
        assert net.state_dict()[name].equal(value), name


@pytest.mark.parametrize('height, width', [(576, 960), (1333, 800), (512, 512)])
@pytest.mark.parametrize('window', [7, 8])
def test_every_learned_tensor_is_used_at_every_size_and_window(height, width, window, tmp_path):
    net = golden_network(tmp_path, 'plain', window_size=(7, 7, window, window))
    learned = authors_weights('plain')
    used = sum(value.numel() for value in net.state_dict().values())
    classifier = sum(v.numel() for n, v in learned.items() if n.startswith(('norm.', 'head.')))
    assert used == sum(value.numel() for value in learned.values()) - classifier
    with torch.no_grad():
        assert all(output.isfinite().all() for output in net(torch.randn(1, 3, height, width)))


def test_our_own_files_load_and_fewer_stages_take_theirs(tmp_path):
    net, path = build(out_norm_cfg=dict(type='LN'), **SCALED), tmp_path / 'ours.pth'
    torch.save({'state_dict': {f'backbone.{n}': v for n, v in net.state_dict().items()}}, path)
    for out_indices in ((0, 1, 2, 3), (0, 2), (1,)):
        other = FasterViT(
            **TINY,
            **SCALED,
            out_norm_cfg=dict(type='LN'),
            out_indices=out_indices,
            init_cfg=dict(type='Pretrained', checkpoint=str(path)),
        )
        other.init_weights()
        for name, value in other.state_dict().items():
            assert value.equal(net.state_dict()[name]), name


def test_checkpoints_of_other_variants_are_refused_by_name(tmp_path):
    plain = authors_file(tmp_path, 'plain')
    net = FasterViT(arch='0', init_cfg=dict(type='Pretrained', checkpoint=plain))
    before = net.patch_embed[0].weight.clone()
    with pytest.raises(CheckpointError, match=r'holds a FasterViT of dim 8 .* is FasterViT-0'):
        net.init_weights()
    assert net.patch_embed[0].weight.equal(before)
    without = authors_file(tmp_path, 'windows14_no_carriers')
    with pytest.raises(CheckpointError, match='has no carrier tokens in stage 2.*set hat'):
        golden_network(
            tmp_path, 'scaled_propagate', init_cfg=dict(type='Pretrained', checkpoint=without)
        )
    torch.save({'state_dict': {'conv1.weight': torch.zeros(1)}}, tmp_path / 'resnet.pth')
    with pytest.raises(CheckpointError, match='holds no FasterViT backbone'):
        FasterViT(
            **TINY, init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'resnet.pth'))
        ).init_weights()


@pytest.mark.parametrize(
    'wrong, message',
    [
        (dict(arch='7'), "arch is '7', but must be one of 0, 1,"),
        (dict(depths=(1, 1, 2)), 'depths is .* one entry for each of the 4 stages'),
        (dict(window_size=(7, 7)), 'window_size is'),
        (dict(hat=(True,)), 'hat is'),
        (dict(num_heads=(1, 1, 2)), 'num_heads is'),
        (dict(num_heads=(1, 1, 3, 4)), 'num_heads of stage 2 is 3, but must divide the 16'),
        (dict(ct_size=4), 'ct_size is 4, but must be at most the window_size of stage 2, 3'),
        (dict(hat=(True, False, True, False)), 'stage 0 is convolutional'),
        (dict(dim=0), 'dim is 0, but must be positive'),
        (dict(out_indices=(0, 4)), 'out_indices is'),
        (dict(out_indices=()), 'out_indices is'),
        (dict(frozen_stages=5), 'frozen_stages is 5'),
        (dict(drop_path_rate=1.0), 'drop_path_rate is 1.0'),
        (dict(carrier_pooling='mine'), 'carrier_pooling is'),
        (dict(out_norm_cfg=dict(type='GN')), 'out_norm_cfg is'),
    ],
)
def test_bad_arguments_are_one_sentence(wrong, message):
    with pytest.raises(ConfigError, match=message) as caught:
        FasterViT(**{**TINY, **wrong})
    assert str(caught.value).count('. ') == 0
