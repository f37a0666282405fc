"""The setting that chooses between kernels and PyTorch's operators."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest
import torch

from sparsevit_mm import SparseViT
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.ops import backend, windows
from tests.helpers.commands import output_of

ROOT = Path(__file__).parents[2]
TOKENS = torch.zeros(2, 4)
needs_onednn = pytest.mark.skipif(not backend.HAS_ONEDNN, reason='torch was built without oneDNN')


def runs(tokens=TOKENS):
    with torch.no_grad():
        return backend.use_triton(tokens)


def test_a_cpu_takes_pytorch_by_itself():
    with backend.use('auto'):
        assert not runs()


def test_the_choice_ends_with_its_block(triton_device):
    tokens = TOKENS.to(triton_device)
    assert runs(tokens)
    with backend.use('pytorch'):
        assert not runs(tokens)
        with backend.use('auto'):
            assert runs(tokens) == tokens.is_cuda
        assert not runs(tokens)
    assert runs(tokens)


def test_gradients_and_other_dtypes_take_pytorch(triton_device):
    tokens = TOKENS.to(triton_device)
    assert not backend.use_triton(tokens)
    assert runs(tokens.half())
    assert not runs(tokens.double())


@needs_onednn
@pytest.mark.parametrize('mkl_is_slow', [True, False])
def test_a_cpu_takes_onednn_where_mkl_is_slow(monkeypatch, mkl_is_slow):
    monkeypatch.setattr(backend, '_MKL_IS_SLOW', mkl_is_slow)
    taken = {}
    for name in ('auto', 'onednn', 'pytorch'):
        with backend.use(name), torch.no_grad():
            taken[name] = backend.use_onednn(TOKENS)
    assert taken == {'auto': mkl_is_slow, 'onednn': True, 'pytorch': False}


@needs_onednn
def test_onednn_takes_float32_without_gradients_or_graphs():
    with backend.use('onednn'):
        assert not backend.use_onednn(TOKENS)
        with torch.no_grad():
            assert not backend.use_onednn(TOKENS.double())
            assert not backend.use_onednn(TOKENS.bfloat16())
            with torch.autocast('cpu', torch.bfloat16):
                assert not backend.use_onednn(TOKENS)
            found = []
            torch.jit.trace(
                lambda rows: found.append(backend.use_onednn(rows)) or rows * 1,
                TOKENS,
                check_trace=False,
            )
            assert not any(found)


def test_what_cannot_run_is_one_sentence(monkeypatch):
    with pytest.raises(ConfigError, match="kernels is 'cuda', but must be 'auto', 'triton'"):
        backend.use('cuda')
    monkeypatch.setattr(backend, 'HAS_ONEDNN', False)
    with pytest.raises(ConfigError, match='torch was built without oneDNN'):
        backend.use('onednn')
    monkeypatch.setattr(backend, 'HAS_TRITON', False)
    with pytest.raises(ConfigError, match='Triton is not installed'):
        backend.use('triton')
    monkeypatch.setattr(backend, 'HAS_TRITON', True)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.delenv('TRITON_INTERPRET', raising=False)
    with pytest.raises(ConfigError, match='there is no GPU'):
        backend.use('triton')
    assert backend._choice == 'auto'


def test_the_environment_sets_it(monkeypatch):
    with backend.use('auto'):
        monkeypatch.setenv('SPARSEVIT_MM_KERNELS', 'pytorch')
        assert runpy.run_path(backend.__file__)['_choice'] == 'pytorch'
        monkeypatch.setenv('SPARSEVIT_MM_KERNELS', 'cuda')
        with pytest.raises(ConfigError, match="kernels is 'cuda'"):
            runpy.run_path(backend.__file__)


def test_triton_is_not_imported_before_it_runs():
    code = (
        'import sys, torch, sparsevit_mm; before = set(sys.modules); '
        'net = sparsevit_mm.SparseViT(embed_dims=8, depths=(1,), num_heads=(1,), '
        'out_indices=(0,)).eval(); net.requires_grad_(False)(torch.zeros(1, 3, 32, 32)); '
        "print([m for m in sys.modules if m.split('.')[0] == 'triton'])"
    )
    assert output_of([sys.executable, '-c', code], cwd=ROOT).strip() == '[]'


@pytest.fixture
def threads():
    """Sets the number of threads; a test leaves it as it was."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_chunks_hold_what_the_caches_of_all_threads_hold(threads, monkeypatch):
    """A chunk is computed by all threads, each a part of it: as many windows a thread as on one."""
    net = SparseViT(embed_dims=8, depths=(2,), num_heads=(1,), out_indices=(0,)).eval()
    monkeypatch.setattr(windows, '_CPU_BYTES', 2 * 49 * 32 * 4)
    chunks_of, asked = windows.Windows.chunks, []

    def record(self, chunk_size):
        asked.append(chunk_size)
        return chunks_of(self, chunk_size)

    monkeypatch.setattr(windows.Windows, 'chunks', record)
    images, found = torch.randn(1, 3, 28 * 8, 28 * 8), []
    for number in (1, 2, 3):
        threads(number)
        with torch.no_grad():
            found += net(images)
    assert asked == [2, 2, 4, 4, 6, 6]
    for maps in found[1:]:
        torch.testing.assert_close(maps, found[0], rtol=1e-5, atol=1e-5)
