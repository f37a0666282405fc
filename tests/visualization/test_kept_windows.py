"""Recorded selections against what the backbone keeps, and the picture against the record."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sparsevit_mm import FasterViT, SparseViT
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.models.sparse_heads import find_two_passes, make_heads_sparse
from sparsevit_mm.ops.windows import WindowGrid, Windows
from sparsevit_mm.pruning.selection import WindowSelection
from sparsevit_mm.visualization import (
    draw_kept_windows,
    draw_shared_windows,
    record_kept_windows,
    stage_use,
)
from sparsevit_mm.visualization.kept_windows import kept_title
from tests.helpers.head_networks import segmentor

DEPTHS = (2, 3)


def selection(grid, kept, stage=0, block=0):
    """What a block kept in one image."""
    return WindowSelection(stage, block, Windows.locate(grid, 1, kept, torch.device('cpu')))


@pytest.fixture
def backbone():
    torch.manual_seed(0)
    return SparseViT(
        embed_dims=8, depths=DEPTHS, num_heads=(1, 2), out_indices=(0, 1), window_size=4,
        pruning_ratios=[[0.5], [0.2, 0.6]],
    ).eval()  # fmt: skip


@torch.no_grad()
def selections_of(backbone, height=75, width=110, batch=2):
    with record_kept_windows(backbone) as record:
        backbone(torch.rand(batch, 3, height, width))
    (selections,) = record.passes
    return selections


def test_record_holds_every_block_of_every_forward(backbone):
    before = []
    backbone.window_observer = before.append
    with record_kept_windows(backbone) as record, torch.no_grad():
        backbone(torch.rand(1, 3, 64, 64))
        backbone(torch.rand(2, 3, 40, 80))
    blocks = [(stage, block) for stage, depth in enumerate(DEPTHS) for block in range(depth)]
    assert [[(s.stage, s.block) for s in one] for one in record.passes] == [blocks, blocks]
    assert not before
    assert backbone.window_observer == before.append


def test_record_holds_what_sparse_heads_computed():
    model = make_heads_sparse(segmentor().eval(), (0.5, 0, 0.3, 0))
    (passes,) = find_two_passes(model)
    with record_kept_windows(model.backbone, [passes]) as record, torch.no_grad():
        for _ in range(2):
            model.decode_head(model.backbone(torch.rand(1, 3, 128, 224)))
    assert passes.window_observer is None
    assert len(record.passes) == len(record.heads) == 2
    for heads in record.heads:
        assert {stage: s.num_kept_in(0) for stage, s in heads.items()} == {0: 20, 2: 2}
        assert [s.grid.num_windows for s in heads.values()] == [40, 4]
    image = np.full((64, 112, 3), 200, np.uint8)
    both = draw_kept_windows(image, record.passes[1], heads=record.heads[1])
    alone = draw_kept_windows(image, record.passes[1])
    # One more row of two panels: the first rows are the same picture.
    assert both.shape[0] > alone.shape[0] and both.shape[1] == alone.shape[1]
    panels = alone.shape[0] - 120
    np.testing.assert_array_equal(both[60:panels], alone[60:panels])
    added = both[panels + 120 : -80]
    assert added.mean() < both[60:panels].mean() - 5  # the backbone skips nothing


def test_observer_is_put_back_after_an_error(backbone):
    with pytest.raises(RuntimeError), record_kept_windows(backbone):
        raise RuntimeError
    assert backbone.window_observer is None


def test_counts_are_those_of_the_schedule(backbone):
    selections = selections_of(backbone)
    kept = backbone.pruning_schedule.kept_windows(75, 110, window_size=4)
    for use, counts in zip(stage_use(selections, index=1), kept):
        assert use.kept == tuple(count.kept for count in counts)
        assert use.grid.num_windows == counts[0].total
        assert use.counts.max() <= len(counts)
        assert use.counts.shape == (use.grid.height, use.grid.width)


def test_attention_stages_of_a_fastervit():
    torch.manual_seed(0)
    backbone = FasterViT(
        dim=4, in_dim=4, depths=(1, 1, 2, 2), num_heads=(1, 1, 1, 1),
        window_size=(7, 7, 3, 2), pruning_ratios=[[0], [0], [0.2, 0.6], [0.5]],
    ).eval()  # fmt: skip
    selections = selections_of(backbone, height=200, width=150)
    kept = backbone.pruning_schedule.kept_windows(200, 150, window_size=backbone.arch.window_sizes)
    used = stage_use(selections, index=1)
    assert [use.stage for use in used] == [2, 3]
    for use, counts in zip(used, kept[2:]):
        assert use.kept == tuple(count.kept for count in counts)
        assert use.counts.shape == (use.grid.height, use.grid.width)
        shares = [(use.counts > block).mean() for block in range(2)]
        assert shares[0] >= shares[1] > 0


def test_images_that_share_a_budget_have_their_own_counts(backbone):
    backbone.allocation = 'batch'
    images = torch.rand(2, 3, 75, 110) * 0.1
    images[1, :, 16:48, 16:48] += 1
    with record_kept_windows(backbone) as record, torch.no_grad():
        backbone(images)
    first, second = (stage_use(record.passes[0], index)[0] for index in (0, 1))
    assert first.kept != second.kept
    num_kept = backbone.pruning_schedule.kept_windows(75, 110, window_size=4)[0][0].kept
    assert sum(first.kept) + sum(second.kept) == 2 * 2 * num_kept


def test_windows_lie_where_the_grid_puts_them():
    """A shifted window in the last row reaches around to the first tokens of the map."""
    plain, shifted = WindowGrid(6, 8, 4), WindowGrid(6, 8, 4, shift=2)
    selections = [
        selection(plain, torch.tensor([1])),
        selection(shifted, torch.tensor([2]), block=1),
    ]
    (use,) = stage_use(selections)
    expected = np.zeros((6, 8), dtype=int)
    expected[:4, 4:] += 1  # the top right window
    # Rows 6 and 7 of the padded map are padding; the roll brings rows 0 and 1 behind them.
    expected[:2, 2:6] += 1
    np.testing.assert_array_equal(use.counts, expected)


def test_images_of_a_batch_are_told_apart(backbone):
    selections = selections_of(backbone)
    first, second = (stage_use(selections, index)[0].counts for index in (0, 1))
    assert first.sum() > 0
    assert (first != second).any()


@pytest.mark.parametrize('size', [(50, 80), (700, 300), (1, 1), (30, 900)])
def test_picture_of_any_image(backbone, size):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    picture = draw_kept_windows(
        image, selections_of(backbone), resized=(70, 101), schedule=backbone.pruning_schedule
    )
    assert picture.dtype == np.uint8
    assert picture.ndim == 3 and picture.shape[2] == 3
    assert max(picture.shape) < 6000


def test_skipped_windows_are_dim_and_kept_ones_are_not():
    """One window of four is kept: its quarter keeps its color, the others lose theirs."""
    grid = WindowGrid(8, 8, 4)
    image = np.full((64, 64, 3), (250, 40, 40), dtype=np.uint8)
    picture = draw_kept_windows(image, [selection(grid, torch.tensor([3]))])
    red = (np.abs(picture.astype(int) - (250, 40, 40)) < 12).all(axis=2)
    rows, cols = np.nonzero(red)
    side = np.ptp(rows), np.ptp(cols)
    assert red.mean() > 0.1
    # One quarter of the panel, at its bottom right.
    panel = picture.shape[1] - 2 * 28
    assert all(0.45 * panel < extent < 0.55 * panel for extent in side)
    assert cols.min() > picture.shape[1] / 2 - 10


def test_the_image_that_kept_more_is_drawn_brighter():
    grid, cpu = WindowGrid(8, 8, 4), torch.device('cpu')
    kept = torch.tensor([0, 1, 2, 7])  # three windows of the first image, one of the second
    selections = [WindowSelection(0, 0, Windows.locate(grid, 2, kept, cpu))]
    image = np.full((32, 32, 3), (250, 40, 40), dtype=np.uint8)
    picture = draw_shared_windows({'left': image, 'right': image}, selections)
    red = (np.abs(picture.astype(int) - (250, 40, 40)) < 12).all(axis=2)
    left, right = np.array_split(red, 2, axis=1)
    assert right.sum() > 1000
    assert left.sum() == pytest.approx(3 * right.sum(), rel=0.05)
    with pytest.raises(ConfigError, match='images or selections are empty'):
        draw_shared_windows({}, selections)


def test_padding_is_not_drawn():
    """The image fills the left half of the input; a window kept there spans the picture."""
    grid = WindowGrid(4, 8, 4)
    image = np.full((64, 64, 3), (250, 40, 40), dtype=np.uint8)
    kept = selection(grid, torch.tensor([0]))
    whole = draw_kept_windows(image, [kept], resized=(16, 16))
    half = draw_kept_windows(image, [kept], resized=(16, 32))

    def red_share(picture):
        return (np.abs(picture.astype(int) - (250, 40, 40)) < 12).all(axis=2).mean()

    assert red_share(half) == pytest.approx(red_share(whole) / 2, rel=0.1)


def test_dense_stages_are_drawn_undimmed(backbone):
    backbone.pruning_schedule = 0
    image = np.full((40, 60, 3), (40, 200, 90), dtype=np.uint8)
    dense = draw_kept_windows(image, selections_of(backbone))
    backbone.pruning_schedule = 0.7
    sparse = draw_kept_windows(image, selections_of(backbone))
    assert dense.shape == sparse.shape
    assert sparse.mean() < dense.mean() - 5


def test_nothing_recorded_is_an_error():
    with pytest.raises(ConfigError, match='selections is empty'):
        draw_kept_windows(np.zeros((4, 4, 3), dtype=np.uint8), [])


@pytest.mark.parametrize('name', ['l2', 'contrast'])
def test_a_picture_says_what_ranked(backbone, name):
    backbone.importance = name
    selections = selections_of(backbone)
    assert kept_title(selections) == f'Kept windows by {name}'
    unnamed = [WindowSelection(s.stage, s.block, s.windows) for s in selections]
    image = np.full((75, 110, 3), 128, np.uint8)
    assert kept_title(unnamed) == 'Kept windows'
    pictures = [draw_kept_windows(image, found) for found in (selections, unnamed)]
    assert (pictures[0] != pictures[1]).any()


def test_boxes_and_caption_are_drawn_where_they_belong():
    image = np.full((112, 224, 3), 128, np.uint8)
    torch.manual_seed(0)
    net = SparseViT(embed_dims=12, depths=(2,), num_heads=(1,), strides=(4,), out_indices=(0,))
    with record_kept_windows(net) as record, torch.no_grad():
        net.eval()(torch.rand(1, 3, 112, 224))
    plain, boxed, longer = (
        draw_kept_windows(image, record.passes[0], panel_pixels=448 * 224, **more)
        for more in ({}, {'boxes': [(56, 28, 112, 84)]}, {'caption': 'one line\nand another'})
    )
    blue = np.abs(boxed.astype(int) - (86, 180, 233)).max(2) < 40
    rows, cols = np.nonzero(blue[: blue.shape[0] - 90])
    assert (np.ptp(rows), np.ptp(cols)) == pytest.approx((112, 112), abs=3)
    assert blue[-90:].any(), 'the legend says what a box is'
    assert not (np.abs(plain.astype(int) - (86, 180, 233)).max(2) < 40).any()
    assert longer.shape[0] > plain.shape[0] == boxed.shape[0]
    assert (longer[-34:] < 100).any()
