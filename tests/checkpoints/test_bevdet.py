"""Checkpoints in the layouts of BEVDet's authors, made by the inverse of the mapping."""

from __future__ import annotations

import re
from copy import deepcopy

import numpy as np
import pytest
import torch

pytest.importorskip('mmdet3d')
from mmengine.runner import load_checkpoint

from sparsevit_mm.checkpoints.converting import convert_to_ours
from sparsevit_mm.checks.configs import check_weights_fit
from sparsevit_mm.errors import CheckpointError
from tests.det3d.bevdet.test_detector import frames
from tests.helpers.bevdet_networks import build, released, small

THEIRS = {
    'backbone': 'img_backbone',
    'neck': 'img_neck',
    'view_transform': 'img_view_transformer',
    'bev_backbone': 'img_bev_encoder_backbone',
    'bev_neck': 'img_bev_encoder_neck',
    'bbox_head': 'pts_bbox_head',
}
MMDET_SWIN = dict(
    type='mmdet.SwinTransformer',
    embed_dims=16,
    depths=(2, 2, 2, 2),
    num_heads=(1, 2, 4, 8),
    out_indices=(2, 3),
    drop_path_rate=0.0,
)


def authors_file(model, first_code=True):
    """What the authors' code would have saved of the same network."""
    found = {}
    for name, value in model.state_dict().items():
        part, _, rest = name.partition('.')
        name = f'{THEIRS[part]}.{rest}'
        if first_code:
            name = name.replace('depth_net', 'depthnet')
            if re.search(r'\.dim\.1\.', name):  # width, length, height
                value = torch.stack([value[1], value[0], value[2]])
            elif re.search(r'\.rot\.1\.', name):  # sine and cosine of -yaw - π/2
                value = torch.stack([-value[1], -value[0]])
        found[name] = value.clone()
    for constant in ('dx', 'bx', 'nx', 'frustum'):
        found[f'img_view_transformer.{constant}'] = torch.ones(3)
    return found


def random_network(seed, cfg=None):
    torch.manual_seed(seed)
    model = build(cfg or small()).eval()
    for part in model.parameters():
        torch.nn.init.normal_(part, std=0.05)
    model.bbox_head.bbox_coder.score_threshold = 0.0
    return model


def predictions(model):
    with torch.no_grad():
        (sample,) = model.test_step(frames(1))
    return sample.pred_instances_3d


@pytest.mark.parametrize('first_code', [True, False])
def test_the_authors_file_predicts_the_same(first_code, tmp_path):
    model, other = random_network(0), random_network(1)
    path = tmp_path / 'bevdet.pth'
    torch.save({'state_dict': authors_file(model, first_code), 'meta': {}}, path)
    check_weights_fit(deepcopy(other), str(path), part='backbone.')
    check_weights_fit(deepcopy(other), str(path))
    load_checkpoint(other, str(path), map_location='cpu', strict=True)
    expected, found = predictions(model), predictions(other)
    assert len(expected) > 50
    assert torch.equal(found.bboxes_3d.tensor, expected.bboxes_3d.tensor)
    assert torch.equal(found.scores_3d, expected.scores_3d)


def test_old_boxes_are_the_same_boxes():
    """The old head's numbers, read in its own convention, against the converted head's."""
    model = random_network(0)
    old = authors_file(model)
    torch.manual_seed(1)
    feature = torch.randn(32)  # what the last convolutions of the small head read
    for task in range(6):
        name = f'pts_bbox_head.task_heads.{task}'
        size, rot = (
            old[f'{name}.{part}.1.weight'][:, :, 1, 1] @ feature + old[f'{name}.{part}.1.bias']
            for part in ('dim', 'rot')
        )
        (width, length, height), old_yaw = size.exp(), torch.atan2(rot[0], rot[1])
        yaw = -old_yaw - np.pi / 2
        head = model.bbox_head.task_heads[task]
        new_size, new_rot = (
            part[1].weight[:, :, 1, 1] @ feature + part[1].bias for part in (head.dim, head.rot)
        )
        torch.testing.assert_close(new_size.exp(), torch.stack([length, width, height]))
        turn = torch.atan2(new_rot[0], new_rot[1]) - yaw
        assert abs(torch.remainder(turn + np.pi, 2 * np.pi) - np.pi) < 1e-5


def test_swin_of_mmdetection_and_ours_load_the_same_file(tmp_path):
    model = random_network(0, small(MMDET_SWIN))
    file = authors_file(model)
    assert any('relative_position_index' in name for name in file)
    for other in (random_network(1, small(MMDET_SWIN)), random_network(1)):
        other.load_state_dict(file, strict=True)
        torch.testing.assert_close(
            predictions(other).bboxes_3d.tensor,
            predictions(model).bboxes_3d.tensor,
            rtol=1e-3,
            atol=1e-3,
        )


def test_our_own_files_stay_as_they_are():
    model, other = random_network(0), random_network(1)
    missing, unexpected = other.load_state_dict(model.state_dict(), strict=False)
    assert not missing
    assert not unexpected
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters()))


def test_converts_to_a_file_of_ours(tmp_path):
    model = random_network(0)
    source, target = tmp_path / 'theirs.pth', tmp_path / 'ours.pth'
    torch.save({'state_dict': authors_file(model), 'meta': {'epoch': 20}}, source)
    conversion = convert_to_ours(source, target)
    assert 'of a BEVDet in the BEVDet authors, first code layout' in str(conversion)
    assert conversion.dropped == 4
    content = torch.load(target, weights_only=True)
    assert content['meta'] == {'epoch': 20}
    expected, found = model.state_dict(), content['state_dict']
    assert set(found) == set(expected)
    assert all(torch.equal(found[name], expected[name]) for name in found)


def test_the_published_names():
    """Names and shapes of the released BEVDet-Tiny, as far as its layout is known."""
    names = authors_file(build(released()))
    for name, shape in {
        'img_backbone.stages.2.blocks.5.attn.w_msa.qkv.weight': (1152, 384),
        'img_neck.conv.0.weight': (512, 1152, 3, 3),
        'img_neck.conv.4.bias': (512,),
        'img_view_transformer.depthnet.weight': (123, 512, 1, 1),
        'img_bev_encoder_backbone.layers.0.0.downsample.bias': (128,),
        'img_bev_encoder_backbone.layers.2.1.bn2.weight': (512,),
        'img_bev_encoder_neck.conv.0.weight': (512, 640, 3, 3),
        'img_bev_encoder_neck.up2.1.weight': (256, 512, 3, 3),
        'img_bev_encoder_neck.up2.4.bias': (256,),
        'pts_bbox_head.shared_conv.conv.weight': (64, 256, 3, 3),
        'pts_bbox_head.task_heads.5.heatmap.0.bn.weight': (64,),
        'pts_bbox_head.task_heads.5.heatmap.1.weight': (2, 64, 3, 3),
    }.items():
        assert tuple(names[name].shape) == shape, name


def test_refuses_another_network(tmp_path):
    path = tmp_path / 'bevdet.pth'
    torch.save({'state_dict': authors_file(random_network(0))}, path)
    narrower = small()
    narrower['backbone']['embed_dims'] = 8
    narrower['neck']['in_channels'] = (32, 64)
    with pytest.raises(CheckpointError, match='another architecture than the config: backbone'):
        check_weights_fit(build(narrower), str(path), part='backbone.')
