"""A kernel is compared with PyTorch before it is trusted, and left alone where it fails."""

from __future__ import annotations

import importlib
import warnings

import pytest
import torch

from sparsevit_mm.ops import backend
from sparsevit_mm.ops.attention import Masks, attend
from sparsevit_mm.ops.windows import WindowGrid, Windows, scatter_add
from tests.helpers.close import assert_same

GRID = WindowGrid(7, 8, 3, 1)
KERNELS = ('gather_norm', 'residual_norm', 'residual_scatter', 'window_attention')


class Kernel:
    """What stands where a kernel was: `launch` gets what the kernel would get."""

    def __init__(self, launch):
        self.launch, self.launches = launch, 0

    def __getitem__(self, grid):
        def run(*args, **kwargs):
            self.launches += 1
            return self.launch(grid, *args, **kwargs)

        return run


def module_of(name):
    return importlib.import_module(f'sparsevit_mm.ops.triton.{name}')


@pytest.fixture
def kernels(triton_device, monkeypatch):
    """Kernels that count their launches and that nobody trusts yet; 'auto' is chosen."""
    found = {}
    for name in KERNELS:
        module = module_of(name)
        original = module._kernel
        found[name] = Kernel(lambda grid, *a, k=original, **kw: k[grid](*a, **kw))
        monkeypatch.setattr(module, '_kernel', found[name])
        forget(module, monkeypatch)
    with backend.use('auto'):
        yield found


def forget(module, monkeypatch):
    monkeypatch.setattr(module.TRUST, '_trusted', {})
    monkeypatch.setattr(module.TRUST, 'failure', None)


def compute(name, device, dtype=torch.float32, channels=16):
    """What an operator returns and what it should return, for some windows of a map."""
    module = module_of(name)
    windows = Windows.locate(GRID, 2, torch.tensor([0, 4, 8, 11], device=device), device)
    tokens = torch.randn(2 * 56, channels).to(device, dtype)
    own, branch = torch.randn(2, 4, 9, channels).to(tokens)
    weight, bias = torch.randn(2, channels).to(tokens)
    with torch.no_grad():
        if name == 'gather_norm':
            args = tokens, windows, weight, bias, 1e-5
            options = dict(zero_padding=True)
            return module.gather_norm(*args, **options), module.reference(*args, **options)
        if name == 'residual_norm':
            args = tokens, branch, weight, bias, 1e-5
            found = module.residual_norm(*args, windows=windows)
            return torch.cat(found), torch.cat(module.reference(*args, windows=windows))
        if name == 'residual_scatter':
            expected = tokens.clone()
            module.reference(expected, own, branch, windows)
            module.residual_scatter_(tokens, own, branch, windows)
            return tokens, expected
        qkv = torch.randn(4, 9, 3 * channels).to(tokens)
        masks = torch.randn(2, 9, 9).to(tokens)
        masks[0] = 0
        ids = torch.tensor([0, 1, 1, 0], device=device)
        args = qkv, 2, torch.randn(2, 9, 9).to(tokens), masks, ids
        return module.window_attention(*args), module.reference(*args)


@pytest.mark.parametrize('name', KERNELS)
def test_a_kernel_is_compared_once_for_each_class(name, kernels, triton_device):
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        for expected in (2, 3, 4):  # the comparison, then one launch a call
            assert_same(*compute(name, triton_device))
            assert kernels[name].launches == expected
        assert_same(*compute(name, triton_device, torch.float16))
        assert kernels[name].launches == 6


def writes_nothing(grid, *args, **kwargs):
    """A wrong kernel: the memory keeps what it held."""


def does_not_compile(grid, *args, **kwargs):
    raise ValueError('at 12:4: ptxas found no registers\nlong text')


def does_not_start(grid, *args, **kwargs):
    raise RuntimeError('CUDA error: invalid configuration argument')


@pytest.mark.parametrize('name', KERNELS)
@pytest.mark.parametrize(
    'failing, reason',
    [
        (writes_nothing, 'its results differ from those of PyTorch'),
        (does_not_compile, 'ValueError: at 12:4: ptxas found no registers'),
        (does_not_start, 'RuntimeError: CUDA error: invalid configuration argument'),
    ],
)
def test_a_kernel_that_fails_gives_way_to_pytorch(name, failing, reason, kernels, triton_device):
    kernels[name].launch = failing
    with pytest.warns(UserWarning) as caught:
        assert_same(*compute(name, triton_device))
    (message,) = [str(warning.message) for warning in caught]
    assert f'kernel {name} is not used' in message
    assert f'{reason}. ' in message
    assert 'python -m sparsevit_mm.env' in message
    with warnings.catch_warnings():  # one warning, and no second try
        warnings.simplefilter('error')
        assert_same(*compute(name, triton_device))
        assert_same(*compute(name, triton_device, torch.float16))
    assert kernels[name].launches == 1


def test_a_launch_that_fails_later_gives_way_too(kernels, triton_device):
    assert_same(*compute('gather_norm', triton_device))
    kernels['gather_norm'].launch = does_not_start
    with pytest.warns(UserWarning, match='invalid configuration'):
        assert_same(*compute('gather_norm', triton_device))


def test_all_windows_are_scattered_in_place_without_the_kernel(kernels, triton_device):
    kernels['residual_scatter'].launch = does_not_start
    windows = Windows.locate(GRID, 2, None, triton_device)
    tokens = torch.randn(2 * 56, 8, device=triton_device)
    own, branch = torch.randn(2, 24, 9, 8, device=triton_device)[:, : windows.num_windows]
    with torch.no_grad():
        expected = scatter_add(tokens.clone(), own, branch, windows)
        module = module_of('residual_scatter')
        with pytest.warns(UserWarning, match='residual_scatter'):
            module.residual_scatter_(tokens, own, branch, windows)
    assert_same(tokens, expected)


def test_what_is_taken_on_faith_raises(kernels, triton_device):
    kernels['gather_norm'].launch = does_not_start
    with backend.use('triton'), pytest.raises(RuntimeError, match='invalid configuration'):
        compute('gather_norm', triton_device)


def test_the_setting_still_decides(kernels, triton_device):
    qkv, bias = torch.randn(2, 9, 24).to(triton_device), torch.randn(1, 9, 9).to(triton_device)
    with torch.no_grad(), backend.use('pytorch'):
        attend(qkv, 1, bias, Masks(torch.zeros(1, 9, 9).to(triton_device), None))
        attend(qkv, 1, bias)
    assert kernels['window_attention'].launches == 0


def test_random_numbers_of_the_user_stay_what_they_were(kernels, triton_device):
    torch.manual_seed(1)
    compute('gather_norm', triton_device)
    first = torch.rand(1)
    torch.manual_seed(1)
    compute('gather_norm', triton_device)
    assert torch.equal(first, torch.rand(1))
