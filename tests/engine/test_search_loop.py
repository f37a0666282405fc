"""The search loop inside mmengine's runner, on a toy task whose best schedule is known."""

from __future__ import annotations

import itertools
import json
from typing import ClassVar

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.dataset import BaseDataset
from mmengine.evaluator import BaseMetric
from mmengine.registry import DATASETS, METRICS, MODELS, TRANSFORMS
from mmengine.runner import Runner

from sparsevit_mm import PruningSchedule
from sparsevit_mm.engine.schedule_evaluator import ScheduleEvaluator
from sparsevit_mm.engine.search_cost import now_and_then
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.profiling.macs import backbone_macs
from sparsevit_mm.pruning.allocation import Allocation
from sparsevit_mm.search.latency_table import LatencyTable
from sparsevit_mm.search.settings import SearchSettings
from tests.helpers.killed import killed_at
from tests.helpers.toy import DEPTHS, ToyModel

_RUNS = itertools.count()


@DATASETS.register_module(force=True)
class SearchToyData(BaseDataset):
    """Twenty noise images with names."""

    def load_data_list(self):
        return [dict(img_path=f'{self.data_root}/{n}.png', number=n) for n in range(20)]

    def __getitem__(self, index):
        info = self.get_data_info(index)
        generator = torch.Generator().manual_seed(info['number'])
        image = torch.randn(3, 60, 84, generator=generator)
        return dict(inputs=image, target=image.mean() + info['number'])


@TRANSFORMS.register_module(force=True)
class SearchToyLoadAnnotations:
    """The data come with their targets."""

    def __call__(self, results):
        return results


@METRICS.register_module(force=True)
class SearchToyMetric(BaseMetric):
    """How near the schedule is to a wanted one, and what was looked at."""

    default_prefix = 'toy'
    seen: ClassVar[list[float]] = []

    def process(self, data_batch, data_samples):
        self.seen += [float(target) for target in data_batch['target']]
        self.results += [float(value) for value in data_samples[0]]

    def compute_metrics(self, results):
        return dict(mean=sum(results) / len(results), images=len(results), name='text')


@MODELS.register_module(force=True)
class SearchToyModel(ToyModel):
    """Predicts how near its schedule is to [[0.2], [0.6]]."""

    def forward(self, inputs, target, mode='tensor'):
        if mode == 'loss':
            return super().forward(inputs, target, mode)
        super().forward(inputs, target, mode)
        (first, _), (second, _) = self.backbone.pruning_schedule.ratios
        return [torch.full((len(inputs),), 1 - (first - 0.2) ** 2 - (second - 0.6) ** 2)]


def toy_config(work_dir, **settings):
    pipeline = [dict(type='SearchToyLoadAnnotations')]
    loader = dict(
        batch_size=4,
        dataset=dict(type='SearchToyData', data_root='nowhere', pipeline=pipeline),
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='default_collate'),
    )
    defaults = dict(
        metric='toy/mean',
        budget=dict(macs='0.7x'),
        split=dict(share=0.5),
        evolution=dict(population=10, parents=4, max_evaluations=40),
    )
    return Config(
        dict(
            model=dict(type='SearchToyModel'),
            work_dir=str(work_dir),
            train_dataloader=loader,
            val_dataloader=loader,
            test_dataloader=dict(dataset='never built'),
            train_cfg=dict(by_epoch=True, max_epochs=1),
            val_cfg=dict(),
            test_cfg=dict(type='sparsevit_mm.ScheduleSearchLoop', **{**defaults, **settings}),
            val_evaluator=dict(type='SearchToyMetric'),
            test_evaluator=dict(type='never built'),
            optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-3)),
            default_scope='mmengine',
            experiment_name=f'search{next(_RUNS)}',
            log_level='WARNING',
        )
    )


def search(work_dir, **settings):
    metrics = Runner.from_cfg(toy_config(work_dir, **settings)).test()
    return metrics, json.loads((work_dir / 'schedule.json').read_text())


