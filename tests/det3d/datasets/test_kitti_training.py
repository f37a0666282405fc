"""SMOKE on real frames of KITTI, where SPARSEVIT_MM_DATA names a folder with kitti_mono3d."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest

pytest.importorskip('mmdet3d')
from sparsevit_mm.apis.train import train
from sparsevit_mm.det3d.datasets.kitti_infos import make_infos

ROOT = Path(__file__).parents[2]
FOLDER = Path(os.environ.get('SPARSEVIT_MM_DATA', 'nowhere')) / 'kitti_mono3d'
CONFIG = ROOT / 'configs/sparsevit/kitti/smoke_sparsevit-mini_topdown_200it_kitti-512x160.py'

pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(), reason='SPARSEVIT_MM_DATA names no folder with kitti_mono3d'
)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_loss_falls_on_62_frames_and_48_are_evaluated(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    kitti = tmp_path / 'data' / 'kitti'
    kitti.mkdir(parents=True)
    (kitti / 'training').symlink_to(FOLDER / 'training')
    assert sorted(make_infos(FOLDER, out_dir=kitti).values()) == [48, 62]
    train(str(CONFIG), work_dir='work')
    (log,) = Path('work').glob('*/vis_data/scalars.json')
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    losses = [row['loss'] for row in rows if 'loss' in row]
    assert len(losses) == 20
    assert losses[-1] < 0.6 * losses[0]
    scores = {key: value for row in rows for key, value in row.items() if 'AP40' in key}
    assert 'KITTI/Car_3D_AP40_moderate_strict' in scores
    assert all(math.isfinite(value) for value in scores.values())
