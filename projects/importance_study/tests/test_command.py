"""The whole command, tiny, on drawn scenes: it reports, and repeats nothing that is done."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from mmengine.registry import init_default_scope
from mmengine.runner import Runner

from projects.importance_study.__main__ import SMOKE_TRAINING, main
from projects.importance_study.plan import DATA_SETS, DATA_VARIABLE, Case, tuned_at
from projects.importance_study.run import StudyRun
from sparsevit_mm.apis.configs import register_framework


def command(folder, *flags):
    where = ('--work-dir', str(folder), '--data', 'drawn_segmentation', '--seeds', '0')
    main(['--smoke', *where, '--weights', 'random', *flags])


def found_macs(run, case):
    return json.loads(run.result_file(case).read_text())['macs']


def test_study_is_made_reported_and_not_made_again(tmp_path, capsys, monkeypatch):
    command(tmp_path, '--steps', 'compare', 'report')
    run = StudyRun(DATA_SETS['drawn_segmentation'], 0, tmp_path, SMOKE_TRAINING)
    run.measure(Case('random', 'change', 0.7))
    weights = f'contrast+batch+heads+{tuned_at(0.5, 0.25)}'
    heads = Case(weights, 'contrast', 0.5, head_ratios=(0.5, 0.5, 0, 0))
    assert run.measure(heads)['macs'] < found_macs(run, Case('random', 'random', 0.0))
    weights = torch.load(run.weights(heads.weights), weights_only=True)
    assert "allocation='batch'" in weights['meta']['cfg']
    assert "type='sparsevit_mm.SparseHeads'" in weights['meta']['cfg']
    assert 'SparsityAdaptationHook' not in weights['meta']['cfg']
    assert re.search(r'head_ratios=\[\s*0.25,\s*0.25,\s*0.0,\s*0.0,', weights['meta']['cfg'])
    alone = torch.load(run.weights(f'contrast+{tuned_at(0.5)}'), weights_only=True)['meta']['cfg']
    assert 'pruning_ratios=0.5' in alone
    assert 'SparsityAdaptationHook' not in alone
    assert 'SparseHeads' not in alone
    assert run.measure(Case('random', 'random', 0.7, form='bfloat16'))['macs'] == found_macs(
        run, Case('random', 'random', 0.7)
    )
    command(tmp_path, '--steps', 'report')
    report = json.loads((tmp_path / 'importances.json').read_text())
    found = report['results']['drawn_segmentation']
    dense, sparse = found['random-random-0-1']['0'], found['random-random-0.7-1']['0']
    assert dense['pixels']['overall'] == dense['objects']['overall'] == 1
    assert 0 < sparse['pixels']['stages'][0] < 0.5
    assert sparse['macs'] < 0.7 * dense['macs']
    assert found['random-change-0.7-1']['0']['macs'] == sparse['macs']

    def again(self):
        raise AssertionError('trained or tested a second time')

    monkeypatch.setattr(Runner, 'train', again)
    monkeypatch.setattr(Runner, 'test', again)
    page = tmp_path / 'page.md'
    page.write_text('<!-- drawn_segmentation -->\n<!-- end -->\n')
    command(tmp_path, '--steps', 'compare', 'report', '--docs', str(page))
    assert json.loads((tmp_path / 'importances.json').read_text()) == report
    assert '| `l2` | not run yet |' in page.read_text()


def test_missing_data_are_one_sentence(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    with pytest.raises(SystemExit):
        main(['--work-dir', str(tmp_path / 'work'), '--data', 'camvid'])
    assert f'{DATA_VARIABLE} is {tmp_path}, but must name a folder that holds camvid.' in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize('name', [name for name, data in DATA_SETS.items() if data.folder])
def test_real_data_are_read(name, tmp_path):
    data = DATA_SETS[name]
    if not data.root(Path()).is_dir():
        pytest.skip(f'{DATA_VARIABLE} names no folder with {data.folder}')
    cfg = StudyRun(data, 0, tmp_path)._config('random')
    register_framework(cfg)
    init_default_scope(cfg.default_scope)
    for loader in (cfg.train_dataloader, cfg.test_dataloader):
        dataset = Runner.build_dataloader({**loader, 'num_workers': 0}).dataset
        assert len(dataset) > 40
        assert dataset[0]['inputs'].shape[0] == 3
