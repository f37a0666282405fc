"""Index maps and masks against pad, roll and reshape."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from sparsevit_mm.ops.attention import edge_masks
from sparsevit_mm.ops.windows import WindowGrid, Windows, index_maps
from tests.helpers.masked_dense import region_mask, to_windows

CPU = torch.device('cpu')
GRIDS = [
    WindowGrid(14, 21, 7),
    WindowGrid(14, 21, 7, 3),
    WindowGrid(15, 20, 7),
    WindowGrid(15, 20, 7, 3),
    WindowGrid(3, 2, 7, 3),
    WindowGrid(1, 1, 12, 6),
    WindowGrid(9, 30, 4, 2),
]


def padded_and_rolled(values, grid):
    size = grid.window_size
    padded = F.pad(values, (0, 0, 0, -grid.width % size, 0, -grid.height % size))
    return to_windows(torch.roll(padded, (-grid.shift, -grid.shift), (1, 2)), size)[0, :, :, 0]


@pytest.mark.parametrize('grid', GRIDS)
def test_index_maps_equal_pad_roll_and_partition(grid):
    numbers = torch.arange(1, grid.height * grid.width + 1).view(1, grid.height, grid.width, 1)
    expected = padded_and_rolled(numbers, grid)
    assert expected.shape == (grid.num_windows, grid.window_size**2)
    padding = index_maps(grid, CPU).padding
    padding = torch.zeros_like(expected, dtype=torch.bool) if padding is None else padding
    assert torch.equal(padding, expected == 0)
    assert torch.equal((index_maps(grid, CPU).token_index + 1).masked_fill(padding, 0), expected)
    position = index_maps(grid, CPU).inverse_index
    assert torch.equal(expected.flatten()[position], numbers.flatten())


@pytest.mark.parametrize('grid', [grid for grid in GRIDS if grid.shift])
def test_edge_masks_equal_swins_regions(grid):
    size = grid.window_size
    expected = region_mask(grid.rows * size, grid.cols * size, size, grid.shift)
    masks = edge_masks(Windows.locate(grid, 1, None, CPU))
    assert torch.equal(masks.values[masks.ids], expected)


def test_plain_grids_have_no_edges_and_exact_ones_no_padding():
    assert index_maps(GRIDS[0], CPU).mask_ids is None
    assert index_maps(GRIDS[0], CPU).padding is None
    assert not GRIDS[0].is_padded
    assert GRIDS[2].is_padded
