"""Hooks inside real mmengine runs."""

from __future__ import annotations

import json
import pickle
import random

import pytest
import torch

from sparsevit_mm import PruningSchedule, SparsityAdaptationHook, WindowPruningHook
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.pruning.schedule import DEFAULT_CHOICES
from sparsevit_mm.visualization import record_kept_windows
from tests.helpers.toy import DEPTHS, ToyModel, toy_runner


def scheduled(value):
    return PruningSchedule.parse(value, DEPTHS)


@pytest.mark.parametrize('source', ['config', 'file'])
def test_pruning_hook_sets_the_schedule_everywhere(source, tmp_path):
    schedule = [[0.5], [0.25]]
    if source == 'file':
        schedule = str(tmp_path / 'schedule.json')
        scheduled([[0.5], [0.25]]).save(schedule)
    hook = dict(type='sparsevit_mm.WindowPruningHook', schedule=schedule)
    for loop in ('train', 'val', 'test'):
        runner = toy_runner(tmp_path / loop, [hook], epochs=1)
        getattr(runner, loop)()
        assert {seen for _, seen in runner.model.schedules} == {scheduled([[0.5], [0.25]])}


def test_pruning_hook_without_schedule_keeps_the_backbones_own(tmp_path):
    model = ToyModel()
    model.backbone.pruning_schedule = 0.4
    runner = toy_runner(tmp_path, [dict(type='sparsevit_mm.WindowPruningHook')], model)
    runner.val()
    assert {seen for _, seen in model.schedules} == {scheduled(0.4)}


def test_kept_shares_reach_the_log(tmp_path):
    hook = dict(
        type='sparsevit_mm.WindowPruningHook', schedule=[[0.5], [0.0]], log_kept=True, interval=2
    )
    runner = toy_runner(tmp_path, [hook], epochs=1)
    runner.train()
    # 60 pixels are 15 x 15 tokens: 3 x 3 windows, of which int(9 * 0.5) = 4 stay.
    (log,) = tmp_path.glob('*/vis_data/scalars.json')
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    shares = [line['kept_windows/stage0'] for line in lines if 'kept_windows/stage0' in line]
    assert shares
    assert shares == pytest.approx([4 / 9] * len(shares))
    history = runner.message_hub.get_scalar('val/kept_windows/stage0')
    assert history.current() == pytest.approx(4 / 9)
    assert runner.message_hub.get_scalar('train/kept_windows/stage1').current() == 1
    assert runner.model.backbone.window_observer is None


def test_shared_budgets_are_logged_with_their_spread(tmp_path):
    model = ToyModel()
    model.backbone.allocation = 'batch'
    hook = dict(type='sparsevit_mm.WindowPruningHook', schedule=[[0.7], [0.0]], log_kept=True)
    runner = toy_runner(tmp_path, [hook], model)
    runner.val()
    shares = []
    with record_kept_windows(model.backbone) as record, torch.no_grad():
        for batch in runner.val_dataloader:
            model.backbone(batch['inputs'])
    for first, second, *_ in record.passes:  # the blocks of stage 0
        for image in range(first.windows.batch_size):
            kept = len(first.kept_in(image)) + len(second.kept_in(image))
            shares.append(kept / (2 * 9))
    images = torch.tensor(shares).double()
    assert images.mean() == pytest.approx(2 / 9)
    assert images.unique().numel() > 1
    hub, name = runner.message_hub, 'val/kept_windows/stage0'
    assert hub.get_scalar(name).current() == pytest.approx(2 / 9)
    for percent in (50, 95, 99):
        expected = images.quantile(percent / 100)
        assert hub.get_scalar(f'{name}_p{percent}').current() == pytest.approx(float(expected))
    assert hub.get_scalar('val/kept_windows/stage1_p99').current() == 1


def test_kept_shares_reach_tensorboard(tmp_path):
    accumulator = pytest.importorskip(
        'tensorboard.backend.event_processing.event_accumulator'
    ).EventAccumulator
    hook = dict(type='sparsevit_mm.WindowPruningHook', schedule=0.5, log_kept=True, interval=1)
    runner = toy_runner(
        tmp_path,
        [hook],
        epochs=1,
        visualizer=dict(type='Visualizer', vis_backends=[dict(type='TensorboardVisBackend')]),
    )
    runner.train()
    events = accumulator(str(next(tmp_path.rglob('events.out.*'))))
    events.Reload()
    values = [event.value for event in events.Scalars('kept_windows/stage0')]
    # Four training iterations and one validation; mmengine drops the `train/` and `val/`.
    assert values == pytest.approx([4 / 9] * 5)


