"""The kernels compile for GPUs that are not at hand, and use no more than those have."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.kernel_resources import DTYPES, KEYS, SHARED_LIMITS, cases, excesses
from sparsevit_mm.ops import backend

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(not backend.HAS_TRITON, reason='needs Triton and torch 2.4')


def compile_kernels(tmp_path, *words):
    """The command as it is typed, without Triton's interpreter; what it printed and the rows."""
    env = {name: value for name, value in os.environ.items() if name != 'TRITON_INTERPRET'}
    env['TRITON_CACHE_DIR'] = str(tmp_path / 'cache')
    out = tmp_path / 'kernels.json'
    command = [sys.executable, '-m', 'benchmarks.kernel_resources', '--out', str(out), *words]
    result = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return json.loads(out.read_text())


def test_a_shape_of_each_kernel(tmp_path):
    words = '--shapes one --architectures sm_86 --dtypes fp16'
    rows = compile_kernels(tmp_path, *words.split())
    assert len(rows) == 5
    for row in rows:
        assert row['registers'] > 0
        assert row['reads']['16'] > 0


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize('architecture', list(SHARED_LIMITS))
def test_every_kernel_dtype_and_shape(architecture, tmp_path):
    rows = compile_kernels(tmp_path, '--architectures', architecture)
    assert len(rows) == len(cases())


def test_the_figures_kept_are_within_the_bounds():
    rows = json.loads((ROOT / 'benchmarks/results/kernel_resources.json').read_text())
    kept = {tuple(row[key] for key in KEYS) for row in rows}
    assert len(kept) == len(rows)
    wanted = {
        (*vars(case).values(), name) for name in SHARED_LIMITS for case in cases(shapes='main')
    }
    assert wanted <= kept
    for row in rows:
        assert 'error' not in row
        assert not excesses(row)
        assert row.get('path') == 'PyTorch' or row['registers'] > 0


def test_what_is_too_much_is_named():
    row = dict(kernel='gather_norm', architecture='sm_86', spilled=0, shared=0, registers=64)
    row |= dict(channels=96, reads={'16': 9, '4': 1}, writes={'16': 3})
    assert excesses(row) == []
    assert excesses(row | dict(spilled=8)) == ['spills 8 bytes']
    assert excesses(row | dict(registers=65)) == ['takes 65 registers']
    assert excesses(row | dict(registers=72, channels=2560)) == []
    assert excesses(row | dict(shared=100 * 1024)) == ['takes 102400 bytes of shared memory']
    (narrow,) = excesses(row | dict(writes={'2': 24}))
    assert narrow.startswith('reads')
    attention = row | dict(kernel='window_attention', registers=200, reads={'2': 9})
    assert excesses(attention) == []


def test_all_dtypes_and_shapes_of_the_shipped_architectures_are_there():
    found = {(case.kernel, case.dtype) for case in cases()}
    assert len(found) == 5 * len(DTYPES)
    channels = {case.channels for case in cases() if case.kernel == 'gather_norm'}
    assert {96, 192, 384, 768, 1536} <= channels
