"""The whole command, tiny, on synthetic frames: it reports, and repeats nothing that is done."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from mmengine.runner import Runner
from mmseg.evaluation import IoUMetric
from PIL import Image

from projects.camvid_study.__main__ import CONFIGS, main
from projects.camvid_study.plan import CLASSES
from projects.camvid_study.run import StudyRun


def command(folder, *flags):
    variants = ('searched-0.7x-finetuned', 'dense-at-320-240')
    where = ('--work-dir', str(folder), '--seeds', '0', '--runs', '1')
    main(['--smoke', *where, '--variants', *variants, *flags])


def test_study_is_made_reported_and_not_made_again(tmp_path, capsys, monkeypatch):
    command(tmp_path, '--steps', 'weights', 'metrics', 'latency', 'report')
    report = json.loads((tmp_path / 'camvid.json').read_text())
    sparse = report['variants']['searched-0.7x-finetuned']['0']
    smaller = report['variants']['dense-at-320-240']['0']
    assert sparse['macs'] <= 0.7 * StudyRun.macs(*dense_variant(tmp_path))
    assert smaller['network_ms']['median'] > smaller['backbone_ms']['median'] > 0
    for variant, record in (('searched-0.7x-finetuned', sparse), ('dense-at-320-240', smaller)):
        counted = framework_iou(tmp_path / 'seed0/tests' / variant, tmp_path / 'frames')
        assert [record['IoU'][name] for name in CLASSES] == pytest.approx(counted, abs=0.01)
        assert record['mIoU'] == pytest.approx(sum(counted) / len(CLASSES), abs=0.01)
    assert (tmp_path / 'tradeoff.png').stat().st_size > 0

    def again(self):
        raise AssertionError('trained or tested a second time')

    monkeypatch.setattr(Runner, 'train', again)
    monkeypatch.setattr(Runner, 'test', again)
    capsys.readouterr()
    command(tmp_path, '--steps', 'weights', 'metrics', 'report')
    assert '| searched 0.7x, finetuned | 480×360 |' in capsys.readouterr().out
    assert json.loads((tmp_path / 'camvid.json').read_text()) == report

    with pytest.raises(SystemExit):
        main(['--work-dir', str(tmp_path), '--data-root', str(tmp_path / 'frames')])
    assert 'holds a run with other settings' in capsys.readouterr().err


def framework_iou(tested, frames):
    """IoU in percent of the classes but the unlabeled one, by MMSegmentation's own count."""
    both, either = 0, 0
    for path in (tested / 'predictions').glob('*.png'):
        found, true = (
            torch.from_numpy(np.array(Image.open(file)))
            for file in (path, frames / 'annotations/test' / path.name)
        )
        areas = IoUMetric.intersect_and_union(found, true, len(CLASSES) + 1, ignore_index=0)
        both, either = both + areas[0], either + areas[1]
    return (100 * both / either.clamp(min=1))[1:].tolist()


def dense_variant(folder):
    from projects.camvid_study.plan import VARIANTS

    run = StudyRun(0, CONFIGS, folder / 'frames', folder)
    return run, next(variant for variant in VARIANTS if variant.key == 'dense-at-480-360')


def test_missing_data_are_one_sentence(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(['--data-root', str(tmp_path / 'nowhere'), '--work-dir', str(tmp_path)])
    error = capsys.readouterr().err
    assert error.startswith('error: data_root is ')
    assert error.count('\n') == 1
