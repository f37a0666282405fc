"""The setting that chooses between kernels and PyTorch's operators."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sparsevit_mm import kernels
from sparsevit_mm.errors import ConfigError

ROOT = Path(__file__).parents[2]
TOKENS = torch.zeros(2, 4)


def runs(tokens=TOKENS):
    with torch.no_grad():
        return kernels.run_kernels(tokens)


def test_a_cpu_takes_pytorch_by_itself():
    with kernels.use('auto'):
        assert not runs()


def test_the_choice_ends_with_its_block(triton_device):
    tokens = TOKENS.to(triton_device)
    assert runs(tokens)
    with kernels.use('pytorch'):
        assert not runs(tokens)
        with kernels.use('auto'):
            assert runs(tokens) == tokens.is_cuda
        assert not runs(tokens)
    assert runs(tokens)


def test_gradients_and_other_dtypes_take_pytorch(triton_device):
    tokens = TOKENS.to(triton_device)
    assert not kernels.run_kernels(tokens)
    assert runs(tokens.half())
    assert not runs(tokens.double())


def test_what_cannot_run_is_one_sentence(monkeypatch):
    with pytest.raises(ConfigError, match="kernels is 'cuda', but it must be 'auto', 'triton'"):
        kernels.use('cuda')
    monkeypatch.setattr(kernels.choice, '_HAS_TRITON', False)
    with pytest.raises(ConfigError, match='Triton is not installed'):
        kernels.use('triton')
    monkeypatch.setattr(kernels.choice, '_HAS_TRITON', True)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.delenv('TRITON_INTERPRET', raising=False)
    with pytest.raises(ConfigError, match='there is no GPU'):
        kernels.use('triton')
    assert kernels.choice._choice == 'auto'


def test_the_environment_sets_it(monkeypatch):
    with kernels.use('auto'):
        monkeypatch.setenv('SPARSEVIT_MM_KERNELS', 'pytorch')
        assert runpy.run_path(kernels.choice.__file__)['_choice'] == 'pytorch'
        monkeypatch.setenv('SPARSEVIT_MM_KERNELS', 'cuda')
        with pytest.raises(ConfigError, match="kernels is 'cuda'"):
            runpy.run_path(kernels.choice.__file__)


def test_triton_is_not_imported_before_it_runs():
    code = (
        'import sys, torch, sparsevit_mm; before = set(sys.modules); '
        'net = sparsevit_mm.SparseViT(embed_dims=8, depths=(1,), num_heads=(1,), '
        'out_indices=(0,)).eval(); net.requires_grad_(False)(torch.zeros(1, 3, 32, 32)); '
        "print([m for m in sys.modules if m.split('.')[0] == 'triton'])"
    )
    result = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert result.stdout.strip() == '[]'
