"""SparseViT against the authors' numbers, against Swin, and against a masked dense reference."""

from __future__ import annotations

import copy
import dataclasses
import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mmengine.hub import get_config
from mmengine.registry import MODELS as ROOT_MODELS

from sparsevit_mm import PruningSchedule, SparseViT
from sparsevit_mm.errors import CheckpointError, ConfigError
from sparsevit_mm.ops import windows
from sparsevit_mm.pruning.allocation import build_allocation
from tests.helpers.masked_dense import masked_dense_forward

GOLDENS = Path(__file__).parents[1] / 'data' / 'sparsevit.npz'
META = json.loads(bytes(np.load(GOLDENS)['meta']))
SMALL = dict(embed_dims=8, depths=(2, 2, 6, 2), num_heads=(1, 2, 4, 8), drop_path_rate=0.0)
TINY = dict(embed_dims=8, depths=(2, 3), num_heads=(1, 2), out_indices=(0, 1), drop_path_rate=0.0)


def build(**kwargs):
    torch.manual_seed(0)
    net = SparseViT(**{**SMALL, **kwargs})
    # Weights large enough that windows differ and biases matter.
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return net


@pytest.fixture(scope='module')
def authors_checkpoint(tmp_path_factory):
    arrays = np.load(GOLDENS)
    weights = {
        f'backbone.{name[7:]}': torch.from_numpy(arrays[name]).float()
        for name in arrays.files
        if name.startswith('weight/')
    }
    weights['backbone.stages.0.blocks.0.attn.w_msa.relative_position_index'] = torch.zeros(49, 49)
    weights['neck.lateral.weight'] = torch.zeros(3)
    path = tmp_path_factory.mktemp('authors') / 'sparsevit.pth'
    torch.save({'meta': {}, 'state_dict': weights}, path)
    return str(path)


@pytest.mark.parametrize('case', META['cases'])
def test_equals_the_authors_numbers(case, authors_checkpoint):
    arrays, numbers = np.load(GOLDENS), META['cases'][case]
    net = SparseViT(
        **META['backbone'],
        pruning_ratios=numbers['pruning_ratios'],
        padding='sparsevit',
        init_cfg=dict(type='Pretrained', checkpoint=authors_checkpoint),
    )
    net.init_weights()
    net.eval()
    pixels = torch.from_numpy(arrays[f'{case}/lowres'])
    pixels = pixels.repeat_interleave(8, 2).repeat_interleave(8, 3)
    pixels = pixels[:, :, : numbers['height'], : numbers['width']]
    with torch.no_grad():
        outputs = net((pixels.float() - 128) / 64)
    assert len(outputs) == 4
    for stage, output in enumerate(outputs):
        assert tuple(output.shape) == tuple(arrays[f'{case}/out{stage}_shape'])
        flat = output.flatten().numpy()
        samples = flat[np.linspace(0, flat.size - 1, min(1024, flat.size)).astype(int)]
        np.testing.assert_allclose(samples, arrays[f'{case}/out{stage}_samples'], rtol=0, atol=1e-5)
        np.testing.assert_allclose(
            np.abs(flat).mean(), arrays[f'{case}/out{stage}_absmean'], atol=1e-5
        )


