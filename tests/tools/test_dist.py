"""dist_*.sh and slurm_*.sh: what they start, and two processes that train and test as one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.tiny_data import DETECTOR, write_config
from tests.tools.conftest import ROOT, call_tool

# Writes, in every process, the schedule that each iteration trained.
RECORDER = """
import json, os
from mmengine.registry import HOOKS
from mmengine.hooks import Hook

@HOOKS.register_module()
class RecordSchedules(Hook):
    priority = 'LOWEST'

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        model = getattr(runner.model, 'module', runner.model)
        image = data_batch['data_samples'][0].img_path
        line = dict(step=runner.iter, image=image, ratios=model.backbone.pruning_schedule.ratios)
        with open(f"{os.environ['RECORDS']}/{os.environ['RANK']}.jsonl", 'a') as file:
            file.write(json.dumps(line) + chr(10))
"""


@pytest.fixture
def stubs(tmp_path, monkeypatch):
    """A folder in front of PATH whose python and srun write down what they are called with."""
    for name in ('python', 'srun'):
        stub = tmp_path / 'bin' / name
        stub.parent.mkdir(exist_ok=True)
        stub.write_text('#!/bin/sh\nprintf "%s\\n" "$0" "$@"\n')
        stub.chmod(0o755)
    monkeypatch.setenv('PATH', f'{tmp_path / "bin"}:{os.environ["PATH"]}')
    for name in ('PYTHON', 'NNODES', 'PORT', 'GPUS', 'GPUS_PER_NODE', 'SRUN_ARGS'):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def run_script(name, *args):
    return subprocess.run(
        [str(ROOT / 'tools' / f'{name}.sh'), *map(str, args)], capture_output=True, text=True
    )


def words_of(name, *args):
    run = run_script(name, *args)
    assert run.returncode == 0, run.stderr
    program, *words = run.stdout.splitlines()
    return [Path(program).name, *(word.replace(str(ROOT), '.') for word in words)]


def test_one_machine(stubs):
    tools = ['python', '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2']
    assert words_of('dist_train', 'a b.py', 2, '--resume', '--cfg-options', 'x=[1, 2]') == [
        *tools, './tools/train.py', 'a b.py', '--launcher', 'pytorch', '--resume', '--cfg-options',
        'x=[1, 2]',
    ]  # fmt: skip
    assert words_of('dist_test', 'c.py', 'w.pth', 2, '--tta') == [
        *tools, './tools/test.py', 'c.py', 'w.pth', '--launcher', 'pytorch', '--tta',
    ]  # fmt: skip


def test_several_machines(stubs):
    for name, value in dict(NNODES='2', NODE_RANK='1', MASTER_ADDR='node0', PORT='1234').items():
        stubs.setenv(name, value)
    assert words_of('dist_train', 'c.py', 8)[3:8] == [
        '--nnodes=2', '--node_rank=1', '--master_addr=node0', '--master_port=1234',
        '--nproc_per_node=8',
    ]  # fmt: skip


def test_slurm(stubs):
    stubs.setenv('GPUS', '4')
    stubs.setenv('SRUN_ARGS', '--quotatype=auto --exclusive')
    common = [
        'srun', '--partition=big', '--job-name=job', '--gres=gpu:4', '--ntasks=4',
        '--ntasks-per-node=4', '--cpus-per-task=5', '--kill-on-bad-exit=1', '--quotatype=auto',
        '--exclusive', 'python', '-u',
    ]  # fmt: skip
    assert words_of('slurm_train', 'big', 'job', 'c.py', 'work', '--amp') == [
        *common, './tools/train.py', 'c.py', '--work-dir', 'work', '--launcher', 'slurm', '--amp',
    ]  # fmt: skip
    assert words_of('slurm_test', 'big', 'job', 'c.py', 'w.pth') == [
        *common, './tools/test.py', 'c.py', 'w.pth', '--launcher', 'slurm',
    ]  # fmt: skip


@pytest.mark.parametrize('name', ['dist_train', 'dist_test', 'slurm_train', 'slurm_test'])
def test_too_few_arguments(name):
    run = run_script(name, 'c.py')
    assert run.returncode == 2
    assert run.stderr.startswith('usage: ')


@pytest.mark.slow
def test_two_processes_on_a_cpu_train_and_test_as_one(tiny, tmp_path, monkeypatch):
    (tmp_path / 'record_schedules.py').write_text(RECORDER)
    config = write_config(tmp_path / 'detector.py', DETECTOR, tiny.data)
    config.write_text(
        config.read_text()
        + "custom_imports = dict(imports=['record_schedules'])\n"
        + "custom_hooks.append(dict(type='RecordSchedules'))\n"
    )
    monkeypatch.setenv('PYTHON', sys.executable)
    monkeypatch.setenv('PYTHONPATH', str(tmp_path))
    monkeypatch.setenv('RECORDS', str(tmp_path))
    work_dir = tmp_path / 'work'
    run = run_script('dist_train', config, 2, '--work-dir', work_dir)
    assert run.returncode == 0, run.stderr
    first, second = (
        [json.loads(line) for line in (tmp_path / f'{rank}.jsonl').read_text().splitlines()]
        for rank in range(2)
    )
    # 16 images, 2 processes, 3 epochs.
    assert [line['step'] for line in first] == list(range(24))
    schedules = [line['ratios'] for line in first]
    assert [line['ratios'] for line in second] == schedules
    assert len({str(ratios) for ratios in schedules}) > 10
    for epoch in range(0, 24, 8):
        seen = [line['image'] for line in first[epoch : epoch + 8] + second[epoch : epoch + 8]]
        assert len(set(seen)) == 16

    checkpoint = work_dir / 'epoch_3.pth'
    together, alone = tmp_path / 'together', tmp_path / 'alone'
    run = run_script('dist_test', config, checkpoint, 2, '--work-dir', together)
    assert run.returncode == 0, run.stderr
    call_tool('test', tiny.detector, checkpoint, '--work-dir', alone)
    metrics = [
        json.loads(next(folder.glob('*/*.json')).read_text()) for folder in (together, alone)
    ]
    for name, value in metrics[1].items():
        if name.startswith('coco/'):
            assert metrics[0][name] == pytest.approx(value, abs=1e-3), name


@pytest.mark.slow
def test_two_processes_train_a_neck_that_leaves_the_first_map_out(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv('PYTHON', sys.executable)
    run = run_script(
        'dist_train', tiny.detector, 2, '--work-dir', tmp_path / 'work', '--cfg-options',
        'model.neck.start_level=1', 'model.neck.num_outs=1',
        'model.bbox_head.anchor_generator.strides=[8]', 'train_dataloader.dataset.indices=4',
        'train_cfg.max_epochs=1', 'train_cfg.val_interval=9',
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert (tmp_path / 'work' / 'epoch_1.pth').is_file()
