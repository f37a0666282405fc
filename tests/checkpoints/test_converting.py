"""Converted files: any layout gives the same network, in ours and in MMDetection's Swin."""

from __future__ import annotations

import re

import pytest
import torch
from mmdet.models.backbones import SwinTransformer

from sparsevit_mm import FasterViT, SparseViT
from sparsevit_mm.checkpoints.converting import (
    convert_to_mmdet,
    convert_to_ours,
    relative_position_index,
)
from sparsevit_mm.errors import CheckpointError
from tests.checkpoints.test_layouts import (
    LAYOUTS,
    SIZES,
    WITHOUT_OUTPUT_NORMS,
    swin,  # noqa: F401
)


def outputs(net, images):
    with torch.no_grad():
        return net(images)


@pytest.mark.parametrize('layout', LAYOUTS)
@pytest.mark.parametrize('convert', [convert_to_ours, convert_to_mmdet])
def test_every_layout_becomes_the_same_network(swin, layout, convert, tmp_path):  # noqa: F811
    source, target = tmp_path / 'source.pth', tmp_path / 'folder' / 'target.pth'
    torch.save(LAYOUTS[layout](swin), source)
    report = convert(source, target)
    weights = torch.load(target, weights_only=True)['state_dict']
    inside = layout in ('detector', 'distributed', 'MMPretrain')
    heads = {name for name in weights if name in ('rpn_head.weight', 'head.fc.bias')}
    inner = {n.removeprefix('backbone.'): w for n, w in weights.items() if n not in heads}
    assert all(name.startswith('backbone.') for name in weights.keys() - heads) == inside
    assert ('rpn_head.weight' in weights) == (layout == 'detector')
    assert (layout in ('detector', 'MMPretrain')) == bool(report.others) == bool(heads)

    norms = {n for n in swin.state_dict() if n.startswith('norm')}
    if layout in WITHOUT_OUTPUT_NORMS:
        assert not norms & inner.keys()
        inner |= {name: swin.state_dict()[name] for name in norms}
    if convert is convert_to_ours:
        net = SparseViT(**SIZES).eval()
    else:
        net = SwinTransformer(**SIZES)
        net.eval()
    net.load_state_dict(inner, strict=True)
    images = torch.randn(1, 3, 75, 120)
    for mine, expected in zip(outputs(net, images), outputs(swin, images)):
        torch.testing.assert_close(mine, expected)


def test_mmdet_and_back(swin, tmp_path):  # noqa: F811
    """MMDetection's own file, converted to ours and back, is that file again."""
    source, ours, back = (tmp_path / f'{name}.pth' for name in ('source', 'ours', 'back'))
    theirs = SwinTransformer(**SIZES).state_dict()
    torch.save({'state_dict': theirs, 'meta': {'dataset_meta': {'classes': ('a', 'b')}}}, source)
    assert convert_to_ours(source, ours).dropped == sum('index' in name for name in theirs)
    convert_to_mmdet(ours, back)
    content = torch.load(back, weights_only=True)
    assert content['state_dict'].keys() == theirs.keys()
    for name, weight in theirs.items():
        torch.testing.assert_close(content['state_dict'][name], weight, rtol=0, atol=0)
    assert content['meta']['dataset_meta']['classes'] == ('a', 'b')


def test_what_an_importance_has_learned_stays_in_ours(tmp_path):
    source, ours, theirs = (tmp_path / f'{name}.pth' for name in ('source', 'ours', 'theirs'))
    net = SparseViT(**SIZES, importance='learned')
    for buffer in net.importance_state.buffers():
        torch.nn.init.normal_(buffer)
    torch.save({'state_dict': net.state_dict()}, source)
    convert_to_ours(source, ours)
    other = SparseViT(
        **SIZES, importance='learned', init_cfg=dict(type='Pretrained', checkpoint=str(ours))
    )
    other.init_weights()
    assert other.importance_state.has_learned
    for name, value in net.importance_state.state_dict().items():
        assert torch.equal(other.importance_state.state_dict()[name], value)
    assert convert_to_mmdet(source, theirs).dropped == len(net.importance_state.state_dict())
    SwinTransformer(**SIZES).load_state_dict(torch.load(theirs, weights_only=True)['state_dict'])


@pytest.mark.parametrize('window_size', [1, 2, 7, 12])
def test_index_is_that_of_mmdet(window_size):
    from mmdet.models.backbones.swin import WindowMSA

    theirs = WindowMSA(4, 1, (window_size, window_size)).relative_position_index
    assert torch.equal(relative_position_index(window_size), theirs)


def test_fastervit_of_its_authors(tmp_path):
    """Names of the authors' patch embedding and merging become ours; heads are left out."""
    torch.manual_seed(0)
    sizes = dict(
        dim=8, in_dim=8, depths=(1, 1, 1, 1), num_heads=(1, 1, 2, 2), hat=(False,) * 4,
        drop_path_rate=0.0,
    )  # fmt: skip
    net, other = FasterViT(**sizes).eval(), FasterViT(**sizes).eval()
    theirs = {
        re.sub(r'^patch_embed\.', 'patch_embed.conv_down.', name)
        .replace('downsample.reduction.', 'downsample.reduction.0.')
        .replace('.position_bias.', '.pos_emb_funct.'): weight
        for name, weight in net.state_dict().items()
    }
    assert theirs.keys() != net.state_dict().keys()
    source, target = tmp_path / 'source.pth', tmp_path / 'target.pth'
    torch.save({'state_dict': {**theirs, 'head.weight': torch.zeros(10, 64)}}, source)
    report = convert_to_ours(source, target)
    assert (report.family, report.layout) == ('FasterViT', 'FasterViT authors')
    assert report.dropped == 1
    other.load_state_dict(torch.load(target, weights_only=True)['state_dict'], strict=True)
    images = torch.randn(1, 3, 64, 64)
    for mine, expected in zip(outputs(other, images), outputs(net, images)):
        torch.testing.assert_close(mine, expected)


@pytest.mark.parametrize('convert', [convert_to_ours, convert_to_mmdet])
def test_other_files_are_refused_and_nothing_is_written(convert, tmp_path):
    source, target = tmp_path / 'source.pth', tmp_path / 'folder' / 'target.pth'
    torch.save({'layer1.0.conv1.weight': torch.zeros(1)}, source)
    with pytest.raises(CheckpointError, match='begins with layer1.0.conv1.weight, but must be'):
        convert(source, target)
    assert not target.parent.exists()