@pytest.mark.parametrize('framework', ['mmdet', 'mmseg'])
@pytest.mark.parametrize(
    'height, width, window',
    [(224, 224, 7), (96, 160, 7), (61, 203, 7), (28, 28, 7), (5, 9, 7), (1, 1, 7), (97, 130, 12)],
)
def test_ratio_zero_is_swin(framework, height, width, window):
    swin_class = pytest.importorskip(f'{framework}.models.backbones').SwinTransformer
    ours = build(window_size=window)
    theirs = swin_class(**SMALL, window_size=window)
    missing, unexpected = theirs.load_state_dict(ours.state_dict(), strict=False)
    assert not unexpected
    assert all(name.endswith('relative_position_index') for name in missing)
    ours.eval()
    theirs.eval()
    images = torch.randn(2, 3, height, width)
    inputs = [images.clone().requires_grad_() for _ in range(2)]
    outputs = [net(image) for net, image in zip((ours, theirs), inputs)]
    probes = [torch.randn_like(output) for output in outputs[0]]
    for mine, expected in zip(*outputs):
        torch.testing.assert_close(mine, expected, rtol=1e-5, atol=1e-5)
    for output in outputs:
        sum((o * p).mean() for o, p in zip(output, probes)).backward()
    torch.testing.assert_close(inputs[0].grad, inputs[1].grad, rtol=1e-4, atol=1e-5)
    expected = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(
            parameter.grad,
            expected[name].grad,
            rtol=1e-4,
            atol=1e-5,
            msg=lambda m, n=name: f'{n}: {m}',
        )


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(
    height=st.integers(4, 120),
    width=st.integers(4, 120),
    batch=st.integers(1, 3),
    seed=st.integers(0, 10**6),
    padding=st.sampled_from(['swin', 'sparsevit']),
    window=st.sampled_from([4, 7]),
    allocation=st.sampled_from(['image', 'batch', dict(type='batch', group_size=2)]),
)
def test_sparse_equals_masked_dense(height, width, batch, seed, padding, window, allocation):
    if batch == 3 and allocation not in ('image', 'batch'):
        batch = 4
    options = dict(padding=padding, window_size=window, allocation=allocation)
    net = build(**TINY, **options).double()
    rng = random.Random(seed)
    ratios = [sorted(rng.choice([0, 0.1, 0.3, 0.5, 0.8, 0.95]) for _ in range(d)) for d in (2, 3)]
    net.pruning_schedule = ratios
    torch.manual_seed(seed)
    images = torch.randn(batch, 3, height, width, dtype=torch.float64, requires_grad=True)
    outputs, expected = net(images), masked_dense_forward(net, images)
    probes = [torch.randn_like(output) for output in outputs]
    parameters = [images, *net.parameters()]
    for mine, reference in zip(outputs, expected):
        torch.testing.assert_close(mine, reference, rtol=1e-9, atol=1e-9)
    gradients, expected_gradients = (
        torch.autograd.grad(sum((o * p).sum() for o, p in zip(out, probes)), parameters)
        for out in (outputs, expected)
    )
    for mine, reference in zip(gradients, expected_gradients):
        torch.testing.assert_close(mine, reference, rtol=1e-7, atol=1e-7)


def selections(net, images):
    seen = []
    net.window_observer = seen.append
    with torch.no_grad():
        net(images)
    net.window_observer = None
    return seen


@pytest.mark.parametrize('ratios', [0.0, [0.5, 0.3]])
@pytest.mark.parametrize('num_bytes', [1, 60_000])
def test_inference_in_chunks_is_inference_at_once(ratios, num_bytes, monkeypatch):
    net = SparseViT(
        embed_dims=12, depths=(2, 2), num_heads=(1, 2), out_indices=(0, 1), pruning_ratios=ratios
    )
    net.double().eval()  # rounding, which differs by the number of rows, is far below the tolerance
    images = torch.rand(2, 3, 90, 124).double()  # padded windows, shifted windows, two images
    at_once = net(images)  # with gradients nothing is cut into chunks
    chunks, chunks_of = [], windows.Windows.chunks

    def record(self, chunk_size):
        chunks.append(self.num_windows / chunk_size)
        return chunks_of(self, chunk_size)

    monkeypatch.setattr(windows, '_CPU_BYTES', num_bytes)
    monkeypatch.setattr(windows.Windows, 'chunks', record)
    with torch.no_grad():
        in_chunks = net(images)
    assert len(chunks) == 4
    assert min(chunks) > 1
    for ours, expected in zip(in_chunks, at_once):
        torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-9)


def test_kept_sets_are_nested_and_counted():
    net = build(pruning_ratios=[[0.6], [0.0], [0.2, 0.4, 0.5], [0.3]])
    images = torch.randn(2, 3, 200, 232)
    expected = net.pruning_schedule.kept_windows(200, 232)
    previous = {}
    for selection in selections(net, images):
        assert (selection.num_kept, selection.grid.num_windows) == expected[selection.stage][
            selection.block
        ]
        if selection.kept_in(0) is None:
            continue
        for image in range(len(images)):
            kept = selection.kept_in(image).tolist()
            assert len(set(kept)) == len(kept)
            key = (selection.stage, selection.grid.shift, image)
            assert set(kept) <= previous.get(key, set(kept))
            previous[key] = set(kept)
    assert previous


