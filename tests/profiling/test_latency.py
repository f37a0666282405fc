"""Latency: who is called when, and what is made of the times. No test asserts a duration."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest

from sparsevit_mm.errors import ConfigError
from sparsevit_mm.profiling.latency import Latency, measure_latency


def test_candidates_take_turns():
    calls = []
    candidates = {name: lambda name=name: calls.append(name) for name in 'abc'}
    latencies = measure_latency(candidates, warmup=2, runs=5)
    rounds = [calls[start : start + 3] for start in range(0, len(calls), 3)]
    assert len(rounds) == 7
    assert all(sorted(names) == ['a', 'b', 'c'] for names in rounds)
    assert len({tuple(names) for names in rounds}) > 1  # not always in the same order
    assert list(latencies) == ['a', 'b', 'c']
    assert {len(latency.runs) for latency in latencies.values()} == {5}


def test_order_depends_on_the_seed_alone():
    def order(seed):
        calls = []
        candidates = {name: lambda name=name: calls.append(name) for name in 'abcd'}
        measure_latency(candidates, warmup=0, runs=6, seed=seed)
        return calls

    assert order(1) == order(1) != order(2)


def test_every_run_is_timed_on_its_own(monkeypatch):
    clock = itertools.accumulate(itertools.repeat(0.25))
    monkeypatch.setattr('time.perf_counter', lambda: next(clock))
    latency = measure_latency({'a': lambda: None}, warmup=1, runs=3)['a']
    assert latency.runs == (250.0, 250.0, 250.0)


def test_median_and_spread():
    latency = Latency((9.0, 1.0, 2.0, 3.0, 4.0))
    assert latency.median == 3
    assert latency.quartiles == (2, 4)
    assert latency.spread == 2
    assert str(latency) == '3.0 ms (2.0 to 4.0)'
    assert Latency((7.0,)).quartiles == (7, 7)


def test_gpu_is_waited_for_around_every_run(monkeypatch):
    events = []
    monkeypatch.setattr('torch.cuda.synchronize', lambda device: events.append('wait'))
    measure_latency({'a': lambda: events.append('run')}, warmup=0, runs=2, device='cuda:0')
    assert events == ['wait', 'run', 'wait'] * 2
    assert Counter(events)['run'] == 2


@pytest.mark.parametrize('wrong', [dict(candidates={}), dict(runs=0), dict(warmup=-1)])
def test_wrong_arguments(wrong):
    with pytest.raises(ConfigError):
        measure_latency(**{'candidates': {'a': lambda: None}, **wrong})