def candidates(work_dir):
    return [json.loads(line) for line in (work_dir / 'candidates.jsonl').read_text().splitlines()]


def without_times(value):
    """A result without what a clock said."""
    if isinstance(value, dict):
        return {k: without_times(v) for k, v in value.items() if k not in ('times', 'seconds')}
    return value


@pytest.mark.parametrize('of, head', [('backbone', 0), ('model', 16)])
def test_finds_the_best_schedule_and_tells_all_about_it(tmp_path, of, head):
    SearchToyMetric.seen.clear()
    budget = dict(macs='0.7x', of=of)
    metrics, result = search(tmp_path, random_evaluations=12, budget=budget)
    assert result['ratios'] == [[0.2, 0.2], [0.6, 0.6]]
    assert metrics['toy/mean'] == pytest.approx(1)
    assert result['metric'] == {'key': 'toy/mean', 'value': metrics['toy/mean']}
    # The held-out half alone, in the order of the split, the same for every schedule.
    split = result['settings']['split']
    assert metrics['toy/images'] == split['found'] == len(set(SearchToyMetric.seen)) < 20
    # Counted, predicted and measured cost are one number.
    backbone = ToyModel().backbone
    schedule = PruningSchedule.load(tmp_path / 'schedule.json')
    counted = backbone_macs(backbone.arch, schedule, 60, 84).total + head
    assert result['cost']['predicted'] == result['cost']['measured'] == counted
    assert counted <= 0.7 * result['cost']['dense']
    assert list(result['rows']) == ['dense', 'uniform within the budget', 'random', 'evolution']
    assert result['ending']['random']['evaluations'] == 12
    log = candidates(tmp_path)
    schedules = [tuple(map(tuple, line['schedule'])) for line in log]
    assert len(set(schedules)) == len(schedules)
    assert {line['origin'] for line in log} >= {'dense', 'uniform', 'random', 'mutation'}
    assert (tmp_path / 'metric_over_cost.png').stat().st_size > 0
    assert (tmp_path / 'ratios.png').stat().st_size > 0


def test_interrupted_search_goes_on_to_the_same_files(tmp_path, monkeypatch):
    search(tmp_path / 'whole', random_evaluations=12)
    measure, calls = ScheduleEvaluator.measure, []

    def interrupted(self, schedule):
        calls.append(schedule)
        if len(calls) == 23:
            raise KeyboardInterrupt
        return measure(self, schedule)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(ScheduleEvaluator, 'measure', interrupted)
        search(tmp_path / 'parts', random_evaluations=12)
    log = tmp_path / 'parts' / 'candidates.jsonl'
    assert len(candidates(tmp_path / 'parts')) == 22
    log.write_text(log.read_text()[:-9])  # killed while it wrote the last line

    whole, parts = tmp_path / 'whole', tmp_path / 'parts'
    with pytest.raises(ConfigError, match='holds a search already'):
        search(parts, random_evaluations=12)
    search(parts, random_evaluations=12, resume=True)
    assert without_times(json.loads((parts / 'schedule.json').read_text())) == without_times(
        json.loads((whole / 'schedule.json').read_text())
    )
    assert list(map(without_times, candidates(parts))) == list(
        map(without_times, candidates(whole))
    )


def test_resumed_search_evaluates_nothing_twice_and_may_go_further(tmp_path, monkeypatch):
    numbers = dict(population=10, parents=4)
    search(tmp_path, evolution=dict(max_evaluations=15, **numbers))
    before, calls = candidates(tmp_path), []
    measure = ScheduleEvaluator.measure

    def spy(self, schedule):
        calls.append(schedule)
        return measure(self, schedule)

    monkeypatch.setattr(ScheduleEvaluator, 'measure', spy)
    search(tmp_path, evolution=dict(max_evaluations=15, **numbers), resume=True)
    assert not calls
    search(tmp_path, evolution=dict(max_evaluations=25, **numbers), resume=True)
    assert len(candidates(tmp_path)) == len(before) + len(calls)
    assert candidates(tmp_path)[: len(before)] == before
    with pytest.raises(ConfigError, match='cannot be resumed: its evolution is'):
        search(tmp_path, evolution=dict(seed=3, **numbers), resume=True)