def test_order_of_images_does_not_matter():
    net = build(pruning_ratios=0.5).eval()
    images = torch.randn(3, 3, 100, 140)
    with torch.no_grad():
        together = net(images)
        shuffled = net(images[[2, 0, 1]])
        alone = net(images[1:2])
    for a, b, c in zip(together, shuffled, alone):
        torch.testing.assert_close(a[[2, 0, 1]], b, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(a[1:2], c, rtol=1e-5, atol=1e-5)


def test_the_allocation_can_be_changed_and_a_schedule_may_name_it():
    net = build(pruning_ratios=0.5).eval()
    images = torch.randn(3, 3, 100, 140) * torch.tensor([1.0, 0.1, 3.0])[:, None, None, None]
    images[1, :, 40:60, 40:60] = 5

    def shares():
        return torch.stack([selection.shares for selection in selections(net, images)])

    own = shares()
    assert (own == own[:, :1]).all()
    net.allocation = 'batch'
    shared = shares()
    assert (shared != shared[:, :1]).any()
    torch.testing.assert_close(shared.mean(1), own.mean(1))
    named = PruningSchedule.parse(0.5, net.arch.depths)
    net.pruning_schedule = named
    assert net.allocation.to_config() == 'batch'  # it names none
    net.pruning_schedule = dataclasses.replace(named, allocation=build_allocation('image'))
    assert torch.equal(shares(), own)


def test_pruned_windows_keep_their_tokens():
    """With one stage and a window ratio, a pruned window's output is its normed input."""
    net = build(embed_dims=8, depths=(1,), num_heads=(2,), out_indices=(0,), pruning_ratios=0.75)
    images = torch.randn(1, 3, 56, 56)
    (selection,) = selections(net, images)
    with torch.no_grad():
        (output,) = net(images)
        tokens, height, width = net.patch_embed(images)
        untouched = net.norm0(tokens).view(1, height, width, -1).permute(0, 3, 1, 2)
    kept = set(selection.kept_in(0).tolist())
    assert len(kept) == 1
    for window in range(4):
        row, col = 7 * (window // 2), 7 * (window % 2)
        box = (..., slice(row, row + 7), slice(col, col + 7))
        assert torch.equal(output[box], untouched[box]) == (window not in kept)


def test_brightest_window_is_kept():
    net = build(embed_dims=8, depths=(1,), num_heads=(2,), out_indices=(0,), pruning_ratios=0.9)
    net.patch_embed.norm = None
    with torch.no_grad():
        net.patch_embed.projection.bias.zero_()
    images = torch.randn(1, 3, 84, 84) * 0.1
    images[..., 28:56, 56:84] *= 50
    (selection,) = selections(net, images)
    assert selection.kept_in(0).tolist() == [5]


def test_checkpointing_gives_the_same_gradients():
    plain = build(pruning_ratios=[[0.5], [0.3], [0.2, 0.2, 0.4], [0.0]])
    recomputed = build(pruning_ratios=[[0.5], [0.3], [0.2, 0.2, 0.4], [0.0]], with_cp=True)
    images = torch.randn(2, 3, 90, 120)
    for net in (plain, recomputed):
        net.train()
        sum(output.square().mean() for output in net(images)).backward()
    expected = dict(plain.named_parameters())
    for name, parameter in recomputed.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name].grad)


@pytest.mark.parametrize('frozen', [-1, 0, 2, 4])
def test_frozen_stages(frozen):
    net = build(frozen_stages=frozen, use_abs_pos_embed=True, pruning_ratios=0.4).train()
    sum(
        output.sum() for output in net(torch.randn(1, 3, 64, 64))
    ).backward() if frozen < 4 else None
    fixed = {name for name, p in net.named_parameters() if not p.requires_grad}
    expected = set()
    for name, parameter in net.named_parameters():
        early = name.startswith(('patch_embed', 'absolute_pos_embed')) and frozen >= 0
        staged = any(name.startswith((f'stages.{i}.', f'norm{i}.')) for i in range(frozen))
        if early or staged:
            expected.add(name)
        elif frozen < 4:
            assert parameter.grad is not None
    assert fixed == expected
    assert net.patch_embed.training == (frozen < 0)
    assert net.stages[3].training == (frozen < 4)


def test_train_and_eval_return_the_module():
    net = build()
    assert net.train() is net
    assert net.eval() is net


