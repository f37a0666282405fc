"""tools/rank_windows.py on tiny data: the table, the advice, and wrong input."""

from __future__ import annotations

import json

import pytest
import torch

from sparsevit_mm.apis.configs import load_config, register_framework
from sparsevit_mm.apis.rank_windows import _advice
from sparsevit_mm.checks.configs import build_model
from sparsevit_mm.engine.importance_comparison import Row
from tests.helpers import scenes_3d
from tests.helpers.tiny_data import SEGMENTOR, write_config
from tests.tools.conftest import call_tool, load_tool, run_tool

VALIDATION = 'val_dataloader = test_dataloader\nval_evaluator = test_evaluator\nval_cfg = dict()\n'


@pytest.fixture(scope='module')
def segmentor(tiny, tmp_path_factory):
    """The tiny segmentor with a validation set, and random weights."""
    folder = tmp_path_factory.mktemp('segmentor')
    config = write_config(folder / 'config.py', SEGMENTOR + VALIDATION, tiny.data)
    cfg = load_config(str(config))
    register_framework(cfg)
    torch.manual_seed(0)
    torch.save({'state_dict': build_model(cfg).state_dict()}, folder / 'weights.pth')
    return config, folder / 'weights.pth'


def test_a_detector(tiny, trained, tmp_path):
    out = tmp_path / 'ranking.json'
    run = run_tool('rank_windows', tiny.detector, trained / 'epoch_3.pth', '--out', out)
    assert run.code == 0, run.stderr
    assert 'an image takes' in run.stdout, 'a first timing chooses the number of images'
    lines = [line for line in run.stdout.splitlines() if line]
    assert [line for line in lines if line.startswith('9/9: ')], 'progress in a pipe'
    assert lines[-1] == f'ranking: {out}'
    found = json.loads(out.read_text())
    assert found['metric'] == 'coco/bbox_mAP'
    assert lines[-2] == f'Take {found["take"]}: {found["why"]}'
    dense, *rows = found['rows']
    assert (dense['importance'], dense['objects'], dense['pixels']) == (None, 1, 1)
    assert [(row['importance'], row['ratio']) for row in rows] == [
        (name, ratio) for name in ('l2', 'contrast', 'peak', 'random') for ratio in (0.5, 0.7)
    ]
    for row in rows:
        assert 0 < row['objects'] < 1
        assert row['pixels'] == pytest.approx(1 - row['ratio'], abs=0.15)
        assert len(row['parts']) == 4
    assert len({row['objects'] for row in rows}) > 4


def test_a_segmentor_at_other_ratios(segmentor, tmp_path):
    out = tmp_path / 'ranking.json'
    flags = ['--num-images', 4, '--ratios', 0.6, '--importances', 'contrast', '--out', out]
    own = ['--cfg-options', 'model.backbone.importance=peak']
    call_tool('rank_windows', *segmentor, *flags, *own)
    found = json.loads(out.read_text())
    assert found['metric'] == 'mIoU'
    assert len(found['images']) == 4
    assert [row['importance'] for row in found['rows']] == [None, 'peak', 'contrast']
    assert {row['objects'] for row in found['rows']} == {None}, 'no class is called background'
    call_tool('rank_windows', *segmentor, *flags, '--objects', 'person', 'car')
    dense, *rows = json.loads(out.read_text())['rows']
    assert dense['objects'] == 1
    assert all(0 < row['objects'] < 1 for row in rows)


def test_without_a_validation_set_test_images_stay_untouched(tiny, segmentor, capsys):
    with pytest.raises(SystemExit):
        call_tool('rank_windows', tiny.segmentor, segmentor[1])
    assert 'val_dataloader is not in the config, but importances' in capsys.readouterr().err


@pytest.mark.parametrize('kind', scenes_3d.KINDS)
def test_a_3d_detector(kind, tmp_path):
    """The nuScenes metric judges a part of the frames, and boxes in the images are the objects."""
    pytest.importorskip('mmdet3d')
    config, data = scenes_3d.config_and_options(kind, tmp_path, training=1, validation=9)
    out = tmp_path / 'out.json'
    cfg = load_config(str(config))
    register_framework(cfg)
    torch.manual_seed(0)
    torch.save({'state_dict': build_model(cfg).state_dict()}, tmp_path / 'weights.pth')
    call_tool(
        'rank_windows', config, tmp_path / 'weights.pth', '--num-images', 8, '--ratios', 0.5,
        '--importances', 'contrast', '--out', out, '--cfg-options', *data,
    )  # fmt: skip
    found = json.loads(out.read_text())
    assert found['metric'] == 'nuscenes/NDS'
    assert len(found['images']) == 8
    dense, *rows = found['rows']
    assert dense['objects'] == 1
    for row in rows:
        assert 0 < row['objects'] < 1
        assert len(row['parts']) == 4


CASES = {
    'unknown importance': (['--importances', 'largest'], "importance is 'largest', but must be"),
    'ratio': (['--ratios', '1.5'], 'ratios has 1.5, but every ratio must be above 0 and below 1'),
    'no images': (['--num-images', '0'], 'num_images is 0, but must be positive'),
    'metric': (['--metric', 'mIoU', '--num-images', '2'], "metric is 'mIoU', but must be one of"),
    'objects': (['--objects', 'boat'], "objects has 'boat', but must be among person, car"),
    'data': (
        ['--cfg-options', 'val_dataloader.dataset.data_root=nowhere'], 'nowhere',
    ),
}  # fmt: skip


@pytest.mark.parametrize('case', CASES)
def test_wrong_input_is_one_sentence(case, tiny, trained, tmp_path, capsys):
    options, message = CASES[case]
    out = tmp_path / 'out.json'
    args = [tiny.detector, trained / 'epoch_3.pth', '--out', out, *options]
    with pytest.raises(SystemExit) as stopped:
        load_tool('rank_windows').main([str(arg) for arg in args])
    assert stopped.value.code == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith('error: ')
    assert message in error
    assert not out.exists()


def test_a_backbone_without_a_schedule_is_one_sentence(tiny, trained, capsys):
    with pytest.raises(SystemExit):
        call_tool('rank_windows', tiny.plain, trained / 'epoch_3.pth')
    assert 'the backbone SwinTransformer has no pruning schedule' in capsys.readouterr().err


def rows(**parts):
    return [Row(name, 0.5, sum(of) / len(of), tuple(of), None, 0.5) for name, of in parts.items()]


def test_ties_within_the_noise_go_to_the_backbones_own():
    clear = rows(l2=[0.2, 0.3, 0.1, 0.2], contrast=[0.3, 0.4, 0.21, 0.31], peak=[0.2] * 4)
    take, why = _advice(clear, 'l2', 'mIoU')
    assert take == 'contrast'
    assert 'better than l2 by more than the noise (mIoU +0.105 with contrast' in why
    noisy = rows(l2=[0.2, 0.3, 0.1, 0.2], contrast=[0.5, 0.1, 0.3, 0.1])
    assert _advice(noisy, 'l2', 'mIoU')[0] == 'l2'
    assert _advice(rows(l2=[0.1] * 4, random=[0.9] * 4), 'l2', 'mIoU')[0] == 'l2'
    assert _advice(rows(l2=[0.1], contrast=[0.9]), 'l2', 'mIoU')[0] == 'l2', 'noise is not known'
