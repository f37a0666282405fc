"""The neck of SMOKE: one map at the finest stride, to which every level contributes."""

from __future__ import annotations

import pytest
import torch
from mmengine.registry import MODELS

from sparsevit_mm.det3d.top_down_neck import TopDownNeck
from sparsevit_mm.errors import ConfigError


def maps_of(channels, height=24, width=44):
    return [
        torch.rand(2, wide, -(-height // 2**n), -(-width // 2**n), requires_grad=True)
        for n, wide in enumerate(channels)
    ]


def test_one_map_of_the_finest_size_also_where_sides_are_odd():
    channels = (12, 24, 48, 96)
    neck = MODELS.build(dict(type='sparsevit_mm.TopDownNeck', in_channels=channels))
    for size in ((24, 44), (23, 41)):
        (joined,) = neck(maps_of(channels, *size))
        assert joined.shape == (2, 64, *size)
        assert (joined >= 0).all()


def test_every_level_matters_and_every_weight_learns():
    neck, maps = TopDownNeck((12, 24, 48)), maps_of((12, 24, 48))
    neck(maps)[0].square().sum().backward()
    assert all(level.grad.abs().sum() > 0 for level in maps)
    assert all(weight.grad.abs().sum() > 0 for weight in neck.parameters())


def test_constant_maps_stay_constant_inside():
    """Enlarging neither shifts nor tilts: what is even everywhere stays so."""
    neck = TopDownNeck((8, 8), num_groups=64).double()
    maps = [torch.full((1, 8, 20, 20), 0.7), torch.full((1, 8, 10, 10), -0.4)]
    for lateral in neck.laterals:  # a norm of one value a group would only see zeros
        lateral[1] = torch.nn.Identity()
    neck.smooth[1] = torch.nn.Identity()
    inside = neck([level.double() for level in maps])[0][..., 1:-1, 1:-1]
    torch.testing.assert_close(inside, inside[..., :1, :1].expand_as(inside))
    assert inside.max() > 0


@pytest.mark.parametrize('wrong', [dict(in_channels=()), dict(in_channels=(8,), num_groups=48)])
def test_what_cannot_be_built_is_one_sentence(wrong):
    with pytest.raises(ConfigError, match=r'(in_channels|num_groups) is .*but must'):
        TopDownNeck(**wrong)
