"""Networks compute where their images are, whatever the default device; batches may be empty."""

from __future__ import annotations

import pytest
import torch

from sparsevit_mm import FasterViT, SparseViT, SwinHAT

NETWORKS = {
    'sparsevit': lambda: SparseViT(
        embed_dims=12, depths=(2, 2), num_heads=(1, 2), out_indices=(0, 1), pruning_ratios=0.5,
        drop_path_rate=0.5, use_abs_pos_embed=True, pretrain_img_size=32,
    ),
    'swin-hat': lambda: SwinHAT(
        embed_dims=16, depths=(2, 2), num_heads=(2, 2), hat=(False, True), out_indices=(0, 1)
    ),
    'fastervit': lambda: FasterViT(arch='0', dim=16, in_dim=16, depths=(1, 1, 1, 1)),
}  # fmt: skip


@pytest.mark.parametrize('name', NETWORKS)
def test_another_default_device(name):
    torch.manual_seed(0)
    net = NETWORKS[name]()
    net.init_weights()
    # Sizes that no other test uses: maps that are kept by size are made under the other default.
    images = torch.randn(2, 3, 77, 141)
    with torch.device('meta'):
        trained = net.train()(images)
        sum(each.sum() for each in trained).backward()
        with torch.no_grad():
            found = net.eval()(images)
    with torch.no_grad():
        for mine, expected in zip(found, net(images)):
            torch.testing.assert_close(mine, expected)
    assert all(p.grad is None or p.grad.device.type == 'cpu' for p in net.parameters())


@pytest.mark.parametrize('name', NETWORKS)
def test_an_empty_batch(name):
    net = NETWORKS[name]()
    for mode in (True, False):
        maps = net.train(mode)(torch.randn(0, 3, 64, 96))
        whole = net.eval()(torch.randn(1, 3, 64, 96))
        assert [each.shape[1:] for each in maps] == [each.shape[1:] for each in whole]
        assert all(len(each) == 0 for each in maps)
