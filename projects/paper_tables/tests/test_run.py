"""A table is filled in, resumed and written as the figures that were found."""

from __future__ import annotations

import json

import pytest

from projects.paper_tables import load_table, table_names, timing
from projects.paper_tables.networks import count_parameters
from projects.paper_tables.report import markdown
from projects.paper_tables.results import TableResults
from tests.tools.conftest import ROOT, call_tool

SHIPPED = ROOT / 'projects' / 'paper_tables' / 'results'
ROWS = 'swin-t-672,swin-t-w0.6,sparsevit-cfg2'
QUICK = ['--scale', '0.1', '--batch', '1', '--warmup', '0', '--rows', ROWS]


def run(folder, *flags, table='sparsevit-coco'):
    call_tool('paper_tables', 'run', table, '--out-dir', folder, *flags)
    return json.loads((folder / f'{table}.json').read_text())


def test_coco_table_on_a_cpu(tmp_path, capsys):
    found = run(tmp_path, '--runs', 2, *QUICK)
    assert found['rows']['swin-t-672']['macs'] == pytest.approx(161.6e9, rel=1e-3)
    assert found['rows']['swin-t-672']['params'] == found['rows']['sparsevit-cfg2']['params']
    assert {name: len(runs) for name, runs in found['runs'].items()} == dict.fromkeys(
        ROWS.split(','), 2
    )
    written = (tmp_path / 'sparsevit-coco.md').read_text()
    line = next(line for line in written.splitlines() if line.startswith('| SparseViT cfg2'))
    cells = [cell.strip() for cell in line.split('|')[1:-1]]
    head = [cell.strip() for cell in written.splitlines()[2].split('|')[1:-1]]
    values = dict(zip(head, cells))
    assert values['GMACs, *paper*'] == '116.5'
    assert values['GMACs, *counted*'] == '116.3'
    assert values['box AP, *paper*'] == '41.6'
    dense, own = (sum(found['runs'][row]) / 2 for row in ('swin-t-672', 'sparsevit-cfg2'))
    assert values['time of dense, *measured*'] == f'{own / dense:.2f}×'
    assert written in (shown := capsys.readouterr()).out
    assert 'Counting' in shown.err
    assert 'Timing rounds' in shown.err
    assert (tmp_path / 'sparsevit-coco.png').read_bytes().startswith(b'\x89PNG')


def test_goes_on_where_it_ended(tmp_path, monkeypatch):
    measured = []
    original = timing.measure_latency

    def stop_after_the_first(*args, **kwargs):
        if measured:
            raise KeyboardInterrupt
        measured.append(kwargs['runs'])
        return original(*args, **kwargs)

    monkeypatch.setattr(timing, 'measure_latency', stop_after_the_first)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, '--runs', 7, *QUICK)
    before = json.loads((tmp_path / 'sparsevit-coco.json').read_text())['runs']
    monkeypatch.setattr(timing, 'measure_latency', original)
    after = run(tmp_path, '--runs', 7, *QUICK)['runs']
    assert [len(runs) for runs in before.values()] == [5] * 3
    assert {name: runs[:5] for name, runs in after.items()} == before
    assert [len(runs) for runs in after.values()] == [7] * 3
    # Nothing is left to do, and other conditions begin anew.
    monkeypatch.setattr(timing, 'measure_latency', lambda *args, **kwargs: pytest.fail('timed'))
    assert run(tmp_path, '--runs', 7, *QUICK)['runs'] == after
    monkeypatch.setattr(timing, 'measure_latency', original)
    other = run(tmp_path, '--runs', 1, *QUICK, '--scale', '0.05')['runs']
    assert [len(runs) for runs in other.values()] == [1] * 3


def test_accuracy_says_why_there_is_none(tmp_path):
    weights = tmp_path / 'weights.pth'
    found = run(
        tmp_path, '--what', 'accuracy', '--rows', 'swin-t-672,swin-t-640',
        '--checkpoint', f'swin-t-640={weights}',
    )  # fmt: skip
    assert found['rows']['swin-t-672']['reason'] == 'no weights are given for it'
    assert str(weights) in found['rows']['swin-t-640']['reason']
    assert 'Swin-T, accuracy: no weights are given' in (tmp_path / 'sparsevit-coco.md').read_text()