def test_latency_budget_measures_a_table_once(tmp_path, monkeypatch):
    budget = dict(latency='5x', runs=2)
    few = dict(evolution=dict(population=4, parents=2, max_evaluations=6), uniform=False)
    _, result = search(tmp_path / 'one', budget=budget, **few)
    table = json.loads((tmp_path / 'one' / 'latency_table.json').read_text())
    assert table['check']['text'].startswith('50 schedules')
    assert result['cost']['unit'] == 'ms'
    assert result['times']['milliseconds']['evolution']['median'] > 0
    again = tmp_path / 'one' / 'latency_table.json'
    monkeypatch.setattr(
        'sparsevit_mm.search.measure.BackboneBench.measure_table',
        lambda *args, **kwargs: pytest.fail('measured again'),
    )
    _, second = search(tmp_path / 'two', budget={**budget, 'table': str(again)}, **few)
    assert second['cost'] == result['cost']
    with pytest.raises(ConfigError, match='its batch is 1 instead of 2'):
        search(tmp_path / 'three', budget={**budget, 'batch': 2, 'table': str(again)}, **few)


def test_measuring_a_table_says_how_far_it_is(monkeypatch):
    said = []
    now = iter((0.0, 20.0, 40.0, 50.0))
    monkeypatch.setattr('time.monotonic', lambda: next(now))
    tell = now_and_then(said.append)
    for done in (1, 2, 3):
        tell(done, 11)
    assert said == ['latency table: 2 of 11 runs, about 3 minutes left']


def test_half_a_latency_table_is_measured_again(tmp_path):
    budget = dict(latency='5x', runs=2)
    few = dict(evolution=dict(population=4, parents=2, max_evaluations=6), uniform=False)
    table = tmp_path / 'latency_table.json'
    table.write_text('{"format": "sparsevit_mm.LatencyTable", "conditions": {"dev')
    with pytest.raises(ConfigError, match='the latency table .* cannot be read'):
        search(tmp_path / 'other', budget={**budget, 'table': str(table)}, **few)
    search(tmp_path, budget=budget, **few)
    assert json.loads(table.read_text())['blocks']


def test_a_second_search_in_the_same_folder_is_refused(tmp_path):
    """While the first runs, the second is refused; nothing of two searches is mixed."""

    def second():
        with pytest.raises(ConfigError, match='is in use by the process'):
            search(tmp_path, resume=True)

    loop = Runner.from_cfg(toy_config(tmp_path)).test_loop
    refused = []

    def start_second(*_):
        if not refused:
            refused.append(not killed_at(10**9, tmp_path, second))

    loop.progress = start_second
    loop.runner.test()
    assert refused == [True]
    assert not (tmp_path / 'search.lock').exists()


@pytest.mark.parametrize('changed', ['checkpoint', 'data', 'metric'])
def test_a_search_goes_on_with_the_same_checkpoint_config_and_data_alone(tmp_path, changed):
    torch.save({'state_dict': SearchToyModel().state_dict()}, tmp_path / 'a.pth')
    settings = dict(evolution=dict(population=4, parents=2, max_evaluations=4), uniform=False)

    def once(**more):
        cfg = toy_config(tmp_path / 'work', **settings, **more)
        cfg.load_from = str(tmp_path / 'a.pth')
        Runner.from_cfg(cfg).test()

    once()
    once(resume=True)
    words = {'checkpoint': 'its checkpoint is', 'data': 'its split is', 'metric': 'its network is'}
    with pytest.MonkeyPatch.context() as patch:
        if changed == 'checkpoint':
            torch.manual_seed(5)
            torch.save({'state_dict': SearchToyModel().state_dict()}, tmp_path / 'a.pth')
        if changed == 'data':
            load = SearchToyData.load_data_list
            patch.setattr(
                SearchToyData,
                'load_data_list',
                lambda self: [{**info, 'label': 7} for info in load(self)],
            )
        with pytest.raises(ConfigError, match=f'cannot be resumed: {words[changed]}'):
            if changed == 'metric':
                cfg = toy_config(tmp_path / 'work', resume=True, **settings)
                cfg.load_from = str(tmp_path / 'a.pth')
                cfg.val_evaluator.collect_device = 'gpu'
                Runner.from_cfg(cfg).test()
            else:
                once(resume=True)


