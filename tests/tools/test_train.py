"""tools/train.py: a whole run, and a run that is killed and resumed."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time

import pytest
import torch

from sparsevit_mm.engine.hooks import SparsityAdaptationHook
from tests.helpers import scenes_3d
from tests.helpers.tiny_data import DEPTHS, SEGMENTOR, write_config
from tests.tools.conftest import ROOT, call_tool, run_tool, start_tool


def log_of(work_dir):
    """The scalars of every logged training iteration, oldest run first."""
    lines = []
    for path in sorted(work_dir.glob('*/vis_data/scalars.json')):
        lines += [json.loads(line) for line in path.read_text().splitlines()]
    return [line for line in lines if 'loss' in line]


def checkpoint_of(work_dir, epoch):
    return torch.load(work_dir / f'epoch_{epoch}.pth', map_location='cpu', weights_only=True)


def wait_for(condition, process, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_trains_evaluates_and_saves(trained):
    log = log_of(trained)
    assert [line['step'] for line in log] == list(range(1, 49))
    assert log[-1]['loss'] < log[0]['loss']
    assert (trained / 'last_checkpoint').read_text().endswith('epoch_3.pth')
    scalars = (next(trained.glob('2*')) / 'vis_data' / 'scalars.json').read_text()
    assert 'coco/bbox_mAP' in scalars


def test_killed_run_resumes_as_if_nothing_had_happened(tiny, trained, tmp_path):
    """Killed in the middle of epoch 2, it goes on from the end of epoch 1, to the same weights."""
    work_dir = tmp_path / 'killed'
    process = start_tool('train', tiny.detector, '--work-dir', work_dir, start_new_session=True)
    wait_for(lambda: work_dir.exists() and len(log_of(work_dir)) > 16 + 4, process)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert len(log_of(work_dir)) < 32
    assert not (work_dir / 'epoch_2.pth').exists()

    run = run_tool('train', tiny.detector, '--work-dir', work_dir, '--resume')
    assert run.code == 0, run.stderr
    (second,) = sorted(work_dir.glob('*/vis_data'))[1:]
    resumed = [json.loads(line) for line in (second / 'scalars.json').read_text().splitlines()]
    resumed = [line for line in resumed if 'loss' in line]
    whole = log_of(trained)
    assert [line['step'] for line in resumed] == list(range(17, 49))
    for now, then in zip(resumed, whole[16:]):
        # The drawn schedules, the learning rate's warm-up and the losses go on where they were.
        for key in ('pruning_ratio', 'lr', 'loss', 'epoch'):
            assert now[key] == then[key], (key, now, then)

    reference, result = checkpoint_of(trained, 3), checkpoint_of(work_dir, 3)
    assert result['meta']['iter'] == 48
    for name, weight in reference['state_dict'].items():
        torch.testing.assert_close(result['state_dict'][name], weight, rtol=0, atol=0)
    state, expected = result['optimizer']['state'], reference['optimizer']['state']
    assert state.keys() == expected.keys()
    for number, moments in expected.items():
        for name, value in moments.items():
            torch.testing.assert_close(state[number][name], value, rtol=0, atol=0)


def test_resume_without_a_checkpoint_starts_anew(tiny, tmp_path):
    call_tool(
        'train', tiny.detector, '--work-dir', tmp_path, '--resume', '--cfg-options',
        'train_cfg.max_epochs=1', 'train_cfg.val_interval=9',
    )  # fmt: skip
    assert checkpoint_of(tmp_path, 1)['meta']['iter'] == 16


def test_every_iteration_trains_the_schedule_of_its_number(trained):
    drawn = [SparsityAdaptationHook(seed=1).draw(step, DEPTHS) for step in range(48)]
    means = [sum(map(sum, schedule.ratios)) / 4 for schedule in drawn]
    assert [line['pruning_ratio'] for line in log_of(trained)] == pytest.approx(means)


def test_segmentor_trains_with_the_same_tool(tiny, tmp_path):
    call_tool('train', tiny.segmentor, '--work-dir', tmp_path)
    assert 'decode_head.conv_seg.weight' in checkpoint_of(tmp_path, 1)['state_dict']


def test_a_learned_importance_is_trained_kept_and_compared(tiny, tmp_path):
    """Every tool that loads the weights ranks by what was learned."""
    learned = ['--cfg-options', 'model.backbone.importance=learned']
    call_tool('train', tiny.detector, '--work-dir', tmp_path / 'run', *learned)
    weights = checkpoint_of(tmp_path / 'run', 3)['state_dict']
    for channels in (12, 24):
        assert weights[f'backbone.importance_state.weight_{channels}'].any()
    call_tool(
        'rank_windows', tiny.detector, tmp_path / 'run' / 'epoch_3.pth', '--ratios', 0.5,
        '--num-images', 8, '--out', tmp_path / 'ranking.json', *learned,
    )  # fmt: skip
    _, first, *others = json.loads((tmp_path / 'ranking.json').read_text())['rows']
    assert first['importance'] == 'learned'
    assert {row['importance'] for row in others} == {'l2', 'contrast', 'peak', 'random'}
    assert first['objects'] > max(row['objects'] for row in others)


@pytest.mark.parametrize('kind', scenes_3d.KINDS)
def test_a_3d_detector_learns_an_importance(kind, tmp_path):
    """From boxes in its image, or from those that its cameras see."""
    pytest.importorskip('mmdet3d')
    config, data = scenes_3d.config_and_options(kind, tmp_path, training=2, validation=8)
    data += ['model.backbone.importance=learned']
    run = ['train_cfg.max_iters=3', 'train_cfg.val_interval=3', 'custom_hooks.1.begin=0']
    call_tool('train', config, '--work-dir', tmp_path / 'run', '--cfg-options', *data, *run)
    weights = torch.load(tmp_path / 'run' / 'iter_3.pth', weights_only=True)['state_dict']
    probes = {name: value for name, value in weights.items() if 'importance_state.weight' in name}
    assert len(probes) == 4
    assert all(value.any() for value in probes.values())
    call_tool(
        'rank_windows', config, tmp_path / 'run' / 'iter_3.pth', '--num-images', 8, '--ratios', 0.5,
        '--importances', 'contrast', '--out', tmp_path / 'out.json', '--cfg-options', *data,
    )  # fmt: skip
    learned = json.loads((tmp_path / 'out.json').read_text())['rows'][1]
    assert learned['importance'] == 'learned'
    assert learned['objects'] > learned['pixels'] + 0.03


def test_a_learned_importance_needs_objects(tiny, tmp_path, capsys):
    adapted = (
        "custom_hooks = [dict(type='sparsevit_mm.SparsityAdaptationHook')]\n"
        "model['backbone']['importance'] = 'learned'\n"
    )
    config = write_config(tmp_path / 'learned.py', SEGMENTOR + adapted, tiny.data)
    with pytest.raises(SystemExit):
        call_tool('train', config, '--work-dir', tmp_path / 'run')
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith('error: objects of SparsityAdaptationHook is missing, but must name')


def test_a_state_of_another_optimizer_is_one_sentence(tiny, trained, tmp_path, capsys):
    content = torch.load(trained / 'epoch_3.pth', weights_only=True)
    content['meta'].update(epoch=1, iter=16)
    content['optimizer'] = {'state': {}}
    torch.save(content, tmp_path / 'a.pth')
    with pytest.raises(SystemExit):
        call_tool(
            'train', tiny.detector, '--work-dir', tmp_path / 'work', '--resume', tmp_path / 'a.pth'
        )
    assert "whose state is not that of this config (KeyError: 'param_groups')" in (
        capsys.readouterr().err
    )


def test_a_full_disk_is_one_sentence(tiny, tmp_path):
    """No file may grow beyond 100 kB: logs have room, checkpoints have not."""

    def small_disk():
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))

    run = run_tool('train', tiny.detector, '--work-dir', tmp_path, preexec_fn=small_disk)
    assert run.code == 1
    assert 'Traceback' not in run.stderr
    assert run.stderr.splitlines()[-1].startswith(f'error: the file {tmp_path}/epoch_1.pth cannot')
    assert not list(tmp_path.glob('*epoch*'))


@pytest.mark.slow
def test_two_processes_on_a_cpu(tiny, tmp_path):
    """torchrun starts two processes that share gradients; each sees half of the images."""
    command = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2']
    command += [str(ROOT / 'tools' / 'train.py'), str(tiny.detector), '--launcher', 'pytorch']
    environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT)}
    run = subprocess.run(
        [*command, '--work-dir', str(tmp_path / 'work')],
        env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert checkpoint_of(tmp_path / 'work', 3)['meta']['iter'] == 24