def test_backbone_without_schedule_is_one_sentence(tmp_path):
    class Plain(torch.nn.Module):
        def forward(self, inputs):
            return (inputs.mean((2, 3), keepdim=True).repeat(1, 6, 1, 1)[:, :16],)

    runner = toy_runner(tmp_path, [WindowPruningHook(0.5)], ToyModel(Plain()))
    with pytest.raises(ConfigError, match='the backbone Plain has no pruning schedule') as error:
        runner.train()
    assert '\n' not in str(error.value)


def test_schedule_that_does_not_fit_is_an_error(tmp_path):
    runner = toy_runner(tmp_path, [WindowPruningHook([0.1, 0.2, 0.3])])
    with pytest.raises(ConfigError, match='pruning_ratios is'):
        runner.val()
    with pytest.raises(ConfigError, match='cannot be read'):
        WindowPruningHook(str(tmp_path / 'missing.json'))


def test_adaptation_draws_for_training_and_restores_for_validation(tmp_path):
    hooks = [WindowPruningHook([[0.3], [0.3]]), SparsityAdaptationHook(begin=3, seed=5)]
    runner = toy_runner(tmp_path, hooks, epochs=3)
    runner.train()
    trained = [seen for mode, seen in runner.model.schedules if mode == 'loss']
    evaluated = {seen for mode, seen in runner.model.schedules if mode == 'predict'}
    own = scheduled([[0.3], [0.3]])
    assert trained[:3] == [own] * 3
    drawn = [SparsityAdaptationHook(seed=5).draw(iteration, DEPTHS) for iteration in range(3, 12)]
    assert trained[3:] == drawn
    assert len(set(drawn)) > 4
    assert evaluated == {own}
    assert runner.model.backbone.pruning_schedule == own
    assert runner.message_hub.get_scalar('train/pruning_ratio').current() > 0


def test_resumed_adaptation_goes_on_with_the_same_draws(tmp_path):
    whole = toy_runner(tmp_path / 'whole', [SparsityAdaptationHook()], epochs=3)
    whole.train()
    first = toy_runner(tmp_path / 'parts', [SparsityAdaptationHook()], epochs=2)
    first.train()
    second = toy_runner(
        tmp_path / 'parts',
        [SparsityAdaptationHook()],
        epochs=3,
        resume=True,
        load_from=str(tmp_path / 'parts' / 'epoch_2.pth'),
    )
    second.train()
    drawn = [
        [seen for mode, seen in runner.model.schedules if mode == 'loss']
        for runner in (whole, first, second)
    ]
    assert drawn[0] == drawn[1] + drawn[2]
    for name, weight in whole.model.state_dict().items():
        assert weight.shape == second.model.state_dict()[name].shape


@pytest.mark.parametrize('choices', [[], [0.5, 1.0], [-0.1]])
def test_adaptation_refuses_wrong_choices(choices):
    with pytest.raises(ConfigError):
        SparsityAdaptationHook(choices=choices)


class ReadsAttributes:
    def __reduce__(self):
        return getattr, (torch.nn.Linear, '__init__')


def test_other_attributes_are_still_refused(tmp_path):
    path = tmp_path / 'file.pth'
    torch.save(ReadsAttributes(), path)
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=True)


def test_resume_works_with_the_safe_loader(tmp_path):
    """mmengine's checkpoints hold a history buffer and NumPy scalars."""
    toy_runner(tmp_path, epochs=1).train()
    path = tmp_path / 'epoch_1.pth'
    checkpoint = torch.load(path, map_location='cpu', weights_only=True)
    assert checkpoint['message_hub']['log_scalars']
    runner = toy_runner(tmp_path, epochs=2, resume=True, load_from=str(path))
    runner.train()
    assert runner.iter == 8
    assert len([mode for mode, _ in runner.model.schedules if mode == 'loss']) == 4


