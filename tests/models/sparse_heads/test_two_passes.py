"""Sparse necks and heads against a slow reference, and what must not change at ratio 0."""

from __future__ import annotations

import copy
import threading

import pytest
import torch
import torch.nn.functional as F

from sparsevit_mm import optimize_for_inference
from sparsevit_mm.models.sparse_heads import find_two_passes, make_heads_sparse
from sparsevit_mm.pruning.selection import num_kept_windows
from tests.helpers.head_networks import DIMS, detector, segmentor, two_stage
from tests.helpers.masked_convolution import pooled, upsampled, window_mask

NETWORKS = {
    'UPerNet': segmentor,
    'FCN': lambda **kwargs: segmentor('FCNHead', **kwargs),
    'FPN head': lambda **kwargs: segmentor('FPNHead', neck=True, **kwargs),
    'FPN head alone': lambda **kwargs: segmentor('FPNHead', in_channels=DIMS, **kwargs),
    'RetinaNet': detector,
    'FCOS': lambda **kwargs: detector('FCOSHead', **kwargs),
    'ATSS with PAFPN': lambda **kwargs: detector('ATSSHead', 'PAFPN', **kwargs),
    'Faster R-CNN': two_stage,
    'Faster R-CNN with PAFPN': lambda **kwargs: two_stage(neck='PAFPN', **kwargs),
}


def flat(outputs):
    if isinstance(outputs, torch.Tensor):
        return [outputs]
    return [tensor for part in outputs for tensor in flat(part)]


def predictions(model, images):
    """Logits of a segmentor; maps and raw predictions of the dense head of a detector."""
    maps = model.extract_feat(images)
    name = next(n for n in ('rpn_head', 'bbox_head', 'decode_head') if hasattr(model, n))
    return flat([list(maps), getattr(model, name)(maps)])


def set_ratios(model, ratios):
    model.backbone.pruning_schedule = dict(ratios=0.0, head_ratios=ratios)


def possible(model, ratio=0.5):
    return [ratio * can for can in model.backbone.head_stages]


def observed(model):
    """The windows of the next forwards, by stage."""
    found = {}
    (passes,) = find_two_passes(model)
    passes.window_observer = found.__setitem__
    return found


def masks_of(found, maps, batch):
    """(B, 1, H, W) masks of the windows of stages; ones where all are kept."""
    masks = {}
    for stage, windows in found.items():
        height, width = maps[stage].shape[2:]
        if windows is None:
            masks[stage] = maps[stage].new_ones(batch, 1, height, width)
        else:
            size = windows.grid.window_size
            mask = window_mask(windows.kept, batch, height, width, size)
            masks[stage] = mask.to(maps[stage])
    return masks


def mixed(conv, x, coarse, mask, pool):
    return mask * conv(x) + (1 - mask) * upsampled(coarse, *x.shape[2:], pool)


def slow_uper_head(head, maps, masks, pool):
    """Logits and coarse logits of a UPerHead: everything computed everywhere, then mixed."""

    def resized(x, like):
        return F.interpolate(x, size=like.shape[2:], mode='bilinear', align_corners=False)

    def finished(module, x):
        return module.activate(module.norm(x))

    laterals = [conv(x) for conv, x in zip(head.lateral_convs, maps)]
    laterals.append(head.psp_forward(maps))
    for i in (3, 2, 1):
        laterals[i - 1] = laterals[i - 1] + resized(laterals[i], laterals[i - 1])
    coarse, fine = [], []
    for level, (module, x) in enumerate(zip(head.fpn_convs, laterals)):
        if level in masks:
            fill = module.conv(pooled(x, pool))
            coarse.append(finished(module, fill))
            fine.append(finished(module, mixed(module.conv, x, fill, masks[level], pool)))
        else:
            coarse.append(module(x))
            fine.append(module(x))
    both = []
    for outs in (coarse, fine):
        outs.append(laterals[-1])
        both.append(torch.cat([outs[0], *(resized(x, outs[0]) for x in outs[1:])], 1))
    module = head.fpn_bottleneck
    fill = module.conv(both[0])
    if 0 in masks:
        joint = finished(module, mixed(module.conv, both[1], fill, masks[0], pool))
    else:
        joint = module(both[1])
    return head.cls_seg(joint), head.cls_seg(finished(module, fill))


