"""RoIAlign of channels-last maps against mmcv's operator."""

from __future__ import annotations

import pytest
import torch

from sparsevit_mm.ops.roi_align import roi_align

mmcv = pytest.importorskip('mmcv.ops')


def regions(number, height, width):
    """Regions of every size, some partly or wholly outside of the images, some of no size."""
    corner = torch.rand(number, 2) * torch.tensor([width, height]) * 1.4 - 20
    side = torch.rand(number, 2) ** 3 * torch.tensor([width, height])
    side[::5] = 0
    image = torch.randint(0, 2, (number, 1)).float()
    return torch.cat([image, corner, corner + side], 1)


@pytest.mark.parametrize('sampling_ratio', [0, 1, 2])
@pytest.mark.parametrize('aligned', [True, False])
@pytest.mark.parametrize('size', [(7, 7), (14, 14), (1, 3)])
def test_equals_the_operator(sampling_ratio, aligned, size):
    feature_map = torch.randn(2, 8, 40, 52)
    rois = regions(60, 160, 208)
    expected = mmcv.roi_align(feature_map, rois, size, 0.25, sampling_ratio, 'avg', aligned)
    for layout in (torch.contiguous_format, torch.channels_last):
        given = feature_map.contiguous(memory_format=layout)
        found = roi_align(given, rois, size, 0.25, sampling_ratio, aligned)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
        assert found.is_contiguous(memory_format=torch.channels_last)


def test_many_and_no_regions():
    feature_map, rois = torch.randn(2, 4, 90, 90), regions(2000, 360, 360)
    found = roi_align(feature_map, rois, (7, 7), 0.25)
    expected = mmcv.roi_align(feature_map, rois, (7, 7), 0.25, 0, 'avg', True)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)
    assert roi_align(feature_map, rois[:0], (7, 7), 0.25).shape == (0, 4, 7, 7)


def test_bfloat16_is_near():
    feature_map, rois = torch.randn(2, 16, 40, 52), regions(60, 160, 208)
    found = roi_align(feature_map.bfloat16(), rois, (7, 7), 0.25)
    assert found.dtype == torch.bfloat16
    expected = roi_align(feature_map, rois, (7, 7), 0.25)
    assert (found.float() - expected).norm() < 0.01 * expected.norm()
