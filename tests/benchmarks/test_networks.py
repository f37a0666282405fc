import pytest
import torch

from benchmarks.networks import SCHEDULES
from benchmarks.peers import MissingPeer, _imported, mmdet_swin
from benchmarks.plain_sparsevit import PlainSparseViT
from sparsevit_mm import SparseViT


@pytest.mark.parametrize('schedule', ['dense', 'cfg2', 'uniform 0.6'])
def test_the_plain_one_computes_the_same(schedule):
    net = SparseViT(
        embed_dims=12,
        num_heads=(1, 1, 2, 2),
        padding='sparsevit',
        pruning_ratios=SCHEDULES[schedule],
    )
    net.double().eval()
    with torch.no_grad():
        for table in [p for name, p in net.named_parameters() if name.endswith('bias_table')]:
            table.normal_()
        images = torch.rand(2, 3, 120, 205).double()  # padded at every stage
        found, expected = PlainSparseViT(net)(images), net(images)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)


def test_a_peer_that_does_not_import_is_named():
    with pytest.raises(MissingPeer, match='no_such_package does not import here'):
        _imported('no_such_package')


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_mmdets_swin_runs_in_half_precision(dtype):
    network = mmdet_swin(64, 64).to(dtype)
    with torch.no_grad():
        maps = network(torch.rand(1, 3, 64, 64).to(dtype))
    assert [level.dtype for level in maps] == [dtype] * 4
