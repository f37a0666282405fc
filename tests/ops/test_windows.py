"""Gather and scatter: nothing of the size of the map is made for windows that are pruned."""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from sparsevit_mm.ops.window_grid import WindowGrid
from sparsevit_mm.ops.windows import (
    WindowUpdate,
    gather_windows,
    locate_windows,
    scatter_windows,
    update_windows,
)

CPU = torch.device('cpu')
CHANNELS = 6
PADDED = [WindowGrid(11, 14, 4), WindowGrid(11, 14, 4, 2), WindowGrid(3, 2, 4, 2)]


class NewTensors(TorchDispatchMode):
    """Notes operators that make tensors of a number of rows; views and changes in place do not."""

    def __init__(self, num_rows):
        super().__init__()
        self.num_rows, self.made = num_rows, []

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        out = operator(*args, **(kwargs or {}))
        given = {t.data_ptr() for t in tree_leaves(args) if isinstance(t, torch.Tensor)}
        for tensor in tree_leaves(out):
            if not isinstance(tensor, torch.Tensor) or tensor.data_ptr() in given:
                continue
            if tensor.ndim == 2 and len(tensor) >= self.num_rows and tensor.is_floating_point():
                self.made.append(operator.overloadpacket.__name__)
        return out


def some_windows(grid, number):
    return torch.stack([torch.randperm(grid.num_windows)[:number] for _ in range(2)])


@pytest.mark.parametrize('grid', [WindowGrid(16, 12, 4), *PADDED], ids=str)
def test_what_is_scattered_is_what_was_gathered(grid):
    tokens = torch.randn(2 * grid.height * grid.width, CHANNELS)
    for kept in (None, some_windows(grid, max(grid.num_windows // 2, 1))):
        where = locate_windows(grid, 2, kept, CPU)
        windows = gather_windows(tokens, where)
        if where.padding is not None:
            assert (windows[where.padding.squeeze(-1)] == 0).all()
        same = scatter_windows(tokens.clone(), windows, where)
        assert torch.equal(same, tokens)
        assert torch.equal(update_windows(tokens.clone(), tokens, where, lambda w, _: w, 2), tokens)


@pytest.mark.parametrize('grid', PADDED, ids=str)
def test_parts_without_masks_have_none(grid):
    where = locate_windows(grid, 2, None, CPU)
    seen = []
    for part in where.parts(3):
        seen += part.rows.unique().tolist()
        needs = part.edge_pattern is not None and (part.edge_pattern != 0).any()
        needs = needs or (part.padding is not None and part.padding.any())
        assert (part.padding is None and part.edge_pattern is None) == (not needs)
    assert sorted(seen) == list(range(2 * grid.height * grid.width))


@pytest.mark.parametrize('grid', [WindowGrid(16, 12, 4), PADDED[0], PADDED[1]], ids=str)
def test_pruned_windows_cost_nothing(grid):
    """Two blocks in training and one in inference; the last gradient is copied once, see there."""
    num_rows = 2 * grid.height * grid.width
    weight = torch.randn(CHANNELS, CHANNELS, requires_grad=True)
    leaf = torch.randn(num_rows, CHANNELS, requires_grad=True)
    tokens = leaf * 1
    where = locate_windows(grid, 2, some_windows(grid, 2), CPU)
    with NewTensors(num_rows) as forward:
        for is_last in (False, True):
            update = WindowUpdate(where, is_last)
            tokens = update.scatter(tokens, torch.tanh(update.gather(tokens) @ weight))
    assert forward.made == []
    gradient = torch.randn_like(tokens)
    before = gradient.clone()
    with NewTensors(num_rows) as backward:
        torch.autograd.backward(tokens, gradient, inputs=[weight])
    assert backward.made == ['clone']
    assert torch.equal(gradient, before)
    with torch.no_grad(), NewTensors(num_rows) as inference:
        plain = leaf.detach()
        update_windows(plain, plain, where, lambda windows, _: windows + 1, 2)
    assert inference.made == []


@pytest.mark.parametrize('grid', [WindowGrid(16, 12, 4), *PADDED], ids=str)
def test_gradients_are_those_of_plain_operators(grid):
    num_rows = 2 * grid.height * grid.width
    kept = some_windows(grid, max(grid.num_windows // 3, 1))
    plan = [locate_windows(grid, 2, chosen, CPU) for chosen in (None, kept, kept, None, kept)]
    start = torch.randn(num_rows, CHANNELS, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(CHANNELS, CHANNELS, dtype=torch.float64, requires_grad=True)
    probe = torch.randn(num_rows, CHANNELS, dtype=torch.float64)
    results = []
    for by_update in (True, False):
        tokens = start * 1
        for number, where in enumerate(plan):
            if by_update:
                update = WindowUpdate(where, number == len(plan) - 1)
                tokens = update.scatter(tokens, torch.tanh(update.gather(tokens) @ weight))
            else:
                windows = torch.tanh(gather_windows(tokens, where) @ weight)
                tokens = scatter_windows(tokens, windows, where)
        results.append([tokens, *torch.autograd.grad((tokens * probe).sum(), [start, weight])])
    for found, expected in zip(*results):
        torch.testing.assert_close(found, expected)