@pytest.mark.parametrize('sides', [(96, 128), (150, 97)])
@pytest.mark.parametrize('ratios', [(0.7, 0, 0, 0), (0, 0.5, 0, 0), (0.6, 0.3, 0.5, 0)])
@pytest.mark.parametrize('pool', [2, 3])
def test_a_upernet_equals_the_slow_reference(sides, ratios, pool):
    model = segmentor().double().eval()
    reference = copy.deepcopy(model)
    make_heads_sparse(model, ratios, pool=pool)
    found = observed(model)
    images = torch.rand(2, 3, *sides, dtype=torch.double)
    maps = model.backbone(images)
    logits = model.decode_head(maps)
    masks = masks_of(found, maps, batch=2)
    assert set(masks) == {stage for stage, ratio in enumerate(ratios) if ratio}
    right, coarse = slow_uper_head(reference.decode_head, reference.backbone(images), masks, pool)
    torch.testing.assert_close(logits, right, rtol=1e-9, atol=1e-9)

    # Kept are the windows of which the coarse logits are least sure.
    shares = coarse.softmax(1)
    entropy = -(shares * shares.log()).sum(1, keepdim=True)
    for stage, windows in found.items():
        grid = windows.grid
        size = (grid.height, grid.width)
        fine = F.interpolate(entropy, size=size, mode='bilinear', align_corners=False)
        fine = F.pad(fine, (0, -size[1] % 7, 0, -size[0] % 7))
        scores = F.avg_pool2d(fine, 7).flatten(1)
        number = num_kept_windows(grid.num_windows, ratios[stage])
        best = scores.topk(number, 1).indices + torch.arange(2)[:, None] * grid.num_windows
        assert set(best.flatten().tolist()) == set(windows.kept.tolist())

    weights = torch.rand_like(right)
    for one, other in zip(gradients(logits, weights, model), gradients(right, weights, reference)):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-9)


def gradients(output, weights, model):
    parameters = [p for n, p in model.named_parameters() if 'auxiliary' not in n]
    return torch.autograd.grad((output * weights).sum(), parameters)


def slow_retina(model, maps, masks, pool, levels):
    """Predictions of FPN and RetinaHead, level by level; `levels` are the stages of the first."""
    neck, head = model.neck, model.bbox_head
    laterals = [conv(x) for conv, x in zip(neck.lateral_convs, maps[1:])]
    for i in (2, 1):
        below = laterals[i - 1]
        laterals[i - 1] = below + F.interpolate(laterals[i], size=below.shape[2:], mode='nearest')
    convs = [module.conv for module in neck.fpn_convs]
    inputs = [(pooled(x, pool) if s in masks else None, x) for s, x in zip(levels, laterals)]
    whole = []
    for stage, conv, (coarse, x) in zip(levels, convs, inputs):
        fill = None if coarse is None else conv(coarse)
        fine = conv(x) if fill is None else mixed(conv, x, fill, masks[stage], pool)
        whole.append((stage, fill, fine))
    for conv in convs[3:]:
        whole.append((None, None, conv(whole[-1][2])))
    scores, boxes = [], []
    for stage, fill, fine in whole:
        for branch, last, found in (
            (head.cls_convs, head.retina_cls, scores),
            (head.reg_convs, head.retina_reg, boxes),
        ):
            coarse, x = fill, fine
            for module in [*branch, last]:
                conv = getattr(module, 'conv', module)
                y = conv(x)
                if coarse is not None:
                    coarse = conv(coarse)
                    y = masks[stage] * y + (1 - masks[stage]) * upsampled(
                        coarse, *x.shape[2:], pool
                    )
                if module is not last:
                    y, coarse = y.relu(), None if coarse is None else coarse.relu()
                x = y
            found.append(x)
    return scores + boxes


@pytest.mark.parametrize('sides', [(128, 160), (131, 90)])
@pytest.mark.parametrize('ratios', [(0, 0.7, 0, 0), (0, 0.5, 0.5, 0), (0, 0, 0.5, 0.5)])
def test_a_retinanet_equals_the_slow_reference(sides, ratios):
    model = detector().double().eval()
    reference = copy.deepcopy(model)
    make_heads_sparse(model, ratios)
    found = observed(model)
    images = torch.rand(2, 3, *sides, dtype=torch.double)
    outputs = flat(model.bbox_head(model.extract_feat(images)))
    maps = reference.backbone(images)
    masks = masks_of(found, maps, batch=2)
    right = slow_retina(reference, maps, masks, 2, levels=(1, 2, 3))
    weights = [torch.rand_like(part) for part in right]
    for one, other in zip(outputs, right):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
    for one, other in zip(
        *(
            torch.autograd.grad(
                sum((part * w).sum() for part, w in zip(parts, weights)),
                [p for n, p in network.named_parameters() if not n.startswith('backbone.norm0')],
            )
            for parts, network in ((outputs, model), (right, reference))
        )
    ):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize('name', NETWORKS)
