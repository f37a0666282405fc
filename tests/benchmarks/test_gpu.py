"""The few minutes on a GPU are rehearsed on a CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import gpu
from benchmarks.results_file import load, row_of, save_section
from sparsevit_mm.ops import backend

ROOT = Path(__file__).parents[2]
CPU = torch.device('cpu')


def rehearse(out, *words):
    """The command as it is typed, with the kernels in Triton's interpreter."""
    env = {**os.environ, 'TRITON_INTERPRET': '1'}
    command = [
        sys.executable,
        '-m',
        'benchmarks.gpu',
        '--small',
        '--device',
        'cpu',
        '--out',
        str(out),
    ]
    return subprocess.run([*command, *words], env=env, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.skipif(not backend.HAS_TRITON, reason='needs Triton and torch 2.4')
def test_kernels_come_first_and_what_was_done_is_not_done_again(tmp_path):
    out = tmp_path / 'gpu.json'
    others = {step.name: 1.0 for step in gpu.steps(CPU, True, '')[1:]}
    save_section(out, gpu.DONE, dict(rows=[], steps=others))
    result = rehearse(out)
    assert result.returncode == 0, result.stderr
    sections = load(out)
    assert set(sections) == {'kernels', gpu.DONE}
    states = [row['state'] for row in sections['kernels']['rows'] if 'state' in row]
    assert states == ['agrees with PyTorch'] * 8
    differences = [row for row in sections['kernels']['rows'] if 'relative_difference' in row]
    assert differences
    assert all(row['relative_difference'] < 1e-2 for row in differences)
    assert set(sections[gpu.DONE]['steps']) == {'kernels', *others}


def test_no_step_begins_that_would_not_end_in_time(tmp_path, capsys):
    with pytest.raises(SystemExit):
        gpu.main(['--device', 'cpu'])
    with pytest.raises(SystemExit):
        gpu.main(['--device', 'cpu', '--small'])
    out = tmp_path / 'gpu.json'
    gpu.main(['--device', 'cpu', '--small', '--minutes', '-1', '--out', str(out)])
    assert not out.exists()
    assert capsys.readouterr().out.count(': left out') == len(gpu.steps(CPU, True, ''))


def test_the_plan_of_a_gpu_has_names_of_its_own():
    names = [step.name for step in gpu.steps(torch.device('cuda'), False, '')]
    assert len(set(names)) == len(names)
    assert names[0] == 'kernels'
    assert 'cfg2' in names[1]
    assert sum(step.seconds for step in gpu.steps(torch.device('cuda'), False, '')[:7]) <= 8 * 60


@pytest.mark.slow
def test_the_rehearsal(tmp_path):
    out = tmp_path / 'gpu.json'
    result = rehearse(out)
    assert result.returncode == 0, result.stderr
    sections = load(out)
    assert {step.section for step in gpu.steps(CPU, True, '')} | {gpu.DONE} == set(sections)
    assert row_of(sections['swin 672'], 'SparseViT-T cfg2', mode='eager')['median'] > 0
    assert all(
        'median' in row for row in sections['training']['rows'] + sections['end to end']['rows']
    )
    assert 'done before' in rehearse(out).stdout
    assert load(out) == sections
