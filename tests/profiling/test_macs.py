"""Counted MACs against the paper's formula, its tables, and what torch executes."""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from sparsevit_mm import FasterViT, PruningSchedule, SparseViT, SwinHAT
from sparsevit_mm.models.swin_arch import SwinArch
from sparsevit_mm.ops.compat import plain_attention
from sparsevit_mm.ops.windows import WindowGrid
from sparsevit_mm.profiling.macs import backbone_macs, ranking_operations
from sparsevit_mm.profiling.model_macs import model_macs
from sparsevit_mm.pruning.importance import build_importance
from sparsevit_mm.search.cost import MacsCost

DEPTHS = (2, 2, 6, 2)
CFG1 = [[0.3], [0], [0.1, 0.2, 0.2], [0]]
CFG2 = [[0.6], [0], [0.2, 0.4, 0.5], [0]]
CFG3 = [[0.7], [0], [0.2, 0.4, 0.5], [0]]


@pytest.mark.parametrize(
    'size, batch, width, ratios, published',
    [
        # COCO, table 2, four images. The printed 161.8 of the 640 row is the count at 672.
        ((672, 672), 4, 1.0, 0, 161.8),
        ((576, 576), 4, 1.0, 0, 149.5),
        ((544, 544), 4, 1.0, 0, 119.8),
        ((512, 512), 4, 1.0, 0, 117.5),
        ((640, 640), 4, 0.9, 0, 122.3),
        ((640, 640), 4, 0.8, 0, 90.5),
        ((640, 640), 4, 0.6, 0, 63.4),
        ((672, 672), 4, 1.0, CFG1, 139.5),
        ((672, 672), 4, 1.0, CFG2, 116.5),
        # nuScenes, table 1, six cameras.
        ((256, 704), 6, 1.0, 0, 140.8),
        ((224, 616), 6, 1.0, 0, 78.5),
        ((192, 528), 6, 1.0, 0, 67.1),
        ((256, 704), 6, 0.6, 0, 56.0),
    ],
)
def test_published_tables(size, batch, width, ratios, published):
    arch = SwinArch.build('tiny', width)
    macs = backbone_macs(arch, PruningSchedule.parse(ratios, DEPTHS), *size, batch)
    assert macs.total / 1e9 == pytest.approx(published, abs=0.3)


@pytest.mark.parametrize(
    'size, batch, width, ratios, counted',
    [
        # Rows whose printed figure does not follow from their own settings.
        ((640, 640), 4, 1.0, 0, 158.8),
        ((672, 672), 4, 1.0, CFG3, 113.6),
        ((256, 704), 6, 0.4, 0, 20.8),
    ],
)
def test_rows_that_count_otherwise(size, batch, width, ratios, counted):
    arch = SwinArch.build('tiny', width)
    macs = backbone_macs(arch, PruningSchedule.parse(ratios, DEPTHS), *size, batch)
    assert macs.total / 1e9 == pytest.approx(counted, abs=0.05)


def test_formula_of_one_stage():
    arch = SwinArch(embed_dims=12, depths=(2,), num_heads=(3,))
    macs = backbone_macs(arch, PruningSchedule(((0.0, 0.5),)), 56, 84)
    per_window = 49 * (12 * 12**2 + 98 * 12)
    assert macs.patch_embed == 14 * 21 * 48 * 12
    assert [block.macs for block in macs.blocks[0]] == [6 * per_window, 3 * per_window]
    assert macs.merging == ()
    assert macs.total == macs.patch_embed + 9 * per_window


@pytest.mark.parametrize('size', [(224, 224), (100, 213), (5, 30)])
@pytest.mark.parametrize('ratios', [0, [0.5, 0.2, 0.3]])
def test_equals_what_torch_executes(size, ratios):
    net = SparseViT(
        embed_dims=12,
        depths=(2, 1, 3),
        num_heads=(1, 2, 4),
        mlp_ratio=3,
        out_indices=(2,),
        window_size=5,
        pruning_ratios=ratios,
    ).eval()
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), plain_attention(), counter:
        net(torch.randn(2, 3, *size))
    counted = backbone_macs(net.arch, net.pruning_schedule, *size, batch=2)
    assert counter.get_total_flops() == 2 * counted.total