@pytest.mark.parametrize('indices', [(0, 1, 2, 3), (1, 3), (3,)])
def test_out_indices(indices):
    outputs = build(out_indices=indices)(torch.randn(1, 3, 65, 90))
    assert isinstance(outputs, tuple)
    sizes = [(8, 17, 23), (16, 9, 12), (32, 5, 6), (64, 3, 3)]
    assert [tuple(o.shape[1:]) for o in outputs] == [sizes[i] for i in indices]
    assert all(output.is_contiguous() for output in outputs)


def test_absolute_position_embedding_at_other_sizes():
    net = build(use_abs_pos_embed=True, pretrain_img_size=64).eval()
    without = build().eval()
    without.load_state_dict(net.state_dict(), strict=False)
    with torch.no_grad():
        net.absolute_pos_embed.normal_()
        images = torch.randn(1, 3, 64, 64)
        shifted = net(images)[0] - without(images)[0]
        assert shifted.abs().max() > 0.01
        assert net(torch.randn(1, 3, 50, 130))[0].shape == (1, 8, 13, 33)


@pytest.mark.parametrize(
    'arch, embed_dims, depths, num_heads, window_size',
    [
        ('tiny', 96, (2, 2, 6, 2), (3, 6, 12, 24), 7),
        ('small', 96, (2, 2, 18, 2), (3, 6, 12, 24), 7),
        ('base', 128, (2, 2, 18, 2), (4, 8, 16, 32), 12),
        ('large', 192, (2, 2, 18, 2), (6, 12, 24, 48), 12),
    ],
)
def test_named_sizes_are_swins(arch, embed_dims, depths, num_heads, window_size):
    swin = pytest.importorskip('mmdet.models.backbones').SwinTransformer
    with torch.device('meta'):
        ours = SparseViT(arch=arch, window_size=window_size)
    # One block a stage is enough of the reference; every block of a stage has the same shapes.
    theirs = swin(
        embed_dims=embed_dims,
        depths=(1, 1, 1, 1),
        num_heads=num_heads,
        window_size=window_size,
    )
    assert ours.arch.depths == depths
    shapes = {name: parameter.shape for name, parameter in ours.named_parameters()}
    first_blocks = {n: s for n, s in shapes.items() if '.blocks.' not in n or '.blocks.0.' in n}
    assert first_blocks == {n: p.shape for n, p in theirs.named_parameters()}


@pytest.mark.parametrize('width, dims', [(0.4, 36), (0.6, 60), (0.8, 72), (0.9, 84), (1.0, 96)])
def test_widths_of_the_tables(width, dims):
    with torch.device('meta'):
        assert SparseViT(arch='tiny', width=width).arch.embed_dims == dims


def test_bfloat16_autocast_trains_and_ranks_in_float32():
    net = build(pruning_ratios=0.5).train()
    with torch.autocast('cpu', torch.bfloat16):
        outputs = net(torch.randn(1, 3, 96, 96))
    sum(output.float().mean() for output in outputs).backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters())


def test_stochastic_depth_drops_whole_images():
    net = build(drop_path_rate=0.9, pruning_ratios=0.5).train()
    torch.manual_seed(1)
    images = torch.randn(1, 3, 56, 56).expand(6, -1, -1, -1)
    last = net(images)[3]
    assert not torch.allclose(last[0], last[1]) or not torch.allclose(last[0], last[2])
    net.eval()
    last = net(images)[3]
    torch.testing.assert_close(last[0], last[5])


@pytest.mark.parametrize('ratio', [0, 0.5])
def test_stochastic_depth_is_that_of_training_without_gradients(ratio):
    """Statistics are renewed so; windows computed in parts would not know their image."""
    net = build(drop_path_rate=0.5, pruning_ratios=ratio).train()
    images = torch.randn(3, 3, 150, 170)
    outputs = []
    for with_gradients in (True, False):
        torch.manual_seed(0)
        with torch.set_grad_enabled(with_gradients):
            outputs.append(net(images)[3].detach())
    torch.testing.assert_close(*outputs)


