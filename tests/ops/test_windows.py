"""Gather and scatter: nothing of the size of the map is made for windows that are pruned."""

from __future__ import annotations

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from sparsevit_mm.ops import windows as module
from sparsevit_mm.ops.attention import edge_masks
from sparsevit_mm.ops.windows import (
    WindowGrid,
    Windows,
    gather,
    scatter,
    split_windows,
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
        given = {t.data_ptr() for t in tree_flatten(args)[0] if isinstance(t, torch.Tensor)}
        for tensor in tree_flatten(out)[0]:
            if not isinstance(tensor, torch.Tensor) or tensor.data_ptr() in given:
                continue
            if tensor.ndim == 2 and len(tensor) >= self.num_rows and tensor.is_floating_point():
                self.made.append(operator.overloadpacket.__name__)
        return out


class Block:
    """Windows to windows, as `update_windows` computes them."""

    training = False

    def __init__(self, compute, hidden_dims=CHANNELS):
        self.compute = compute
        self.hidden_dims = hidden_dims

    def __call__(self, own, windows):
        return self.compute(own), None


def some_windows(grid, number):
    """So many windows of each of two images, in any order."""
    return torch.cat(
        [torch.randperm(grid.num_windows)[:number] + image * grid.num_windows for image in range(2)]
    )


@pytest.fixture
def two_at_a_time(monkeypatch):
    monkeypatch.setattr(module, '_CPU_BYTES', 2 * 16 * CHANNELS * 4)


@pytest.mark.parametrize('grid', [WindowGrid(16, 12, 4), *PADDED], ids=str)
def test_what_is_scattered_is_what_was_gathered(grid, two_at_a_time):
    tokens = torch.randn(2 * grid.height * grid.width, CHANNELS)
    for kept in (None, some_windows(grid, max(grid.num_windows // 2, 1))):
        windows = Windows.locate(grid, 2, kept, CPU)
        own = gather(tokens, windows)
        if windows.maps.padding is not None:
            assert (own[windows.maps.padding.squeeze(-1)] == 0).all()
        same = scatter(tokens.clone(), own, windows)
        assert torch.equal(same, tokens)
        with torch.no_grad():
            same = update_windows(tokens.clone(), tokens, windows, Block(lambda own: own))
        assert torch.equal(same, tokens)


@pytest.mark.parametrize('grid', [WindowGrid(16, 12, 4), *PADDED], ids=str)
def test_windows_of_a_split_map_are_those_of_the_map(grid, two_at_a_time):
    plain = WindowGrid(grid.height, grid.width, grid.window_size)
    split = WindowGrid(grid.height, grid.width, grid.window_size, is_split=True)
    tokens = torch.randn(2 * grid.height * grid.width, CHANNELS)
    feature_map = module.pad_to_windows(tokens.view(2, grid.height, grid.width, -1), 4)
    stored = split_windows(feature_map, 4).view(-1, CHANNELS)
    for kept in (None, some_windows(plain, max(plain.num_windows // 2, 1))):
        expected = gather(tokens, Windows.locate(plain, 2, kept, CPU))
        windows = Windows.locate(split, 2, kept, CPU)
        assert torch.equal(gather(stored, windows), expected)
        with torch.no_grad():
            doubled = update_windows(stored.clone(), stored, windows, Block(lambda own: 2 * own))
        assert torch.equal(gather(doubled, windows), 2 * expected)


def test_images_may_keep_different_numbers_of_windows():
    grid = WindowGrid(8, 8, 4)
    windows = Windows.locate(grid, 2, torch.tensor([1, 4, 6, 7]), CPU)
    assert windows.image_index.tolist() == [0, 1, 1, 1]
    tokens = torch.zeros(2 * 64, 1)
    ones = scatter(tokens, torch.ones(4, 16, 1), windows)
    assert ones.view(2, 64).sum(1).tolist() == [16, 48]


@pytest.mark.parametrize('grid', PADDED, ids=str)
def test_chunks_without_masks_have_none(grid):
    windows = Windows.locate(grid, 2, None, CPU)
    seen = []
    for chunk in windows.chunks(1):
        seen += chunk.maps.rows.unique().tolist()
        masks = edge_masks(chunk)
        needs = masks is not None and (masks.ids != 0).any()
        needs = needs or (chunk.maps.padding is not None and chunk.maps.padding.any())
        assert (chunk.maps.padding is None and masks is None) == (not needs)
    assert sorted(seen) == list(range(2 * grid.height * grid.width))


@pytest.mark.parametrize('num_windows', [1, 7, 24])
def test_chunks_have_equal_size(num_windows):
    grid = WindowGrid(16, 12, 4)
    kept = torch.randperm(2 * grid.num_windows)[:num_windows]
    sizes = [chunk.num_windows for chunk in Windows.locate(grid, 2, kept, CPU).chunks(5)]
    assert sum(sizes) == num_windows
    assert max(sizes) <= 7
    assert max(sizes) - min(sizes) <= len(sizes)


@pytest.mark.parametrize('grid', [WindowGrid(16, 12, 4), PADDED[0], PADDED[1]], ids=str)
def test_pruned_windows_cost_nothing(grid, two_at_a_time):
    """Two blocks in training and one in inference; the gradient from elsewhere is copied once."""
    num_rows = 2 * grid.height * grid.width
    weight = torch.randn(CHANNELS, CHANNELS, requires_grad=True)
    leaf = torch.randn(num_rows, CHANNELS, requires_grad=True)
    tokens = leaf * 1
    windows = Windows.locate(grid, 2, some_windows(grid, 2), CPU)
    block = Block(lambda own: torch.tanh(own @ weight))
    with NewTensors(num_rows) as forward:
        for _ in range(2):
            tokens = update_windows(tokens, tokens, windows, block)
    assert forward.made == []
    gradient = torch.randn_like(tokens)
    before = gradient.clone()
    with NewTensors(num_rows) as backward:
        torch.autograd.backward(tokens, gradient, inputs=[weight])
    assert backward.made == ['clone']
    assert torch.equal(gradient, before)
    with torch.no_grad(), NewTensors(num_rows) as inference:
        plain = leaf.detach()
        update_windows(plain, plain, windows, Block(lambda own: own + 1))
    assert inference.made == []


@pytest.mark.parametrize('grid', [WindowGrid(16, 12, 4), *PADDED], ids=str)
def test_gradients_are_those_of_plain_operators(grid):
    num_rows = 2 * grid.height * grid.width
    kept = some_windows(grid, max(grid.num_windows // 3, 1))
    plan = [Windows.locate(grid, 2, chosen, CPU) for chosen in (None, kept, kept, None, kept)]
    start = torch.randn(num_rows, CHANNELS, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(CHANNELS, CHANNELS, dtype=torch.float64, requires_grad=True)
    probe = torch.randn(num_rows, CHANNELS, dtype=torch.float64)
    results = []
    for in_place in (True, False):
        tokens = start * 1
        for windows in plan:
            if in_place:
                block = Block(lambda own: torch.tanh(own @ weight))
                tokens = update_windows(tokens, tokens, windows, block)
            else:
                own = torch.tanh(gather(tokens, windows) @ weight)
                tokens = scatter(tokens, own, windows)
        results.append([tokens, *torch.autograd.grad((tokens * probe).sum(), [start, weight])])
    for found, expected in zip(*results):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize('twice', [False, True])
def test_maps_that_others_read_keep_their_gradients(twice):
    """A map that goes into an update and elsewhere; and a graph that is gone through twice."""
    grid = WindowGrid(16, 12, 4)
    windows = Windows.locate(grid, 1, torch.tensor([1, 5, 7]), CPU)
    start = torch.randn(grid.height * grid.width, CHANNELS, requires_grad=True)
    block = Block(torch.tanh)
    found = []
    for in_place in (True, False):
        tokens, total = start * 1, 0
        for number in range(3):
            if in_place:
                tokens = update_windows(tokens, tokens, windows, block)
            else:
                own = torch.tanh(gather(tokens, windows))
                tokens = scatter(tokens.clone(), own, windows)
            total = total + (tokens * (number + 1)).sin().sum()
        for _ in range(2 if twice else 1):
            (gradient,) = torch.autograd.grad(total, start, retain_graph=True)
        found.append(gradient)
    torch.testing.assert_close(*found)
