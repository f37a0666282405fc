"""BEVDet on the six-camera demo: trained from scratch it finds what an untrained one does not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

pytest.importorskip('mmdet3d')
from projects.street_scenes.six_cameras import SixCameraSettings, make_six_camera_dataset
from sparsevit_mm.apis.configs import load_config, register_framework
from sparsevit_mm.apis.test import test as evaluate
from sparsevit_mm.apis.train import train
from sparsevit_mm.checks.configs import build_model

ROOT = Path(__file__).parents[3]
CONFIG = ROOT / 'projects/street_scenes/configs/bevdet_sparsevit-mini_adaptation_demo6-112x336.py'


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_training_from_scratch_finds_cars_and_people(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_six_camera_dataset('data/demo_six_cameras', SixCameraSettings())
    cfg = load_config(str(CONFIG))
    register_framework(cfg)
    torch.save({'state_dict': build_model(cfg).state_dict()}, 'untrained.pth')
    before = evaluate(str(CONFIG), 'untrained.pth', work_dir='before')
    train(str(CONFIG), work_dir='work')
    trained = f'work/iter_{cfg.max_iters}.pth'
    after = {
        ratios: evaluate(str(CONFIG), trained, work_dir='after', ratios=ratios)
        for ratios in ('0', '0.5')
    }
    key = 'nuscenes/mAP'
    assert before[key] < 0.01
    assert after['0'][key] > before[key] + 0.05
    assert after['0.5'][key] > before[key] + 0.03