def test_a_loss_counts_if_asked_for(tmp_path):
    metrics, result = search(
        tmp_path, metric='loss', evolution=dict(population=4, parents=2, max_evaluations=6)
    )
    values = [
        line['metrics']['loss'] for line in candidates(tmp_path) if line['generation'] is not None
    ]
    assert result['metric']['value'] == metrics['loss'] == min(values)
    assert result['settings']['less_is_better']


def test_the_file_names_the_allocation_that_schedules_were_tried_with(tmp_path):
    few = dict(population=4, parents=2, max_evaluations=4)
    for allocation in ('image', 'batch'):
        runner = Runner.from_cfg(toy_config(tmp_path / allocation, evolution=few))
        runner.model.backbone.allocation = allocation
        runner.test()
        found = PruningSchedule.load(tmp_path / allocation / 'schedule.json').allocation
        assert found == (None if allocation == 'image' else Allocation(None))


def test_validation_set_and_blocks_if_asked_for(tmp_path):
    few = dict(population=4, parents=2, max_evaluations=9)
    metrics, _ = search(tmp_path, split=dict(part='val'), per='block', evolution=few)
    assert metrics['toy/images'] == 20
    assert any(len(set(stage)) > 1 for line in candidates(tmp_path) for stage in line['schedule'])


@pytest.mark.parametrize(
    'settings, message',
    [
        (
            dict(metric='toy/mIoU'),
            "metric is 'toy/mIoU', but must be one of toy/images, toy/mean",
        ),
        (dict(metric='loss_cls'), "metric is 'loss_cls', but must be one of loss.$"),
        (dict(metric=''), 'metric is missing'),
        (dict(budget=dict(macs='0.01x')), 'cannot be met: .* cost .* to'),
        (dict(budget=dict(macs='2x..3x')), 'cannot be met'),
        (dict(budget=dict(macs='fast')), "macs is 'fast'"),
        (dict(budget={}), 'exactly one of them must be given'),
        (dict(budget=dict(macs='1x', latency='1x')), 'exactly one of them must be given'),
        (dict(budget=dict(flops='1x')), 'budget.flops is no setting of the search'),
        (
            dict(budget=dict(macs='1x', of='head')),
            "budget.of is 'head', but must be 'model' or 'backbone'",
        ),
        (
            dict(budget=dict(macs='1x', shape=(64, 64))),
            r'budget.shape is 64 x 64, but must be a size that .* \(60 x 84\), or budget.of must',
        ),
        (dict(evolution=dict(parents=0)), 'parents is 0'),
        (dict(split=dict(share=1e-9)), 'none of the 20 images falls into the held-out part'),
        (dict(choices=[1.5]), r'choices is \[1.5\]'),
        (dict(color='red'), 'color is no setting of the search'),
    ],
)
def test_wrong_settings_are_one_sentence_and_keep_nothing(tmp_path, settings, message):
    with pytest.raises(ConfigError, match=message) as error:
        search(tmp_path, **settings)
    assert '\n' not in str(error.value)
    assert not [path for path in tmp_path.glob('*') if path.suffix in ('.json', '.jsonl', '.png')]


def test_settings_are_read_from_a_config():
    settings = SearchSettings.read(
        dict(
            type='sparsevit_mm.ScheduleSearchLoop',
            metric='loss',
            budget=dict(latency='35ms', shape=[64, 96]),
            choices=[0, 0.5],
            split=dict(images=5),
        )
    )
    assert settings.budget.shape == (64, 96)
    assert settings.choices == (0, 0.5)
    assert settings.split.images == 5
    assert settings.objective.less_is_better
    assert DEPTHS == (2, 2)