def test_ratio_0_is_the_model(name):
    model = NETWORKS[name]().eval()
    names, plain = list(model.state_dict()), copy.deepcopy(model)
    make_heads_sparse(model)
    assert list(model.state_dict()) == names
    assert type(model) is type(plain)
    images = torch.rand(2, 3, 128, 96)
    with torch.no_grad():
        before = predictions(plain, images)
        assert all(map(torch.equal, predictions(model, images), before))
        set_ratios(model, possible(model))
        sparse = predictions(model, images)
        assert not all(map(torch.equal, sparse, before))
        assert [part.shape for part in sparse] == [part.shape for part in before]
        set_ratios(model, possible(model, 0))
        assert all(map(torch.equal, predictions(model, images), before))


@pytest.mark.parametrize('name', NETWORKS)
def test_the_maps_of_a_neck_lie_as_other_operators_read_them(name):
    """mmcv's RoIAlign reads memory as if every map were contiguous, and does not check."""
    model = NETWORKS[name]().eval()
    make_heads_sparse(model)
    set_ratios(model, possible(model))
    with torch.no_grad():
        maps = model.extract_feat(torch.rand(2, 3, 96, 128))
    assert [one.is_contiguous() for one in maps] == [True] * len(maps)


def test_regions_are_read_from_the_maps_as_they_are():
    model = two_stage().eval()
    make_heads_sparse(model)
    set_ratios(model, possible(model))
    regions = torch.tensor([[0, 4.0, 8, 60, 70], [1, 30, 2, 127, 90]])
    with torch.no_grad():
        maps = model.extract_feat(torch.rand(2, 3, 96, 128))
        extractor = model.roi_head.bbox_roi_extractor
        found = extractor(maps[: extractor.num_inputs], regions)
        copies = [torch.tensor(one.tolist()) for one in maps[: extractor.num_inputs]]
        assert torch.equal(found, extractor(copies, regions))


def test_the_inference_form_keeps_the_layout_and_reads_the_same_regions():
    model = two_stage().eval()
    make_heads_sparse(model)
    set_ratios(model, possible(model))
    images, regions = torch.rand(2, 3, 96, 128), torch.tensor([[0, 4.0, 8, 60, 70]])
    extractor = model.roi_head.bbox_roi_extractor
    with torch.no_grad():
        wanted = extractor(model.extract_feat(images)[: extractor.num_inputs], regions)
        optimize_for_inference(model)
        maps = model.extract_feat(images)
        found = extractor(maps[: extractor.num_inputs], regions)
    assert all(one.is_contiguous(memory_format=torch.channels_last) for one in maps)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('name', NETWORKS)
def test_what_is_repeated_is_the_same_computed_again(name):
    model = make_heads_sparse(NETWORKS[name]().double().eval())
    images = torch.rand(1, 3, 160, 130, dtype=torch.double)
    can = model.backbone.head_stages
    chosen = [possible(model)]
    chosen += [[0.6 * (s == stage) for s in range(4)] for stage in range(4) if can[stage]]
    again = copy.deepcopy(model)
    for module in again.modules():
        if hasattr(module, 'repeats'):
            module.repeats = False
    with torch.no_grad():
        for ratios in chosen:
            set_ratios(model, ratios)
            set_ratios(again, ratios)
            for one, other in zip(predictions(model, images), predictions(again, images)):
                torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_stages_that_can_be_sparse_are_those_that_something_is_computed_at():
    stages = {
        name: make_heads_sparse(build()).backbone.head_stages for name, build in NETWORKS.items()
    }
    assert stages['UPerNet'] == (True, True, True, False)
    assert stages['FCN'] == (False, True, False, False)
    assert stages['RetinaNet'] == (False, True, True, True)
    assert stages['Faster R-CNN'] == (True, True, True, True)


def test_a_copy_has_its_own_schedule():
    model = make_heads_sparse(detector().eval(), (0, 0.5, 0, 0))
    other = copy.deepcopy(model)
    images = torch.rand(1, 3, 96, 128)
    with torch.no_grad():
        sparse = predictions(model, images)
        assert all(map(torch.equal, predictions(other, images), sparse))
        set_ratios(other, possible(other, 0))
        assert not all(map(torch.equal, predictions(other, images), sparse))
        assert all(map(torch.equal, predictions(model, images), sparse))


def test_a_copy_of_a_model_in_the_middle_of_training():
    model = make_heads_sparse(detector(), (0, 0.5, 0, 0))
    model.extract_feat(torch.rand(1, 3, 96, 128))  # the head has not been called yet
    copy.deepcopy(model)


