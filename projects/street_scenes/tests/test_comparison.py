"""The rows of the table: pairs of equal cost, and what is said about them."""

from __future__ import annotations

import pytest
from rich.console import Console

from projects.street_scenes.comparison import backbone_latency, comparison_table, list_candidates
from projects.street_scenes.demo import SPARSE_SCHEDULES
from sparsevit_mm import PruningSchedule, SparseViT
from sparsevit_mm.models.swin_arch import SwinArch
from sparsevit_mm.profiling import backbone_macs

ARCH = SwinArch(embed_dims=12, depths=(2, 2), num_heads=(1, 2))


def test_every_sparse_row_has_a_dense_one_that_costs_as_much():
    rows = list_candidates(ARCH, 448, 224, {'some': 0.3, 'many': [[0.6], [0.7]]})
    assert [row.name for row in rows] == ['dense', 'some', 'dense', 'many', 'dense']
    assert (rows[0].width, rows[0].height) == (448, 224)
    for sparse, dense in (rows[1:3], rows[3:5]):
        assert (sparse.width, sparse.height) == (448, 224)
        assert dense.width < 448
        assert dense.height == dense.width / 2
        assert dense.schedule.is_dense
        budget = sparse.macs(ARCH)
        assert dense.macs(ARCH) == pytest.approx(budget, rel=0.1)
        others = [
            backbone_macs(ARCH, dense.schedule, width // 2, width).total
            for width in range(24, 448, 8)
        ]
        assert min(abs(macs - budget) for macs in others) == abs(dense.macs(ARCH) - budget)
    assert len({row.key for row in rows}) == len(rows)


def test_kept_share_counts_all_blocks():
    dense, sparse, _ = list_candidates(ARCH, 112, 56, {'half': [[0.0, 0.5], [0.0]]})
    assert dense.kept_share(ARCH) == 1
    # 28 x 14 and 14 x 7 tokens are 8 and 2 windows, in two blocks each.
    assert sparse.kept_share(ARCH) == pytest.approx((8 + 4 + 2 + 2) / (2 * 8 + 2 * 2))


def test_latency_runs_each_schedule_and_puts_the_own_one_back():
    backbone = SparseViT(embed_dims=12, depths=(2, 2), num_heads=(1, 2), out_indices=(1,)).eval()
    backbone.pruning_schedule = 0.25
    seen = set()
    backbone.window_observer = lambda selection: seen.add((selection.stage, selection.num_kept))
    rows = list_candidates(backbone.arch, 112, 56, {'half': [[0.5], [0.0]]})[:2]
    found = backbone_latency(backbone, rows, runs=2)
    assert seen == {(0, 8), (0, 4), (1, 2)}
    assert [len(latency.runs) for latency in found] == [2, 2]
    assert backbone.pruning_schedule == PruningSchedule.parse(0.25, (2, 2))

    scores = [{'coco/bbox_mAP': 0.1234, 'coco/segm_mAP': 0.5}] * 2
    console = Console(width=80, record=True, file=None, quiet=False)
    with console.capture() as text:
        console.print(comparison_table(rows, backbone.arch, scores, found))
    assert '112×56' in text.get()
    assert '12.3' in text.get()
    assert all(len(line) <= 80 for line in text.get().splitlines())


def test_the_demos_rows_cost_alike_in_pairs():
    """The schedules were chosen so that the resolutions there are come close to them."""
    from mmengine.config import Config

    from projects.street_scenes.tests.test_demo import CONFIG

    backbone = Config.fromfile(CONFIG).model.backbone
    arch = SwinArch(backbone.embed_dims, tuple(backbone.depths), tuple(backbone.num_heads))
    rows = list_candidates(arch, 448, 224, SPARSE_SCHEDULES)
    for sparse, dense in zip(rows[1::2], rows[2::2]):
        assert dense.macs(arch) == pytest.approx(sparse.macs(arch), rel=0.03)
