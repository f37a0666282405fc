"""Training and search that are killed while they write: they go on, to the same result."""

from __future__ import annotations

import itertools
import json
import os
import random
import resource
import signal

import pytest
import torch
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from sparsevit_mm import SparseViT
from sparsevit_mm.engine.hooks import SparsityAdaptationHook, WholeCheckpointHook
from sparsevit_mm.engine.resuming import latest_checkpoint
from sparsevit_mm.engine.safe_reading import use_safe_reading
from sparsevit_mm.engine.whole_files import use_whole_files
from tests.engine.test_search_loop import candidates, toy_config, without_times
from tests.helpers.killed import killed_at
from tests.helpers.toy import DEPTHS, ToyModel, toy_runner


@pytest.fixture(autouse=True)
def as_the_tools_do():
    use_safe_reading()
    use_whole_files()


def train(folder, hook=WholeCheckpointHook):
    """Trains, or goes on with what is in the folder, keeping one checkpoint and the best."""
    start = latest_checkpoint(folder)
    torch.manual_seed(0)
    # Nothing random but what the seed of the run and the number of the iteration give.
    backbone = SparseViT(
        embed_dims=8, depths=DEPTHS, num_heads=(1, 2), out_indices=(1,), drop_path_rate=0.0
    )
    runner = toy_runner(
        folder,
        model=ToyModel(backbone),
        epochs=3,
        hooks=[SparsityAdaptationHook(seed=1)],
        default_hooks=dict(
            logger=dict(type='LoggerHook', interval=1),
            checkpoint=dict(
                type=hook, interval=1, max_keep_ckpts=1, save_best='toy/batches', rule='greater'
            ),
        ),
        load_from=start,
        resume=start is not None,
    )
    runner.train()


def result_of(folder):
    content = torch.load(folder / 'epoch_3.pth', weights_only=True)
    moments = content['optimizer']['state']
    return [*content['state_dict'].values(), *(m for s in moments.values() for m in s.values())]


def moments(seed, quick):
    """Numbers of moments: a few drawn ones, or all until the work ends before one."""
    return sorted(random.Random(seed).sample(range(60), quick)) if quick else itertools.count()


class KilledAfterTheFirst(WholeCheckpointHook):
    """Ends the process as a kill does, once the first checkpoint is written."""

    def after_train_epoch(self, runner):
        super().after_train_epoch(runner)
        os._exit(1)


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp('whole')
    assert not killed_at(10**9, folder, lambda: train(folder))
    return result_of(folder)


@pytest.mark.timeout(900)
@pytest.mark.parametrize('quick', [3, pytest.param(0, marks=pytest.mark.slow)])
def test_training_goes_on_after_every_kill(whole, tmp_path, quick):
    for moment in moments(0, quick):
        folder = tmp_path / str(moment)
        was_killed = killed_at(moment, folder, lambda to=folder: train(to))
        assert was_killed or moment > 20
        saved = sorted(folder.glob('epoch_*.pth'))
        if was_killed:
            assert not killed_at(10**9, folder, lambda to=folder: train(to))
        for value, expected in zip(result_of(folder), whole, strict=True):
            assert torch.equal(value, expected), (moment, saved)
        if not was_killed:
            break


def test_a_run_of_one_checkpoint_always_has_one(tmp_path):
    """mmengine's own hook has none while it writes, so that a killed run cannot go on."""
    seen = {}
    for hook in (CheckpointHook, WholeCheckpointHook):
        folder, seen[hook] = tmp_path / hook.__name__, []
        save = Runner.save_checkpoint

        def spy(runner, *args, hook=hook, folder=folder, save=save, **kwargs):
            seen[hook].append(len(list(folder.glob('epoch_*.pth'))))
            return save(runner, *args, **kwargs)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Runner, 'save_checkpoint', spy)
            train(folder, hook)
        assert [path.name for path in folder.glob('epoch_*.pth')] == ['epoch_3.pth']
        assert len(list(folder.glob('best_*.pth'))) == 1
    assert 0 in seen[CheckpointHook][1:]
    assert 0 not in seen[WholeCheckpointHook][1:]


def test_a_kill_after_half_of_a_checkpoint(whole, tmp_path):
    def until_the_disk_is_full():
        # The kernel ends the process when a file grows beyond the limit.
        size = (tmp_path / 'epoch_1.pth').stat().st_size
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, size // 2))
        train(tmp_path)

    def until_the_first_checkpoint():
        train(tmp_path, KilledAfterTheFirst)

    child = os.fork()
    if child == 0:
        until_the_first_checkpoint()
    os.waitpid(child, 0)
    assert [path.name for path in tmp_path.glob('epoch_*.pth')] == ['epoch_1.pth']
    child = os.fork()
    if child == 0:
        until_the_disk_is_full()
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert os.WTERMSIG(status) == signal.SIGXFSZ
    assert [path.name for path in tmp_path.glob('epoch_*.pth')] == ['epoch_1.pth']
    assert not killed_at(10**9, tmp_path, lambda: train(tmp_path))
    for value, expected in zip(result_of(tmp_path), whole, strict=True):
        assert torch.equal(value, expected)


def search(folder):
    settings = dict(evolution=dict(population=4, parents=2, max_evaluations=6), uniform=False)
    Runner.from_cfg(toy_config(folder, resume=True, **settings)).test()


@pytest.mark.parametrize('quick', [3, pytest.param(0, marks=pytest.mark.slow)])
def test_a_search_goes_on_after_every_kill(tmp_path, quick):
    assert not killed_at(10**9, tmp_path, lambda: search(tmp_path / 'whole'))
    whole = json.loads((tmp_path / 'whole' / 'schedule.json').read_text())
    for moment in moments(1, quick):
        folder = tmp_path / str(moment)
        was_killed = killed_at(moment, folder, lambda to=folder: search(to))
        if was_killed:
            assert not killed_at(10**9, folder, lambda to=folder: search(to))
        found = json.loads((folder / 'schedule.json').read_text())
        assert without_times(found) == without_times(whole), moment
        assert list(map(without_times, candidates(folder))) == list(
            map(without_times, candidates(tmp_path / 'whole'))
        )
        if not was_killed:
            break
