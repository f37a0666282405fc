"""Weights for RGB images in networks for images of other channels."""

from __future__ import annotations

import pytest
import torch

from sparsevit_mm import FasterViT, SparseViT
from sparsevit_mm.errors import CheckpointError

SIZES = {
    'SparseViT': dict(embed_dims=8, depths=(1, 1), num_heads=(1, 2), out_indices=(1,)),
    'FasterViT': dict(dim=8, in_dim=8, depths=(1, 1, 1, 1), num_heads=(1, 1, 1, 1)),
}
CLASSES = {'SparseViT': SparseViT, 'FasterViT': FasterViT}


@pytest.fixture(params=CLASSES)
def saved(request, tmp_path):
    """A trained network for RGB images, and how to build one that starts from it."""
    kind, sizes = CLASSES[request.param], SIZES[request.param]
    old = kind(**sizes).eval()
    torch.save(old.state_dict(), tmp_path / 'rgb.pth')

    def started(in_channels, **options):
        init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'rgb.pth'), **options)
        network = kind(**sizes, in_channels=in_channels, init_cfg=init_cfg)
        network.init_weights()
        return network.eval()

    return old, started


@torch.no_grad()
def equal(network, images, old, rgb):
    torch.testing.assert_close(network(images)[-1], old(rgb)[-1], rtol=1e-4, atol=1e-4)


def test_further_channels_start_from_the_mean(saved):
    old, started = saved
    rgb = torch.rand(2, 3, 64, 64)
    zero = torch.zeros(2, 2, 64, 64)
    equal(started(5, channels='rgb'), torch.cat([rgb, zero], 1), old, rgb)
    equal(started(5, channels='bgr'), torch.cat([rgb.flip(1), zero], 1), old, rgb)
    # A further channel is to the network what a third of itself in each color is.
    extra = torch.rand(2, 1, 64, 64)
    equal(started(4, channels='rgb'), torch.cat([rgb, extra], 1), old, rgb + extra / 3)


def test_gray_images_are_gray_colors(saved):
    old, started = saved
    gray = torch.rand(2, 1, 64, 64)
    equal(started(1, channels='rgb'), gray, old, gray.repeat(1, 3, 1, 1))
    equal(started(2, channels='rgb'), gray.repeat(1, 2, 1, 1), old, gray.repeat(1, 3, 1, 1))


def test_the_error_says_channels_and_the_way_out(saved):
    _, started = saved
    with pytest.raises(CheckpointError, match='for images of 3 channels, but the network takes 4: '
                       "say what the images' first three are with channels=") as error:  # fmt: skip
        started(4)
    assert '\n' not in str(error.value)
    with pytest.raises(CheckpointError, match="channels in init_cfg is 'gray', but must be one of"):
        started(4, channels='gray')
