"""What a forward pass asks of a GPU, counted without one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

pytest.importorskip(
    'benchmarks.counted',
    reason='this torch has no table of the operations that it counts',
    exc_type=ImportError,
)

from benchmarks.counted import GPUS, Counter, floors, totals
from benchmarks.floors import Rates
from tests.helpers.commands import output_of

ROOT = Path(__file__).parents[2]


def test_a_layer_reads_its_weights_and_writes_its_rows():
    layer, rows = nn.Linear(8, 4), torch.rand(3, 8)
    with torch.no_grad(), Counter() as counter:
        layer(rows)
    assert dict(counter.steps['products']) == dict(
        launches=1, operations=2 * 3 * 8 * 4, bytes=4 * (3 * 8 + 8 * 4 + 4 + 3 * 4)
    )


def test_views_are_free_and_a_gather_reads_what_it_returns():
    tokens, chosen = torch.rand(100, 4), torch.tensor([3, 5])
    with Counter() as counter:
        tokens.view(50, 8).transpose(0, 1)
        tokens.index_select(0, chosen)
    assert totals(counter.steps) == dict(launches=1, operations=0, bytes=4 * 2 * 8 + 2 * 8)


def test_floors_are_times_at_the_rates_of_a_gpu():
    steps = dict(products=dict(launches=1, operations=2e9, bytes=1e6))
    assert floors(steps, Rates(flops=1e12, bandwidth=1e9)) == dict(operations=2.0, bytes=1.0)
    assert all(rates.flops > 100 * rates.bandwidth for rates in GPUS.values())


@pytest.mark.skipif(torch.cuda.is_available(), reason='index maps without values stay in caches')
@pytest.mark.skipif(not torch.backends.cuda.is_built(), reason='PyTorch was built without CUDA')
def test_the_page_has_what_is_counted_today(tmp_path):
    out = tmp_path / 'counted.json'
    command = [sys.executable, '-m', 'benchmarks.counted', '--schedules', 'cfg2', '--out', str(out)]
    output_of(command, cwd=ROOT)
    (found,) = json.loads(out.read_text())
    kept = json.loads((ROOT / 'benchmarks/results/counted.json').read_text())
    (expected,) = [row for row in kept if row['network'] == 'SparseViT-T cfg2']
    assert found == expected
    assert found['steps']['window attention']['launches'] == 12


@pytest.mark.skipif(torch.backends.cuda.is_built(), reason='PyTorch was built with CUDA')
def test_a_pytorch_without_cuda_is_said_to_be_so():
    done = subprocess.run(
        [sys.executable, '-m', 'benchmarks.counted'], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 2
    assert 'built without CUDA' in done.stderr
