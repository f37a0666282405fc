"""The comparison over seeds: a tiny run on drawn scenes, and its table."""

from __future__ import annotations

import pytest

pytest.importorskip('mmseg')
from projects.allocation_study.seeds import ARMS, RATIOS, measure, results_file, tables
from projects.importance_study.__main__ import SMOKE_TRAINING
from projects.importance_study.plan import DATA_SETS
from projects.importance_study.run import StudyRun
from projects.street_scenes.dataset import DemoSettings


def test_every_arm_is_measured_once(tmp_path, capsys):
    scenes = DemoSettings(training=2, validation=3, width=128, height=64)
    run = StudyRun(DATA_SETS['drawn_segmentation'], 0, tmp_path, SMOKE_TRAINING, scenes)
    run.prepare()
    found = measure(run)
    assert set(found) == {arm.key(ratio) for arm in ARMS for ratio in RATIOS}
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith('drawn_segmentation, seed 0, ') for line in lines) == len(found)
    for arm in ARMS:
        sparse, sparser = (found[arm.key(ratio)] for ratio in RATIOS)
        assert sparse['mean_share'] > sparser['mean_share']
        assert len(sparse['shares']) == 3
    assert (tmp_path / 'drawn_segmentation/seed0/contrast+batch/iter_1.pth').exists()
    before = results_file(run).read_text()
    assert measure(run) == found
    assert not capsys.readouterr().out
    assert results_file(run).read_text() == before


def test_differences_are_those_of_each_seed():
    def seed(**metrics):
        return {
            arm.key(ratio): {'coco/bbox_mAP': metrics.get(arm.allocation, 0.1), 'cost_share': 0.3}
            for arm in ARMS
            for ratio in RATIOS
        }

    seeds = {'0': seed(image=0.10, batch=0.12), '1': seed(image=0.2, batch=0.21)}
    lines = tables({'aerial_cars': seeds})['aerial_cars'].splitlines()
    assert lines[2].startswith("| `'image'` | 15.0 ± 7.1 (2 seeds) |  | 30% |")
    assert lines[3].startswith("| `'batch'` | 16.5 ± 6.4 (2 seeds) | +1.5 ± 0.7, better | 30% |")
    assert tables({})['camvid'] == '*not run yet*'