def test_adaptation_draws_for_pairs_or_blocks():
    depths, iterations = (2, 5), range(40)
    pairs = [SparsityAdaptationHook().draw(i, depths) for i in iterations]
    # The draws of a seed are the same in every version: runs go on with them.
    assert pairs == [
        PruningSchedule.sample(depths, random.Random(f'0/{i}'), DEFAULT_CHOICES) for i in iterations
    ]
    blocks = [SparsityAdaptationHook(per='block').draw(i, depths) for i in iterations]
    assert any(len(set(ratios)) == 5 for _, ratios in (schedule.ratios for schedule in blocks))
    with pytest.raises(ConfigError, match="per is 'stage'"):
        SparsityAdaptationHook(per='stage')


def rank_by(importance, ratios=((0.5, 0.5), (0.0, 0.0))):
    return PruningSchedule(ratios, importance=importance)


class NamesWhatRanks(ToyModel):
    """Notes what every forward ranks by."""

    def __init__(self):
        super().__init__()
        self.ranked_by = set()

    def forward(self, inputs, target, mode='tensor'):
        self.ranked_by.add((mode, self.backbone.importance.name))
        return super().forward(inputs, target, mode)


@pytest.mark.parametrize('given, expected', [(None, 'peak'), ('contrast', 'contrast')])
def test_adaptation_keeps_the_backbones_importance_or_takes_one(given, expected, tmp_path):
    model = NamesWhatRanks()
    model.backbone.importance = 'peak'
    hook = dict(type='sparsevit_mm.SparsityAdaptationHook', importance=given)
    toy_runner(tmp_path / 'train', [hook], model).train()
    assert model.ranked_by == {('loss', expected), ('predict', expected)}
    toy_runner(tmp_path / 'test', [hook], model).test()
    assert model.ranked_by == {('loss', expected), ('predict', expected)}


def test_pruning_hook_ranks_as_its_file_says(tmp_path):
    path = tmp_path / 'schedule.json'
    rank_by('contrast').save(path)
    model = NamesWhatRanks()
    hook = dict(type='sparsevit_mm.WindowPruningHook', schedule=str(path))
    toy_runner(tmp_path, [hook, dict(type='sparsevit_mm.SparsityAdaptationHook')], model).train()
    assert model.ranked_by == {('loss', 'contrast'), ('predict', 'contrast')}


@pytest.mark.parametrize(
    'hook',
    [
        dict(type='sparsevit_mm.WindowPruningHook', schedule=rank_by('contrast')),
        dict(type='sparsevit_mm.SparsityAdaptationHook', importance='contrast'),
    ],
)
def test_another_importance_than_the_config_names_is_one_sentence(hook, tmp_path):
    backbone = dict(type='SparseViT', importance='l2')
    runner = toy_runner(tmp_path, [hook], epochs=1, cfg=dict(model=dict(backbone=backbone)))
    message = (
        "is 'contrast', but must be that of the config, whose model.backbone.importance is 'l2'"
        '.*--cfg-options model.backbone.importance=contrast'
    )
    with pytest.raises(ConfigError, match=message):
        runner.train()


def test_adaptation_refuses_an_unknown_importance():
    with pytest.raises(ConfigError, match="importance is 'largest', but must be one of .*contrast"):
        SparsityAdaptationHook(importance='largest')


def test_the_inference_form_is_for_tests_alone(tmp_path):
    runner = toy_runner(tmp_path, [dict(type='sparsevit_mm.InferenceFormHook')], epochs=1)
    with pytest.raises(ConfigError, match='custom_hooks has an InferenceFormHook, but a model in'):
        runner.train()


def test_adaptation_draws_ratios_of_sparse_heads(tmp_path):
    model = ToyModel()
    model.backbone.head_stages = (True, False)
    hook = dict(
        type='sparsevit_mm.SparsityAdaptationHook', choices=[0.0, 0.5], head_choices=[0.25, 0.75]
    )
    runner = toy_runner(tmp_path, [hook], model, epochs=2)
    runner.train()
    drawn = {schedule.head_ratios for mode, schedule in model.schedules if mode == 'loss'}
    assert drawn == {(0.25, 0.0), (0.75, 0.0)}
    assert model.backbone.pruning_schedule.head_ratios == ()
