"""The search for the nuScenes rows' ratios: its budget, resuming, and what was committed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

pytest.importorskip('mmdet3d')
from benchmarks import nuscenes_schedules
from projects.street_scenes.six_cameras import SixCameraSettings, make_six_camera_dataset
from sparsevit_mm.apis.configs import load_config, register_framework
from sparsevit_mm.checks.configs import build_model
from sparsevit_mm.models.swin_arch import SwinArch
from sparsevit_mm.profiling import backbone_macs
from sparsevit_mm.pruning import PruningSchedule

ROOT = Path(__file__).parents[2]
RESULT = ROOT / 'benchmarks' / 'results' / 'nuscenes_schedules.json'
RATIOS = ROOT / 'configs' / 'sparsevit' / '_base_' / 'bevdet_ratios_nus-3d.py'
SHAPES = {'114g': (288, 792, 113.9), '78g': (256, 704, 78.4), '58g': (256, 704, 58.6)}


def counted(name, ratios):
    """GMACs of Swin-T at a row's input, over its six cameras."""
    height, width, _ = SHAPES[name]
    arch = SwinArch.build('tiny')
    schedule = PruningSchedule.parse(ratios, arch.depths)
    return backbone_macs(arch, schedule, height, width, batch=6).total / 1e9


@pytest.fixture(scope='module')
def started(tmp_path_factory):
    """A folder with the demo's data and a network with random weights."""
    folder = tmp_path_factory.mktemp('search')
    make_six_camera_dataset(
        folder / 'data' / 'demo_six_cameras', SixCameraSettings(1, 1, 128, 64), workers=1
    )
    cfg = load_config(str(ROOT / nuscenes_schedules.CONFIG))
    register_framework(cfg)
    torch.save({'state_dict': build_model(cfg).state_dict()}, folder / 'weights.pth')
    return folder


def search(folder, *flags):
    few = ['--frames', '1', '--evaluations', '3', '--population', '2', '--parents', '1']
    given = dict(
        config=ROOT / nuscenes_schedules.CONFIG,
        checkpoint=folder / 'weights.pth',
        work_dir=folder / 'work',
        out=folder / 'result.json',
    )
    paths = [word for k, v in given.items() for word in (f'--{k}'.replace('_', '-'), str(v))]
    nuscenes_schedules.main([*paths, *few, *flags])
    return json.loads((folder / 'result.json').read_text())


def test_finds_schedules_within_the_printed_macs_and_goes_on(started, monkeypatch):
    monkeypatch.chdir(started)
    result = search(started)
    assert list(result['rows']) == list(SHAPES)
    for name, row in result['rows'].items():
        assert counted(name, row['ratios']) == pytest.approx(row['macs'] / 1e9, abs=1e-6)
        assert abs(row['macs'] / 1e9 - SHAPES[name][2]) <= 0.05
        assert row['evaluations'] == 3
    lines = (started / 'work' / 'candidates.jsonl').read_text().splitlines()
    losses = {str(one['schedule']): one['metrics']['loss'] for one in map(json.loads, lines)}
    assert len(losses) == len(lines) == 1 + 3 * 3, 'dense, and three a row'
    assert result['rows']['58g']['loss'] in losses.values()

    # Interrupted after five evaluations: those are not made again, and the end is the same.
    (started / 'work' / 'candidates.jsonl').write_text('\n'.join(lines[:5]) + '\n')
    assert search(started) == result
    again = (started / 'work' / 'candidates.jsonl').read_text().splitlines()
    assert again[:5] == lines[:5]
    assert len(again) == len(lines)
    with pytest.raises(SystemExit):
        search(started, '--seed', '1')


def test_weights_must_be_there(tmp_path, capsys):
    with pytest.raises(SystemExit):
        nuscenes_schedules.main(
            ['--checkpoint', str(tmp_path / 'none.pth'), '--out', str(tmp_path / 'out')]
        )
    assert 'none.pth, but there is no such file' in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_committed_ratios_are_those_of_the_configs():
    result, ratios = json.loads(RESULT.read_text()), Config.fromfile(RATIOS)
    for name, row in result['rows'].items():
        height, width, printed = SHAPES[name]
        assert ratios[f'ratios_{name}_{height}x{width}'] == row['ratios']
        assert counted(name, row['ratios']) == pytest.approx(row['macs'] / 1e9, abs=1e-6)
        assert abs(row['macs'] / 1e9 - printed) <= 0.05
        assert row['loss'] <= row['random_schedules']['best_loss']
