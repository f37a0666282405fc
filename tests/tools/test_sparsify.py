"""From a trained Swin detector to a sparse one, and the comparison of both."""

from __future__ import annotations

import json

import pytest
import torch
from mmdet.models.dense_heads import RetinaHead
from mmengine.config import Config

from sparsevit_mm import SparseViT
from sparsevit_mm.apis.configs import load_config, register_framework
from sparsevit_mm.checks.configs import build_model
from sparsevit_mm.models.swin_arch import SwinArch
from sparsevit_mm.profiling import backbone_macs
from sparsevit_mm.pruning.schedule import PruningSchedule
from tests.tools.conftest import call_tool, files_below


@pytest.fixture(scope='module')
def trained(tiny, tmp_path_factory):
    """A Swin detector's checkpoint, of random weights."""
    cfg = load_config(str(tiny.plain))
    register_framework(cfg)
    torch.manual_seed(0)
    model = build_model(cfg)
    path = tmp_path_factory.mktemp('trained') / 'swin.pth'
    torch.save({'state_dict': model.state_dict()}, path)
    return path


def test_two_columns_and_pictures(tiny, trained, tmp_path, capsys):
    out = tmp_path / 'out'
    call_tool(
        'sparsify', tiny.plain, trained, '--ratios', '[0.5, 0]', '--out-dir', out,
        '--shape', '64', '96', '--pictures', '1',
    )  # fmt: skip
    said = capsys.readouterr().out
    assert 'coco/bbox_mAP' in said
    assert 'backbone GMACs, counted' in said
    names = {path.split('/')[-1] for path in files_below(out)}
    assert {'plain_sparse.py', 'plain_sparse.pth', 'plain_comparison.json'} <= names
    assert any(name.endswith('-windows.png') for name in names)
    report = json.loads((out / 'plain_comparison.json').read_text())
    assert report['sparse']['macs'] < report['dense']['macs']
    assert report['sparse']['ratios'][0] == [0.5, 0.5]
    assert set(report['sparse']['metrics']) == set(report['dense']['metrics'])
    cfg = Config.fromfile(out / 'plain_sparse.py')
    assert cfg.model.backbone.type == 'sparsevit_mm.SparseViT'
    weights = torch.load(out / 'plain_sparse.pth', weights_only=True)['state_dict']
    missing = build_model(cfg).load_state_dict(weights, strict=False).missing_keys
    assert missing == []


def test_a_fastervit_skips_windows_with_the_weights_it_has(tiny, tmp_path, capsys):
    config = tmp_path / 'faster.py'
    config.write_text(
        f"""_base_ = {str(tiny.plain)!r}
model = dict(
    backbone=dict(
        _delete_=True, type='sparsevit_mm.FasterViT', dim=4, in_dim=4, depths=(1, 1, 1, 1),
        num_heads=(1, 1, 1, 1), window_size=(2, 2, 2, 2), out_indices=(2, 3)),
    neck=dict(in_channels=[16, 32]))
"""
    )
    cfg = load_config(str(config))
    register_framework(cfg)
    weights = build_model(cfg).state_dict()
    torch.save({'state_dict': weights}, tmp_path / 'faster.pth')
    call_tool(
        'sparsify', config, tmp_path / 'faster.pth', '--ratios', '0.5', '--out-dir', tmp_path,
        '--pictures', '1',
    )  # fmt: skip
    assert 'backbone GMACs, counted' in capsys.readouterr().out
    report = json.loads((tmp_path / 'faster_comparison.json').read_text())
    assert report['sparse']['ratios'] == [[0.0], [0.0], [0.5], [0.5]]
    assert report['sparse']['macs'] < report['dense']['macs']
    backbone = Config.fromfile(tmp_path / 'faster_sparse.py').model.backbone
    assert backbone.type == 'sparsevit_mm.FasterViT'
    assert backbone.pruning_ratios == [[0.0], [0.0], [0.5], [0.5]]


def test_it_measures_what_it_tests_and_says_on_what(tiny, trained, tmp_path, capsys):
    call_tool(
        'sparsify', tiny.plain, trained, '--ratios', '[0.5, 0]', '--out-dir', tmp_path,
        '--pictures', '0',
    )  # fmt: skip
    report = json.loads((tmp_path / 'plain_comparison.json').read_text())
    assert report['shape'] == [60, 84], "the test pipeline's size, padded to multiples of 4"
    backbone = dict(embed_dims=12, depths=(2, 2), num_heads=(1, 2), window_size=4)
    dense = PruningSchedule.dense((2, 2))
    assert report['dense']['macs'] == backbone_macs(SwinArch(**backbone), dense, 60, 84).total
    threads = torch.get_num_threads()
    where = f'1 x 60 x 84, float32, cpu, {threads} threads, torch {torch.__version__}'
    assert report['timed_on'] == where
    assert report['tested_on'].startswith('1 x 60 x 84, float32, ')
    said = capsys.readouterr().out
    for piece in ('1 x 60 x 84', 'float32', 'torch', 'threads'):
        assert piece in said


def test_without_a_test_set_the_pipeline_says_the_size(tiny, trained, tmp_path, capsys):
    flags = ['--ratios', '0.5', '--no-test', '--pictures', '0', '--out-dir', tmp_path]
    nowhere = 'test_dataloader.dataset.data_root=nowhere'
    call_tool('sparsify', tiny.plain, trained, *flags, '--cfg-options', nowhere)
    assert json.loads((tmp_path / 'plain_comparison.json').read_text())['shape'] == [60, 84]
    no_resize = 'test_dataloader.dataset.pipeline=[]'
    with pytest.raises(SystemExit):
        call_tool('sparsify', tiny.plain, trained, *flags, '--cfg-options', nowhere, no_resize)
    assert 'shape is missing, but must be given' in capsys.readouterr().err


