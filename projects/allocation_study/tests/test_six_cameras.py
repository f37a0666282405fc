"""Six cameras that share windows: a tiny run, and its table."""

from __future__ import annotations

import pytest

pytest.importorskip('mmdet3d')
from projects.allocation_study.six_cameras import (
    ALLOCATIONS,
    BENCH,
    RATIOS,
    bench_key,
    key,
    run_seed,
    six_cameras_table,
)
from projects.street_scenes.six_cameras import SixCameraSettings


@pytest.mark.slow  # eleven starts of a tool
def test_a_network_of_either_allocation_is_tested_with_both(tmp_path, capsys):
    streets = SixCameraSettings(2, 2, 128, 64, seed=5)
    found = run_seed(0, tmp_path, iterations=2, streets=streets)
    wanted = {key(one, 'dense', 0) for one in ALLOCATIONS}
    wanted |= {key(one, other, r) for one in ALLOCATIONS for other in ALLOCATIONS for r in RATIOS}
    wanted |= {bench_key(tested, ratio) for tested in BENCH for ratio in RATIOS}
    assert set(found) == wanted
    for ratio in RATIOS:  # the study's own way to keep the same share is the package's
        mine, its = found[bench_key('image', ratio)], found[key('image', 'image', ratio)]
        assert {name: mine[name] for name in its} == its
        assert 0 < found[bench_key('calibrated', ratio)]['share'] < 1
    for allocation in ALLOCATIONS:
        assert (tmp_path / 'seed0' / allocation / 'iter_2.pth').exists()
    capsys.readouterr()
    assert run_seed(0, tmp_path, iterations=2, streets=streets) == found
    assert 'six cameras, seed' not in capsys.readouterr().out


def test_differences_are_those_of_each_seed():
    def seed(base):
        found = {key(one, 'dense', 0): {'mAP': base, 'NDS': 0.3} for one in ALLOCATIONS}
        for one in ALLOCATIONS:
            for other in ALLOCATIONS:
                for ratio in RATIOS:
                    gain = 0.01 * (other == 'batch')
                    found[key(one, other, ratio)] = {'mAP': base + gain, 'NDS': 0.3}
        return found

    lines = six_cameras_table({'0': seed(0.1), '1': seed(0.2)}).splitlines()
    assert lines[2].startswith('| `image`, dense | 0% | 0.150 ± 0.071 (2 seeds) | 0.300')
    assert lines[5].endswith('| +0.010 ± 0.000, better |')
    assert lines[6].endswith("| +0.000 ± 0.000, within the seeds' spread |")
    both = {'0': seed(0.1), '1': seed(0.2)}
    for found in both.values():
        for ratio in RATIOS:
            base = found[key('image', 'image', ratio)]
            found[bench_key('image', ratio)] = {**base, 'share': 0.5}
            lost = {'mAP': base['mAP'] - 0.02, 'NDS': 0.2, 'share': 0.6}
            found[bench_key('calibrated', ratio)] = lost
    lines = six_cameras_table(both).splitlines()
    assert lines[8].startswith('| `image`, `calibrated` | 50% | 0.130 ± 0.071 (2 seeds) | 0.200')
    assert lines[8].endswith('| -0.020 ± 0.000, worse; windows computed: 60% instead of 50% |')
    assert six_cameras_table({}) == '*not run yet*'