def test_copies_and_state_survive_a_training_step():
    net = build(pruning_ratios=0.5).train()
    images = torch.randn(1, 3, 64, 64)
    net(images)[3].sum().backward()
    twin = copy.deepcopy(net).eval()
    other = build().eval()
    other.load_state_dict(net.state_dict())
    other.pruning_schedule = net.pruning_schedule
    net.eval()
    with torch.no_grad():
        for a, b, c in zip(net(images), twin(images), other(images)):
            assert torch.equal(a, b)
            assert torch.equal(a, c)


def test_a_size_first_seen_in_inference_mode_can_be_trained():
    net = build(pruning_ratios=0.3)
    images = torch.randn(1, 3, 148, 92)
    with torch.inference_mode():
        net(images)
    net(images)[3].sum().backward()
    assert net.patch_embed.projection.weight.grad is not None


def test_input_is_not_changed():
    net = build(pruning_ratios=0.5)
    images = torch.randn(1, 3, 64, 64)
    before = images.clone()
    net(images)
    assert torch.equal(images, before)


def test_names_resolve_in_every_registry():
    settings_ = dict(**SMALL, pruning_ratios=0.5)
    assert isinstance(
        ROOT_MODELS.build(dict(type='sparsevit_mm.SparseViT', **settings_)), SparseViT
    )
    for framework in ('mmdet', 'mmseg', 'mmdet3d'):
        registry = pytest.importorskip(f'{framework}.registry').MODELS
        for name in ('sparsevit_mm.SparseViT', 'SparseViT'):
            assert isinstance(registry.build(dict(type=name, **settings_)), SparseViT)


def test_mmdets_swin_arguments_are_understood():
    pytest.importorskip('mmdet')
    config = get_config('mmdet::swin/mask-rcnn_swin-t-p4-w7_fpn_1x_coco.py')
    backbone = config.model.backbone
    backbone.type, backbone.init_cfg = 'sparsevit_mm.SparseViT', None
    with torch.device('meta'):
        assert ROOT_MODELS.build(backbone).arch.embed_dims == 96


@pytest.mark.parametrize(
    'arguments, words',
    [
        (dict(arch='giant'), "arch is 'giant'.*tiny, small, base, large"),
        (dict(num_heads=(3, 6, 12, 24), embed_dims=10), 'num_heads of stage 0 is 3.*10 channels'),
        (dict(depths=(2, 2)), 'depths .* and num_heads .* one number'),
        (dict(pruning_ratios=1.0), 'hold 1.0, but .* below 1'),
        (dict(allocation='frame'), "allocation is 'frame'.*'image' or 'batch'"),
        (dict(pruning_ratios=[0.1, 0.2]), 'pruning_ratios is .* must be a number'),
        (dict(padding='reflect'), "padding is 'reflect'"),
        (dict(out_indices=(0, 4)), 'out_indices is .* from 0 to 3'),
        (dict(out_indices=()), 'out_indices'),
        (dict(frozen_stages=5), 'frozen_stages is 5'),
        (dict(strides=(4, 2, 2, 1)), 'strides is'),
        (dict(width=0), 'width is 0'),
        (dict(window_size=0), 'window_size is 0'),
        (dict(drop_path_rate=1.5), 'drop_path_rate is 1.5'),
        (dict(norm_cfg=dict(type='BN')), "norm_cfg is .*type='LN'"),
        (dict(act_cfg=dict(type='Nothing')), 'act_cfg is'),
    ],
)
def test_wrong_arguments_are_one_sentence(arguments, words):
    with pytest.raises(ConfigError, match=words) as error:
        SparseViT(**{**SMALL, **arguments})
    assert '\n' not in str(error.value)


def test_checkpoint_of_another_architecture_is_refused(authors_checkpoint):
    net = SparseViT(
        **{**SMALL, 'depths': (2, 2, 4, 2)},
        init_cfg=dict(type='Pretrained', checkpoint=authors_checkpoint),
    )
    with pytest.raises(CheckpointError, match='another architecture'):
        net.init_weights()


def test_schedule_can_be_changed_between_forwards():
    net = build().eval()
    images = torch.randn(1, 3, 112, 112)
    with torch.no_grad():
        dense = net(images)
        net.pruning_schedule = 0.5
        sparse = net(images)
        net.pruning_schedule = PruningSchedule.dense(net.arch.depths)
        again = net(images)
    assert not torch.allclose(dense[0], sparse[0])
    assert all(torch.equal(a, b) for a, b in zip(dense, again))