def test_accuracy_comes_from_the_test_of_the_config(tmp_path, monkeypatch):
    asked = []

    def test(config, checkpoint, **options):
        asked.append((config, checkpoint, options['ratios'], options['cfg_options']))
        return {'coco/bbox_mAP': 0.4321}

    monkeypatch.setattr('sparsevit_mm.apis.test.test', test)
    flags = ['--what', 'accuracy', '--rows', 'random', '--checkpoint', 'random=adapted.pth']
    for _ in range(2):  # the second finds it done
        found = run(tmp_path, *flags, table='ablation-importance')
    ((config, checkpoint, ratios, options),) = asked
    assert config.endswith('mask-rcnn_sparsevit-t_fpn_amp-adaptation-1x_coco-672x672.py')
    assert (checkpoint, ratios) == ('adapted.pth', '[[0.6], [0.0], [0.2, 0.4, 0.5], [0.0]]')
    assert options['model.backbone.importance'] == 'random'
    assert found['rows']['random']['accuracy'] == {'coco/bbox_mAP': 0.4321}
    assert '43.2' in (tmp_path / 'ablation-importance.md').read_text()


IN_CHINESE = {
    'time of dense': '相对稠密的时间',
    'input': '输入',
    'box AP': '框 AP',
    '*paper*': '*论文*',
    '*counted*': '*统计*',
    '*measured*': '*实测*',
    ', ': '，',
    ' to ': ' 至 ',
}


@pytest.mark.parametrize('readme, words', [('README.md', {}), ('README_zh-CN.md', IN_CHINESE)])
def test_the_readme_shows_what_was_measured(readme, words):
    table = load_table('sparsevit-coco')
    results = TableResults.load(SHIPPED / 'sparsevit-coco.json', table.name)
    short = markdown(table, results, table.rows, ['macs', 'ms', 'box_ap'])
    for english, word in words.items():
        short = short.replace(english, word)
    lines = [line for line in short.splitlines() if line.startswith('|')]
    shown = (ROOT / readme).read_text().split('<!-- paper table: sparsevit-coco -->')
    assert shown[1].strip().splitlines() == lines


@pytest.mark.parametrize('name', table_names())
def test_shows_what_was_published_counted_and_is_missing(name, capsys, tmp_path):
    call_tool('paper_tables', 'show', name, '--out-dir', tmp_path)
    out, table = capsys.readouterr().out, load_table(name)
    # Nothing was run into this folder, so that what the project has found is shown.
    written = (SHIPPED / f'{name}.md').read_text()
    assert written == markdown(table, TableResults.load(SHIPPED / f'{name}.json', name), table.rows)
    assert written in out
    assert 'MACs' in written or 'FLOPs' in written
    assert ', *counted*' in written
    for row in table.rows:
        assert (row.command or row.missing or 'counted and timed only') in out
    for text in table.footnotes.values():
        assert text in out


@pytest.mark.parametrize('name', table_names())
def test_the_projects_own_counts_are_those_of_today(name):
    table, results = load_table(name), TableResults.load(SHIPPED / f'{name}.json', name)
    for row in table.rows:
        assert results.of(row.name).params == (count_parameters(row) if row.network else None)


@pytest.mark.parametrize(
    'flags, message',
    [
        (['--what', 'speed'], "what holds 'speed'"),
        (['--runs', '0'], 'runs 0'),
        (['--dtype', 'int8'], "dtype is 'int8'"),
        (['--checkpoint', 'other=x.pth'], 'checkpoint names other'),
    ],
)
def test_refuses(tmp_path, capsys, flags, message):
    with pytest.raises(SystemExit) as end:
        run(tmp_path, *flags)
    assert end.value.code == 1
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_refuses_a_file_that_holds_something_else(tmp_path, capsys):
    (tmp_path / 'sparsevit-coco.json').write_text('[]')
    with pytest.raises(SystemExit):
        run(tmp_path, *QUICK)
    assert 'does not hold the results of a table' in capsys.readouterr().err