@pytest.mark.parametrize('size', [(256, 256), (160, 224), (100, 213), (5, 30)])
@pytest.mark.parametrize('ratios', [0, [[0], [0], [0.2, 0.6], [0.5]]])
@pytest.mark.parametrize(
    'options',
    [
        dict(),
        dict(hat=(False, False, True, True), ct_size=1, mlp_ratio=3, out_indices=(1, 2)),
        dict(hat=(False,) * 4, in_channels=1, do_propagation=True, layer_scale=1.0),
        dict(carrier_pooling='centered'),
    ],
)
def test_fastervit_equals_what_torch_executes(size, ratios, options):
    sizes = dict(dim=8, in_dim=6, depths=(1, 2, 3, 2), num_heads=(1, 1, 2, 4))
    net = FasterViT(**sizes, window_size=(7, 7, 4, 3), pruning_ratios=ratios, **options).eval()
    images = torch.zeros(2, net.arch.in_channels, *size)
    counted = backbone_macs(net.arch, net.pruning_schedule, *size, 2).total
    assert counted == model_macs(net, lambda: net(images)).total
    assert counted == MacsCost(net.arch, *size, 2).price(net.pruning_schedule)


@pytest.mark.parametrize('size', [(96, 64), (100, 213)])
@pytest.mark.parametrize('ratios', [0, [[0.3], [0.2, 0.6]]])
@pytest.mark.parametrize('pooling', ['authors', 'centered'])
def test_swin_hat_equals_what_torch_executes(size, ratios, pooling):
    net = SwinHAT(
        embed_dims=8,
        depths=(2, 3),
        num_heads=(1, 2),
        window_size=4,
        out_indices=(0, 1),
        hat=(False, True),
        carrier_pooling=pooling,
        pruning_ratios=ratios,
    ).eval()
    counted = backbone_macs(net.arch, net.pruning_schedule, *size, 2).total
    assert counted == model_macs(net, lambda: net(torch.zeros(2, 3, *size))).total
    assert counted == MacsCost(net.arch, *size, 2).price(net.pruning_schedule)


class ElementWise(TorchDispatchMode):
    """Counts element-wise operations: a norm squares and adds."""

    def __init__(self):
        super().__init__()
        self.each = dict(abs=1, sum=1, mean=1, sub=1, linalg_vector_norm=2, amax=1)
        self.total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        operations = self.each.get(func.overloadpacket.__name__)
        if operations is not None:
            self.total += operations * args[0].numel()
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize('name', ['l2', 'contrast', 'peak', 'random'])
def test_ranking_is_counted_as_it_is_executed(name):
    channels, grids = 40, [WindowGrid(56, 84, 7), WindowGrid(56, 84, 7, 3)]
    arch = SwinArch(embed_dims=channels, depths=(2, 2), num_heads=(5, 10))
    importance = build_importance(name)
    with ElementWise() as executed:
        summary = importance.summarize(torch.randn(2 * 56 * 84, channels))
        for grid in grids:
            importance.score(summary, grid, 2)
    counted = ranking_operations(
        arch, PruningSchedule.parse([[0.5], [0]], arch.depths), importance, 224, 336, batch=2
    )
    assert counted == pytest.approx(executed.total, rel=0.01)


def test_one_grid_is_ranked_where_only_plain_blocks_skip():
    arch, contrast = (
        SwinArch(embed_dims=96, depths=(1,), num_heads=(3,)),
        build_importance('contrast'),
    )
    schedule = PruningSchedule.parse(0.5, (1,))
    assert ranking_operations(arch, schedule, contrast, 32, 32) == 64 * (4 * 96 + 2)
    assert ranking_operations(arch, PruningSchedule.dense((1,)), contrast, 32, 32) == 0
