import pytest
import torch
from torch import nn

from benchmarks.floors import Rates, Work, count_work, measure_rates
from sparsevit_mm.ops import backend
from sparsevit_mm.profiling.latency import Latency


def test_work_is_what_the_layers_say():
    network = nn.Sequential(nn.Conv2d(3, 8, 4, 4, bias=False), nn.Flatten(2), nn.Linear(6, 2))
    work = count_work(network.eval(), 8, 12)
    assert work.flops == 2 * (8 * 6 * 48 + 8 * 6 * 2)
    assert work.parameters == 8 * 48 + 6 * 2 + 2
    assert work.images == 3 * 8 * 12 + 8 * 2
    assert next(network.parameters()).device.type == 'cpu'


def test_floors_follow_from_work_and_rates():
    rates = Rates(flops=1e9, bandwidth=1e6)
    floors = Work(flops=10**6, parameters=500, images=1000).floors(rates, 2, torch.float16)
    assert floors == dict(products=2.0, memory=5.0)


def test_the_floor_of_a_known_network_at_a_known_rate():
    """40.4 GMACs are 80.8 GFLOP, which 440 GFLOP/s take 184 ms."""
    rates = Rates(flops=440e9, bandwidth=40e9)
    floors = Work(2 * 40_400_000_000, 28_000_000, 8_000_000).floors(rates, 1, torch.float32)
    assert floors == dict(products=183.636, memory=3.6)


def test_a_clock_that_errs_once_changes_no_rate(monkeypatch):
    times = (0.5, 1.0, 1.1, 1.2)
    monkeypatch.setattr(
        'benchmarks.floors.measure_latency',
        lambda candidates, **_: {name: Latency(times) for name in candidates},
    )
    rates = measure_rates(torch.float32, torch.device('cpu'), sides=(100,), copied=2**20)
    assert rates == Rates(flops=2 * 100**3 / 1e-3, bandwidth=2 * 2**20 / 1e-3)


@pytest.mark.skipif(not backend.HAS_ONEDNN, reason='needs oneDNN and torch 2.4')
def test_rates_are_measured():
    rates = measure_rates(torch.float32, torch.device('cpu'), sides=(32, 64), copied=2**20)
    assert rates.flops > 0
    assert rates.bandwidth > 0
