"""The variants of the study differ, and all of them are trained alike."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import PARAM_SCHEDULERS

from projects.camvid_study import run as module
from projects.camvid_study.plan import BUDGETS, CLASSES, FULL, LOWER, TRAININGS, VARIANTS
from projects.camvid_study.run import StudyRun

CONFIGS = Path(__file__).parents[3] / 'projects/camvid_study/configs'


def config(training):
    return Config.fromfile(CONFIGS / f'{TRAININGS[training].config}.py')


def learning_rates(cfg):
    """The learning rate of every iteration."""
    optimizer = torch.optim.AdamW([torch.zeros(1)], lr=cfg.optim_wrapper.optimizer.lr)
    schedulers = [
        PARAM_SCHEDULERS.build({**scheduler, 'optimizer': optimizer})
        for scheduler in cfg.param_scheduler
    ]
    rates = []
    for _ in range(cfg.train_cfg.max_iters):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for scheduler in schedulers:
            scheduler.step()
    return rates


def test_variants_are_told_apart():
    for names in ([variant.name for variant in VARIANTS], [variant.key for variant in VARIANTS]):
        assert len(set(names)) == len(names)
    what = {
        (variant.weights, variant.schedule, variant.size, variant.importance)
        for variant in VARIANTS
    }
    assert len(what) == len(VARIANTS)
    assert {variant.size for variant in VARIANTS if variant.curve} == {FULL, *LOWER}


@pytest.mark.parametrize('name', TRAININGS)
def test_trainings_lead_back_to_nothing(name):
    seen = []
    while name is not None:
        assert name not in seen
        seen.append(name)
        name = TRAININGS[name].start
    assert seen[-1] == 'dense'


@pytest.mark.parametrize('budget', BUDGETS)
@pytest.mark.parametrize('size', [FULL, *LOWER])
def test_dense_and_sparse_networks_are_trained_alike(budget, size):
    """As many iterations, the same learning rates, images and optimizer."""
    longer = config(f'longer-{size[0]}x{size[1]}')
    steps = [config('adapted'), config(f'searched-{budget}')]
    sparse = [rate for step in steps for rate in learning_rates(step)]
    dense = learning_rates(longer)
    assert len(sparse) == len(dense)
    assert sparse == pytest.approx(dense, rel=1e-6)
    for step in steps:
        assert step.train_dataloader.batch_size == longer.train_dataloader.batch_size
        assert step.optim_wrapper.paramwise_cfg == longer.optim_wrapper.paramwise_cfg
    assert longer.train_dataloader.dataset.pipeline[2].scale == size
    assert longer.test_dataloader.dataset.pipeline[1].scale == size


@pytest.mark.parametrize('name', TRAININGS)
def test_learning_rate_stays_below_what_the_config_says(name):
    cfg = config(name)
    assert max(learning_rates(cfg)) <= cfg.optim_wrapper.optimizer.lr * (1 + 1e-6)


def test_classes_are_those_of_the_configs(tmp_path):
    run = StudyRun(0, CONFIGS, tmp_path, tmp_path)
    assert tuple(run.config().classes) == ('unlabeled', *CLASSES)


def test_uniform_schedules_just_keep_their_budget(tmp_path):
    run = StudyRun(0, CONFIGS, tmp_path, tmp_path)
    macs = {
        variant.key: run.macs(variant)
        for variant in VARIANTS
        if not variant.schedule.startswith('searched')
    }
    for budget in BUDGETS:
        share = macs[f'uniform-{budget}-finetuned'] / macs['dense-at-480-360']
        assert float(budget[:-1]) - 0.02 < share <= float(budget[:-1])


def test_seeds_may_start_from_one_dense_network(tmp_path, monkeypatch):
    trained = []

    def train(cfg, console):
        trained.append((cfg.work_dir, cfg.randomness.seed))
        return tmp_path / 'weights.pth'

    monkeypatch.setattr(module, 'train_with_progress', train)
    own, shared = (StudyRun(1, CONFIGS, tmp_path, tmp_path, dense_seed) for dense_seed in (None, 0))
    for run in (own, shared):
        run.weights('adapted')
    assert trained == [
        (str(tmp_path / 'seed1/dense'), 1),
        (str(tmp_path / 'seed1/adapted'), 1),
        (str(tmp_path / 'seed0/dense'), 0),
        (str(tmp_path / 'seed1/adapted'), 1),
    ]
    repeated = {variant.key for variant in VARIANTS if shared.repeats(variant)}
    assert repeated == {
        'dense-before-further-training',
        'the-same-at-400-300-not-trained-there',
        'the-same-at-320-240-not-trained-there',
    }
    assert not any(own.repeats(variant) for variant in VARIANTS)
    assert not any(
        StudyRun(0, CONFIGS, tmp_path, tmp_path, 0).repeats(variant) for variant in VARIANTS
    )