def test_a_head_without_its_neck_ranks_by_itself():
    model = make_heads_sparse(detector().eval(), (0, 0.5, 0, 0))
    images = torch.rand(2, 3, 96, 128)
    found = observed(model)
    with torch.no_grad():
        maps = model.extract_feat(images)
        first = flat(model.bbox_head(maps))
        begun = found.pop(1)
        second = flat(model.bbox_head(maps))  # what the neck began was used up
        assert found[1].kept.shape == begun.kept.shape
        other = flat(model.bbox_head([level.flip(0) for level in maps]))
    for one, both in zip(second, other):
        torch.testing.assert_close(both, one.flip(0))
    assert [part.shape for part in second] == [part.shape for part in first]


def test_threads_do_not_meet():
    model = make_heads_sparse(detector().eval(), (0, 0.5, 0.5, 0))
    batches = [torch.rand(1, 3, 96 + 32 * (i % 2), 128) for i in range(4)]
    with torch.no_grad():
        right = [predictions(model, images) for images in batches]
    found = [None] * len(batches)

    def work(i):
        with torch.no_grad():
            for _ in range(5):
                found[i] = predictions(model, batches[i])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(batches))]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    for one, other in zip(found, right):
        assert all(map(torch.allclose, one, other))


@pytest.mark.parametrize('name', ['UPerNet', 'RetinaNet'])
def test_the_backbone_may_rank(name):
    model = make_heads_sparse(NETWORKS[name]().eval(), ranking='backbone')
    set_ratios(model, possible(model))
    found = observed(model)
    seen = {}
    model.backbone.window_observer = lambda s: seen.setdefault(s.stage, s)
    images = torch.rand(2, 3, 128, 160)
    with torch.no_grad():
        predictions(model, images)
    assert found[1].num_windows > 2
    for stage, windows in found.items():
        if windows is None:
            continue
        scores = model.backbone.stage_scores[threading.get_ident(), stage]
        best = scores.topk(windows.num_windows // 2, 1).indices  # of two images
        best = best + torch.arange(2)[:, None] * windows.grid.num_windows
        assert set(best.flatten().tolist()) == set(windows.kept.tolist())


def test_an_empty_batch():
    model = make_heads_sparse(segmentor().eval(), (0.5, 0, 0, 0))
    with torch.no_grad():
        assert model.decode_head(model.backbone(torch.rand(0, 3, 64, 64))).shape[0] == 0


def test_low_precision():
    model = make_heads_sparse(detector().eval(), (0, 0.5, 0.5, 0))
    images = torch.rand(1, 3, 96, 128)
    found = observed(model)
    with torch.no_grad():
        right = flat(model.bbox_head(model.extract_feat(images)))
        kept = found[1].kept
        with torch.autocast('cpu', torch.bfloat16):
            low = flat(model.bbox_head(model.extract_feat(images)))
    assert low[0].dtype == torch.bfloat16
    assert [part.shape for part in low] == [part.shape for part in right]
    same = set(kept.tolist()) == set(found[1].kept.tolist())
    if same:  # two windows of nearly the same score may change places
        for one, other in zip(low, right):
            assert (one.float() - other).abs().mean() < 0.1 * other.abs().mean()


def test_it_is_built_by_a_config():
    model = segmentor(build=dict(head_ratios=[0.5, 0, 0, 0], head_pool=3)).eval()
    assert type(model).__name__ == 'EncoderDecoder'
    assert model.backbone.pruning_schedule.head_ratios == (0.5, 0, 0, 0)
    (passes,) = find_two_passes(model)
    assert (passes.pool, passes.ranking) == (3, 'head')


def test_window_sizes_are_the_backbones():
    fastervit = dict(
        type='sparsevit_mm.FasterViT', arch='0', dim=8, in_dim=8, depths=(1, 1, 2, 2),
        num_heads=(1, 1, 2, 4),
    )  # fmt: skip
    dims = [8, 16, 32, 64]
    model = segmentor(backbone=fastervit, in_channels=dims)
    make_heads_sparse(model.eval(), (0.5, 0, 0.5, 0))
    found = observed(model)
    with torch.no_grad():
        model.decode_head(model.backbone(torch.rand(1, 3, 224, 160)))
    assert found[0].grid.window_size == 7  # of a stage of convolutions
    assert found[2].grid.window_size == model.backbone.arch.window_sizes[2]


def test_twins_are_served_together():
    first, second = segmentor(), segmentor()
    model = torch.nn.ModuleDict(dict(student=first, teacher=second))
    make_heads_sparse(model, (0.5, 0, 0, 0))
    assert len(find_two_passes(model)) == 2
    assert second.backbone.pruning_schedule.head_ratios == (0.5, 0, 0, 0)