@MODELS.register_module(force=True)
class SearchToyModelByContrast(SearchToyModel):
    """Is better by contrast."""

    def forward(self, inputs, target, mode='tensor'):
        (found,) = super().forward(inputs, target, mode)
        return [found - 0.1 * (self.backbone.importance.name != 'contrast')]


def test_an_importance_is_searched_recorded_and_resumed(tmp_path):
    model = dict(type='SearchToyModelByContrast')
    settings = dict(importances=['l2', 'contrast'], evolution=dict(population=20, parents=5))

    def run(**more):
        cfg = toy_config(tmp_path, **settings, **more)
        cfg.model = model
        Runner.from_cfg(cfg).test()
        return json.loads((tmp_path / 'schedule.json').read_text())

    result = run()
    assert result['importance'] == 'contrast'
    assert PruningSchedule.load(tmp_path / 'schedule.json').importance == 'contrast'
    assert {line.get('importance') for line in candidates(tmp_path)} == {None, 'l2', 'contrast'}
    assert 'importance' not in result['rows']['dense']
    again, lines = run(resume=True), len(candidates(tmp_path))
    assert again['ratios'] == result['ratios']
    assert len(candidates(tmp_path)) == lines
    settings['importances'] = ['l2']
    with pytest.raises(ConfigError, match='cannot be resumed: its importances is'):
        run(resume=True)


def test_by_default_the_file_names_what_the_backbone_ranks_by(tmp_path):
    _, result = search(tmp_path, evolution=dict(population=4, parents=2, max_evaluations=4))
    assert result['importance'] == 'l2'
    assert not any('importance' in line for line in candidates(tmp_path))


def test_an_unknown_importance_of_a_search_is_one_sentence(tmp_path):
    with pytest.raises(ConfigError, match="importance is 'largest', but must be one of .*contrast"):
        SearchSettings.read(dict(metric='a', budget=dict(macs='1x'), importances=['largest']))


@DATASETS.register_module(force=True)
class SearchToyResizedData(SearchToyData):
    """The images at the size that the pipeline's Resize names."""

    def __getitem__(self, index):
        item = super().__getitem__(index)
        width, height = self.pipeline.transforms[-1].scale
        image = torch.nn.functional.interpolate(item['inputs'][None], (height, width))[0]
        return {**item, 'inputs': image}


@MODELS.register_module(force=True)
class SearchToyModelWithProposals(SearchToyModel):
    """Is best at images of 48 rows and with 20 proposals; each proposal is a product in a head."""

    def __init__(self):
        super().__init__()
        self.rpn_head = torch.nn.Linear(16, 5)
        self.rpn_head.test_cfg = ConfigDict(max_per_img=50)

    def forward(self, inputs, target, mode='tensor'):
        (found,) = super().forward(inputs, target, mode)
        proposals = self.rpn_head.test_cfg.max_per_img
        self.rpn_head(torch.zeros(len(inputs), proposals, 16))
        return [found - (inputs.shape[2] - 48) ** 2 / 1e3 - abs(proposals - 20) / 100]


def resized_config(work_dir, **settings):
    cfg = toy_config(work_dir, **{**dict(scales=[0.6, 0.8, 1.0], proposals=[10, 20]), **settings})
    cfg.model = dict(type='SearchToyModelWithProposals')
    resize = dict(type='mmcv.Resize', scale=(84, 60), keep_ratio=False)
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.dataset.update(type='SearchToyResizedData')
        loader.dataset.pipeline = [*loader.dataset.pipeline, resize]
    return cfg


def resized_search(work_dir, **settings):
    Runner.from_cfg(resized_config(work_dir, **settings)).test()
    return json.loads((work_dir / 'schedule.json').read_text())


