"""Layouts change where numbers lie, never the numbers."""

import pytest
import torch

from sparsevit_mm.ops.layouts import channels_last, for_convolution


@pytest.mark.parametrize('channels', [8, 1024])
@pytest.mark.parametrize('stored', [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize('size', [(1, 1), (3, 5)])
def test_a_map_is_the_same_in_the_layout_of_its_convolution(channels, stored, size):
    own = torch.rand(2, channels, *size).contiguous(memory_format=stored)
    found = for_convolution(own)
    assert torch.equal(found, own)
    wanted = torch.contiguous_format if channels >= 1024 else torch.channels_last
    assert found.is_contiguous(memory_format=wanted)
    assert channels_last(found).is_contiguous(memory_format=torch.channels_last)


def test_a_map_between_others_and_an_empty_batch():
    wide = torch.rand(2, 2048, 6, 6)
    assert torch.equal(for_convolution(wide[:, 5:1029, 1:4]), wide[:, 5:1029, 1:4])
    assert for_convolution(wide[:0]).shape == (0, 2048, 6, 6)


def test_the_gradient_passes():
    own = torch.rand(1, 1024, 2, 3).contiguous(memory_format=torch.channels_last).requires_grad_()
    weights = torch.rand(own.shape)
    (found,) = torch.autograd.grad((for_convolution(own) * weights).sum(), own)
    assert torch.equal(found, weights)