def test_a_latency_is_met_or_refused(tiny, trained, tmp_path, capsys, clock_of_windows):
    flags = ['--no-test', '--pictures', '0', '--shape', '64', '96', '--out-dir', tmp_path / 'out']
    call_tool('sparsify', tiny.plain, trained, '--latency', '0.8x', *flags)
    report = json.loads((tmp_path / 'out' / 'plain_comparison.json').read_text())
    ratios = {ratio for stage in report['sparse']['ratios'] for ratio in stage}
    assert len(ratios) == 1
    assert ratios.pop() == pytest.approx(0.2, abs=0.02)
    with pytest.raises(SystemExit) as end:
        call_tool('sparsify', tiny.plain, trained, '--latency', '0.001x', *flags)
    assert end.value.code == 1
    assert 'reaches' in capsys.readouterr().err


def test_refusals(tiny, trained, tmp_path, capsys):
    config = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'
    with pytest.raises(SystemExit):
        call_tool('sparsify', config, trained, '--ratios', '0.5', '--out-dir', tmp_path / 'out')
    assert 'the backbone is ResNet, but must be a Swin' in capsys.readouterr().err
    with pytest.raises(SystemExit):
        call_tool('sparsify', tiny.plain, 'no.pth', '--ratios', '0.5')
    assert 'no such file' in capsys.readouterr().err
    assert not (tmp_path / 'out').exists()


def test_the_importance_goes_into_the_config(tiny, trained, tmp_path, capsys):
    flags = ['--no-test', '--pictures', '0', '--shape', '64', '96', '--out-dir', tmp_path / 'out']
    schedule = tmp_path / 'schedule.json'
    PruningSchedule(((0.5, 0.5), (0.0, 0.0)), importance='peak').save(schedule)
    config = tmp_path / 'out' / 'plain_sparse.py'
    call_tool('sparsify', tiny.plain, trained, '--schedule', schedule, *flags)
    assert Config.fromfile(config).model.backbone.importance == 'peak'
    call_tool('sparsify', tiny.plain, trained, '--ratios', 0.5, '--importance', 'contrast', *flags)
    assert Config.fromfile(config).model.backbone.importance == 'contrast'


def test_both_columns_in_their_inference_form(tiny, trained, tmp_path):
    for name in ('plain', 'optimized'):
        call_tool(
            'sparsify', tiny.plain, trained, '--ratios', '0.5', '--out-dir', tmp_path / name,
            '--pictures', '0', *(['--optimize', 'bfloat16'] if name == 'optimized' else []),
        )  # fmt: skip
    plain, optimized = (
        json.loads((tmp_path / name / 'plain_comparison.json').read_text())
        for name in ('plain', 'optimized')
    )
    for column in ('dense', 'sparse'):
        assert optimized[column]['macs'] == plain[column]['macs']
        assert optimized[column]['metrics'].keys() == plain[column]['metrics'].keys()
    assert '1 x 60 x 84, bfloat16, cpu' in optimized['tested_on']
    assert ', float32, ' in plain['timed_on']


def test_the_whole_model_is_timed_on_a_test_image(tiny, trained, tmp_path, capsys, monkeypatch):
    """On a clock that a second of the backbone and two of the head move."""
    now, forward, head = [0.0], SparseViT.forward, RetinaHead.predict
    monkeypatch.setattr('time.perf_counter', lambda: now[0])

    def timed(function, seconds):
        def run(self, *args, **kwargs):
            now[0] += seconds(self)
            return function(self, *args, **kwargs)

        return run

    monkeypatch.setattr(SparseViT, 'forward', timed(forward, lambda _: 1.0))
    monkeypatch.setattr(RetinaHead, 'predict', timed(head, lambda _: 2.0))
    flags = ['--ratios', '[0.5, 0]', '--no-test', '--pictures', '0']
    found = {}
    for name, more in dict(
        default=[],
        model=['--of', 'model'],
        backbone=['--of', 'backbone'],
        shape=['--shape', '64', '96'],
    ).items():
        out = tmp_path / name
        call_tool('sparsify', tiny.plain, trained, *flags, *more, '--out-dir', out)
        said = capsys.readouterr().out
        report = json.loads((out / 'plain_comparison.json').read_text())
        found[name] = (report['of'], report['sparse']['latency'])
        assert f'{report["of"]} ms, measured here' in said
        assert said.index('The dial reaches ') < said.index('The same weights')
        saved = report['dense']['macs'] - report['sparse']['macs']
        assert report['dial']['dense'] - report['dial']['now'] == saved
    assert found['default'] == found['model'] == ('model', pytest.approx(3000))
    assert found['backbone'] == found['shape'] == ('backbone', pytest.approx(1000))
    with pytest.raises(SystemExit):
        call_tool(
            'sparsify', tiny.plain, trained, *flags, '--of', 'model', '--shape', '64', '96',
            '--out-dir', tmp_path / 'wrong',
        )  # fmt: skip
    assert "of is 'model', but must be 'backbone' where a shape is given" in capsys.readouterr().err
    assert not (tmp_path / 'wrong').exists()
