"""The whole pipeline demo, tiny: interrupted, resumed, and repeated."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from projects.street_scenes import pipeline_demo as module
from projects.street_scenes.dataset import DemoSettings
from projects.street_scenes.pipeline_demo import CONFIGS, PipelineDemo, run_pipeline_demo
from sparsevit_mm.engine.schedule_evaluator import ScheduleEvaluator
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.profiling.latency import Latency
from sparsevit_mm.pruning.schedule import PruningSchedule

FOLDER = Path(__file__).parents[3] / 'projects/street_scenes/configs'
TINY = {
    'train_cfg.max_iters': 2,
    'train_cfg.val_interval': 2,
    'default_hooks.checkpoint.interval': 1,
    'train_dataloader.num_workers': 0,
    'train_dataloader.persistent_workers': False,
    'val_dataloader.num_workers': 0,
    'val_dataloader.persistent_workers': False,
    'test_dataloader.num_workers': 0,
    'test_dataloader.persistent_workers': False,
}


def tiny_pipeline(folder, **changes):
    settings = dict(
        configs=FOLDER,
        seed=1,
        work_dir=folder / 'run',
        data_root=folder / 'data',
        settings=DemoSettings(training=8, validation=1, width=128, height=64, seed=1),
        cfg_options=TINY,
        search_options={
            'evolution': {'max_evaluations': 4, 'population': 3, 'parents': 2},
            'random_evaluations': 4,
        },
    )
    return PipelineDemo(**{**settings, **changes})


@pytest.mark.slow
def test_interrupted_pipeline_goes_on_and_a_finished_one_is_not_repeated(
    tmp_path, monkeypatch, capsys
):
    demo, measure, calls = tiny_pipeline(tmp_path), ScheduleEvaluator.measure, []

    def interrupted(self, schedule):
        calls.append(schedule)
        if len(calls) == 12:
            raise KeyboardInterrupt
        return measure(self, schedule)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(ScheduleEvaluator, 'measure', interrupted)
        run_pipeline_demo(demo)
    log = demo.work_dir / 'search' / 'candidates.jsonl'
    assert len(log.read_text().splitlines()) == 11

    capsys.readouterr()
    run_pipeline_demo(demo)
    said = capsys.readouterr()
    assert 'mmengine' not in said.out + said.err, 'libraries write to their log'
    for row in (
        'uniform 50%, before adaptation', 'uniform 50%, adapted', 'dense',
        'lower resolution at equal cost', 'uniform at equal cost', 'random-searched', 'evolved',
        'evolved + finetuned', 'Milliseconds',
    ):  # fmt: skip
        assert row in said.out
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert len({str(line['schedule']) for line in lines}) == len(lines) > 11
    result = json.loads((demo.work_dir / 'search' / 'schedule.json').read_text())
    assert result['cost']['predicted'] <= 0.6 * result['cost']['dense']
    tuned = PruningSchedule.load(demo.work_dir / 'search' / 'schedule.json')
    assert PruningSchedule.load(demo.work_dir / 'schedules' / 'evolved-+-finetuned.json') == tuned

    def again(*args, **kwargs):
        pytest.fail('done again')

    monkeypatch.setattr(module, 'test', again)
    monkeypatch.setattr(module, 'search', again)
    run_pipeline_demo(demo)
    assert 'evolved + finetuned' in capsys.readouterr().out
    with pytest.raises(ConfigError, match='holds a pipeline demo with other settings'):
        run_pipeline_demo(tiny_pipeline(tmp_path, seed=2))


def test_steps_follow_each_other():
    """Each starts from the last checkpoint of the one before; all keep the same images out."""
    steps = {step: tiny_pipeline(Path('x'), cfg_options={}).config(step) for step in CONFIGS}
    last = {step: f'work_dirs/{Path(CONFIGS[step]).stem}' for step in CONFIGS}
    assert steps['saa'].load_from == f'{last["dense"]}/iter_400.pth'
    assert steps['finetune'].load_from == f'{last["saa"]}/iter_300.pth'
    assert steps['finetune'].custom_hooks[0].schedule == f'{last["search"]}/schedule.json'
    share = steps['search'].test_cfg.split.share
    assert [
        steps[step].train_dataloader.dataset.share for step in ('dense', 'saa', 'finetune')
    ] == [share] * 3
    assert steps['saa'].custom_hooks[0].per == steps['search'].test_cfg.per
    for step, iterations in (('dense', 400), ('saa', 300), ('finetune', 100)):
        cfg = steps[step]
        assert cfg.train_cfg.max_iters == cfg.param_scheduler[-1].end == iterations


def test_folders_that_cannot_be_written(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(ConfigError, match='work_dir is'):
        run_pipeline_demo(tiny_pipeline(tmp_path, work_dir=tmp_path / 'file' / 'run'))


def test_rows_have_the_scale_that_was_searched():
    """Pictures, schedule and held-out metric of a row belong to its input scale."""
    demo = tiny_pipeline(Path('x'), cfg_options={})
    ratios = [[0.5, 0.5]] * 4
    found = {
        'importance': 'l2',
        'rows': {
            'dense': {'schedule': [[0.0, 0.0]] * 4, 'metrics': {'mIoU': 9.0}},
            'random': {'schedule': ratios, 'metrics': {'mIoU': 5.0}},
            'evolution': {'schedule': ratios, 'scale': 0.75, 'metrics': {'mIoU': 7.0}},
        },
    }
    rows = module._rows(demo, found)
    sizes = {row.name: (row.width, row.height, row.scale) for row in rows}
    assert sizes['dense'] == sizes['random-searched'] == (128, 64, 1.0)
    assert sizes['evolved'] == sizes['evolved + finetuned'] == (96, 48, 0.75)
    latencies = [Latency((float(number),)) for number, _ in enumerate(rows)]
    table = module._table(demo, rows, [50.0] * len(rows), latencies, found)
    shown = dict(zip((row.name for row in rows), zip(*(c.cells for c in table.columns[1:]))))
    assert shown['evolved'][0] == '96×48' and shown['evolved'][3] == '7.0'
    assert shown['random-searched'][3] == '5.0' and shown['evolved + finetuned'][3] == ''
    assert [cells[2] for cells in shown.values()] == [f'{n:.1f}' for n, _ in enumerate(rows)]


def test_finetuning_sees_images_of_the_scale_that_was_found():
    cfg = tiny_pipeline(Path('x'), cfg_options={}).config('finetune')
    module._scale_images(cfg, 0.75)
    for loader in (cfg.train_dataloader.dataset.dataset, cfg.test_dataloader.dataset):
        (scale,) = [step.scale for step in loader.pipeline if step.type == 'Resize']
        assert scale == (336, 168)
    assert cfg.input_scale == 0.75