@pytest.mark.parametrize('of, outside', [('backbone', 0), ('model', 16 + 20 * 16 * 5)])
def test_a_scale_and_proposals_are_searched_recorded_and_resumed(tmp_path, of, outside):
    settings = dict(
        budget=dict(macs='0.8x', of=of),
        evolution=dict(population=30, parents=8, max_evaluations=120),
        choices=[0.2, 0.6],
        random_evaluations=10,
    )
    result = resized_search(tmp_path, **settings)
    found = PruningSchedule.load(tmp_path / 'schedule.json')
    assert found == PruningSchedule(
        ((0.2, 0.2), (0.6, 0.6)), importance='l2', scale=0.8, proposals=20
    )
    counted = backbone_macs(ToyModel().backbone.arch, found, 48, 67).total + outside
    assert result['cost']['predicted'] == result['cost']['measured'] == counted
    # The baselines choose among the same, the dense network is that of the config.
    rows = result['rows']
    assert 'scale' not in rows['dense'] and 'proposals' not in rows['dense']
    lines = candidates(tmp_path)
    for origin in ('uniform', 'random'):
        of_origin = [line for line in lines if line['origin'] == origin]
        assert {line.get('scale', 1.0) for line in of_origin} == {0.6, 0.8, 1.0}
        assert {line['proposals'] for line in of_origin} == {10, 20}
    again = resized_search(tmp_path, resume=True, **settings)
    assert without_times(again) == without_times(result)
    assert candidates(tmp_path) == lines
    with pytest.raises(ConfigError, match='cannot be resumed: its scales is'):
        resized_search(tmp_path, resume=True, scales=[0.8, 1.0], **settings)
    with pytest.raises(ConfigError, match='cannot be resumed: its proposals is'):
        resized_search(tmp_path, resume=True, proposals=[20], **settings)


def test_one_latency_table_prices_every_scale_and_number_of_proposals(tmp_path):
    few = dict(evolution=dict(population=4, parents=2, max_evaluations=6), uniform=False)
    settings = dict(budget=dict(latency='9x', runs=2), **few)
    resized_search(tmp_path / 'one', scales=[0.8, 1.0], **settings)
    table = LatencyTable.load(tmp_path / 'one' / 'latency_table.json')
    assert set(table.scaled) == {0.8}
    assert set(table.proposals) == set(table.scaled[0.8].proposals) == {10, 20}
    conditions = table.scaled[0.8].conditions
    assert (conditions.height, conditions.width, conditions.scale) == (48, 67, 0.8)
    named = dict(latency='9x', runs=2, table=str(tmp_path / 'one' / 'latency_table.json'))
    resized_search(tmp_path / 'two', scales=[0.8, 1.0], **{**settings, 'budget': named})
    with pytest.raises(ConfigError, match=r'is not for this run: it lacks the input scale 0\.6'):
        resized_search(tmp_path / 'three', **{**settings, 'budget': named})
    with pytest.raises(ConfigError, match='is not for this run: it lacks 30 proposals'):
        resized_search(
            tmp_path / 'four', scales=[0.8], proposals=[30], **{**settings, 'budget': named}
        )


@pytest.mark.parametrize(
    'settings, message',
    [
        (dict(scales=[0.0]), 'the input scale is 0.0, but must be above 0'),
        (dict(scales=[]), 'scales is empty'),
        (dict(proposals=[0]), 'proposals is 0, but must be a positive whole number'),
        (dict(proposals=[2.5]), 'proposals is 2.5, but must be'),
        (dict(scales=[0.8]), 'the input scale is 0.8, but must be 1: no step of .* is a Resize'),
        (dict(proposals=[9]), 'proposals is 9, but must be left out: the model SearchToyModel has'),
    ],
)
def test_scales_and_proposals_that_cannot_be_are_one_sentence(tmp_path, settings, message):
    with pytest.raises(ConfigError, match=message) as error:
        search(tmp_path, **settings)
    assert '\n' not in str(error.value)
    assert not list(tmp_path.glob('*.json*'))
