"""The traced attention is what the network computes, on grids with and without padding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from sparsevit_mm.apis.show_attention import show_attention
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.visualization.attention import draw_attention, trace_attention
from tests.models.test_fastervit import SCALED, build


@pytest.mark.parametrize('height, width', [(96, 192), (130, 75)])
@pytest.mark.parametrize('carriers', [True, False])
def test_attention_is_shared_out_completely(height, width, carriers):
    net = build(hat=(False, False, carriers, False), **SCALED).eval()
    found = trace_attention(net, torch.randn(1, 3, height, width), (0.99, 0.4), block=0)
    grid = found.grid
    assert found.window.shape == found.carriers.shape == (grid.height, grid.width)
    assert found.window.sum() + found.carriers.sum() == pytest.approx(1, abs=1e-4)
    assert (found.carriers.sum() > 0) == carriers
    top, left = (place // 3 * 3 for place in (found.row, found.col))
    outside = found.window.copy()
    outside[top : top + 3, left : left + 3] = 0
    assert outside.max() == 0
    assert found.row == grid.height - 1


def test_weights_are_those_that_forward_uses():
    net = build(hat=(False, False, True, False), **SCALED).eval()
    attention, seen = net.levels[2].blocks[0].attn, []
    attention.register_forward_hook(lambda m, args, out: seen.append((args, out)))
    with torch.no_grad():
        net(torch.randn(1, 3, 130, 75))
        args, out = seen[0]
        weights = attention.weights(*args)
        qkv = attention.qkv(args[0]).view(*args[0].shape[:2], 3, attention.num_heads, -1)
        mixed = weights @ qkv.permute(2, 0, 3, 1, 4)[2]
        expected = attention.proj(mixed.transpose(1, 2).reshape(args[0].shape))
    torch.testing.assert_close(out, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]))


def test_picture_shows_the_token(tmp_path):
    net = build(hat=(False, False, True, False), **SCALED).eval()
    attention = trace_attention(net, torch.randn(1, 3, 96, 192), (0.2, 0.8))
    picture = draw_attention(np.full((96, 192, 3), 128, np.uint8), attention)
    assert picture.dtype == np.uint8
    assert (picture == np.array([0, 229, 255])).all(-1).any()
    assert (picture[-45:, 600:] == picture[-45:, 600:601]).mean() < 0.99  # a bar of colors
    untrained = draw_attention(np.full((96, 192, 3), 128, np.uint8), attention, random_weights=True)
    assert (untrained != picture)[:80].any() and (untrained == picture)[80:].all()


def test_tool_draws_any_picture_and_refuses_what_is_wrong(tmp_path, capsys):
    pixels = np.random.default_rng(0).integers(0, 255, (50, 80, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / 'picture.png')
    config = tmp_path / 'config.py'
    config.write_text(
        "default_scope = 'mmengine'\n"
        "model = dict(type='sparsevit_mm.ImageClassifier', in_channels=64, num_classes=2,\n"
        "    backbone=dict(type='sparsevit_mm.FasterViT', dim=8, in_dim=8))\n"
    )
    out = tmp_path / 'new' / 'attention.png'
    picture = str(tmp_path / 'picture.png')
    show_attention(picture, str(config), out=str(out), long_side=160)
    assert Image.open(out).size[0] > 1000
    for wrong, message in (
        (dict(place=(0.5, 1.2)), 'place is'),
        (dict(stage=1), r'stage is 1, but stages with attention are \[2, 3\]'),
        (dict(block=9), 'block is 9, but stage 2 has 6 blocks'),
        (dict(long_side=3), 'long_side is 3'),
    ):
        with pytest.raises(ConfigError, match=message):
            show_attention(picture, str(config), out=str(out), **{'long_side': 160, **wrong})
    options = {
        'model.backbone': dict(type='sparsevit_mm.SparseViT', embed_dims=8, num_heads=(1,) * 4)
    }
    options['model.backbone']['_delete_'] = True
    with pytest.raises(ConfigError, match='has 0 FasterViT backbones'):
        show_attention(picture, str(config), out=str(out), cfg_options=options)
