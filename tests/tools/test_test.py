"""tools/test.py: evaluation at the config's schedule and at others."""

from __future__ import annotations

import json
import pickle

import pytest
import torch

from sparsevit_mm import PruningSchedule
from sparsevit_mm.checkpoints.reading import read_content
from tests.helpers.tiny_data import DEPTHS
from tests.tools.conftest import call_tool, files_below, run_tool


def metrics_of(work_dir):
    (path,) = work_dir.glob('*/*.json')
    return json.loads(path.read_text())


def test_evaluates_and_writes_predictions(tiny, trained, tmp_path):
    run = run_tool(
        'test',
        tiny.detector,
        trained / 'epoch_3.pth',
        '--work-dir',
        tmp_path / 'work',
        '--out',
        tmp_path / 'predictions.pkl',
        '--show-dir',
        'drawn',
        '--ratios',
        '[[0.5], [0.25, 0.75]]',
    )
    assert run.code == 0, run.stderr
    assert 0 <= metrics_of(tmp_path / 'work')['coco/bbox_mAP'] <= 1
    with (tmp_path / 'predictions.pkl').open('rb') as file:  # our own, just written
        predictions = pickle.load(file)
    assert len(predictions) == 16
    drawn = [name for name in files_below(tmp_path / 'work') if '/drawn/' in name]
    assert len(drawn) == 16


@pytest.mark.parametrize('way', ['ratios', 'schedule'])
def test_schedule_of_the_command_line_is_used(tiny, trained, tmp_path, monkeypatch, way):
    wanted = PruningSchedule.parse([[0.5], [0.25, 0.75]], DEPTHS)
    value = '[[0.5], [0.25, 0.75]]'
    if way == 'schedule':
        value = str(tmp_path / 'schedule.json')
        wanted.save(value)
    runs = _runners(monkeypatch)
    checkpoint = trained / 'epoch_3.pth'
    call_tool('test', tiny.detector, checkpoint, '--work-dir', tmp_path, f'--{way}', value)
    assert [runner.model.backbone.pruning_schedule for runner in runs] == [wanted]


def test_test_time_augmentation(tiny, trained, tmp_path, monkeypatch):
    runs = _runners(monkeypatch)
    call_tool('test', tiny.detector, trained / 'epoch_3.pth', '--work-dir', tmp_path, '--tta')
    assert type(runs[0].model).__name__ == 'DetTTAModel'
    assert 'coco/bbox_mAP' in metrics_of(tmp_path)


def test_the_inference_form_has_the_same_metrics(tiny, trained, tmp_path):
    found = []
    for options in ((), ('--optimize',), ('--optimize', 'bfloat16', '--tta')):
        work_dir = tmp_path / str(len(found))
        call_tool(
            'test', tiny.detector, trained / 'epoch_3.pth', '--work-dir', work_dir, *options
        )  # fmt: skip
        found.append(metrics_of(work_dir)['coco/bbox_mAP'])
    assert found[0] == pytest.approx(found[1], abs=2e-3)
    assert found[2] > 0


def test_averaged_weights_are_tested_in_their_inference_form(tiny, trained, tmp_path):
    """EMAHook swaps weights before and after a test; the model has others in between."""
    weights = read_content(trained / 'epoch_3.pth')
    averaged = {f'module.{name}': value for name, value in weights['state_dict'].items()}
    weights['ema_state_dict'] = {'steps': torch.tensor(1), **averaged}
    torch.save(weights, tmp_path / 'averaged.pth')
    config = tmp_path / 'averaged.py'
    config.write_text(f"_base_ = {str(tiny.detector)!r}\ncustom_hooks = [dict(type='EMAHook')]\n")
    found = []
    for options in ((), ('--optimize',)):
        work_dir = tmp_path / str(len(found))
        call_tool('test', config, tmp_path / 'averaged.pth', '--work-dir', work_dir, *options)
        found.append(metrics_of(work_dir)['coco/bbox_mAP'])
    assert found[0] == pytest.approx(found[1], abs=2e-3)


def test_segmentor(tiny, tmp_path):
    call_tool('train', tiny.segmentor, '--work-dir', tmp_path / 'train')
    checkpoint, work_dir = tmp_path / 'train' / 'epoch_1.pth', tmp_path / 'test'
    call_tool(
        'test', tiny.segmentor, checkpoint, '--work-dir', work_dir, '--ratios', '0.5',
        '--out', tmp_path / 'labels',
    )  # fmt: skip
    assert 'mIoU' in metrics_of(work_dir)
    assert len(files_below(tmp_path / 'labels')) == 16


def _runners(monkeypatch):
    """Every runner that the tool builds."""
    from mmengine.runner import Runner

    built, original = [], Runner.from_cfg.__func__

    def from_cfg(cls, cfg):
        built.append(original(cls, cfg))
        return built[-1]

    monkeypatch.setattr(Runner, 'from_cfg', classmethod(from_cfg))
    return built


def test_the_first_line_says_which_share_of_the_model_the_dial_reaches(tiny, trained, tmp_path):
    arguments = ['--ratios', '0.5']
    run = run_tool(
        'test', tiny.detector, trained / 'epoch_3.pth', '--work-dir', tmp_path, *arguments
    )
    assert run.code == 0, run.stderr
    counted = run_tool('get_flops', tiny.detector, '--shape', 60, 84, *arguments)
    first = run.stdout.splitlines()[0]
    assert first == counted.stdout.splitlines()[0]
    assert first.startswith('The dial reaches ')
