"""`python -m sparsevit_mm.env` says what computes here."""

from __future__ import annotations

import os
import sys

import pytest
import torch

from sparsevit_mm.env import KERNELS, check_kernels
from tests.helpers.commands import output_of


def test_it_prints_versions_the_setting_and_the_kernels():
    env = {**os.environ, 'SPARSEVIT_MM_KERNELS': 'pytorch'}
    command = [sys.executable, '-m', 'sparsevit_mm.env']
    said = output_of(command, env=env)
    lines = dict(line.split(maxsplit=1) for line in said.splitlines())
    assert lines['torch'] == torch.__version__
    assert lines['kernels'].startswith('pytorch ')
    if not torch.cuda.is_available():
        assert lines['device'] == 'no GPU'
        assert 'not used' in said


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16])
def test_every_kernel_proves_itself(dtype, triton_device):
    found = check_kernels(triton_device, dtype)
    assert found == dict.fromkeys(KERNELS, 'agrees with PyTorch')
