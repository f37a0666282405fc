"""tools/get_flops.py: the backbone counted dense and pruned, and the whole model."""

from __future__ import annotations

import json

import pytest

from sparsevit_mm import PruningSchedule
from sparsevit_mm.apis.configs import load_config, register_framework
from sparsevit_mm.checks.configs import build_model
from sparsevit_mm.models.swin_arch import SwinArch
from sparsevit_mm.profiling import backbone_macs
from sparsevit_mm.profiling.cost_report import count_dial
from tests.helpers.tiny_data import DEPTHS
from tests.tools.conftest import ROOT, call_tool, run_tool

ARCH = SwinArch(embed_dims=12, depths=DEPTHS, num_heads=(1, 2), window_size=4)


def test_table_and_json_of_a_detector(tiny, tmp_path):
    out = tmp_path / 'cost.json'
    run = run_tool(
        'get_flops', tiny.detector, '--shape', 64, 96, '--batch', 2, '--ratios', '0.5', '--out', out
    )
    assert run.code == 0, run.stderr
    assert '48 of 96' not in run.stdout  # 16 x 24 tokens make 4 x 6 windows
    assert '12 of 24' in run.stdout
    report = json.loads(out.read_text())
    counted = backbone_macs(ARCH, PruningSchedule.parse(0.5, DEPTHS), 64, 96, batch=2).total
    dense = backbone_macs(ARCH, PruningSchedule.dense(DEPTHS), 64, 96, batch=2).total
    assert report['backbone']['macs'] == report['parts']['backbone'] == counted
    assert report['backbone']['dense_macs'] == dense > counted
    assert report['backbone']['ratios'] == [[0.5, 0.5], [0.5, 0.5]]
    assert set(report['parts']) == {'backbone', 'neck', 'bbox_head'}
    assert report['macs'] == sum(report['parts'].values())
    assert report['parameters'] == sum(report['part_parameters'].values())


def test_segmentor_and_schedule_file(tiny, tmp_path, capsys):
    schedule, out = tmp_path / 'schedule.json', tmp_path / 'cost.json'
    PruningSchedule.parse([[0.25], [0.75]], DEPTHS).save(schedule)
    call_tool('get_flops', tiny.segmentor, '--shape', 64, 96, '--schedule', schedule, '--out', out)
    assert json.loads(out.read_text())['backbone']['ratios'] == [[0.25, 0.25], [0.75, 0.75]]
    assert '18 of 24' in capsys.readouterr().out


def test_backbone_without_schedule(tiny, capsys):
    call_tool('get_flops', tiny.plain, '--shape', 64, 96)
    table = capsys.readouterr().out
    assert 'dense' not in table
    assert 'backbone' in table


def test_rows_of_table_2(capsys, tmp_path):
    """The shipped cfg2 counts the paper's 116.3 G for four images (116.5 printed)."""
    config = ROOT / 'configs/sparsevit/coco'
    config /= 'mask-rcnn_sparsevit-t-cfg2_fpn_amp-finetune-3x_coco-672x672.py'
    call_tool('get_flops', config, '--shape', 672, 672, '--out', tmp_path / 'cost.json')
    report = json.loads((tmp_path / 'cost.json').read_text())
    assert report['backbone']['macs'] * 4 / 1e9 == pytest.approx(116.3, abs=0.05)
    assert '29.08' in capsys.readouterr().out


def test_the_first_line_says_which_share_of_the_model_the_dial_reaches(tiny, tmp_path, capsys):
    dense_file, half_file = tmp_path / 'dense.json', tmp_path / 'half.json'
    call_tool('get_flops', tiny.detector, '--shape', 64, 96, '--ratios', 0, '--out', dense_file)
    dense_line = capsys.readouterr().out.splitlines()[0]
    call_tool('get_flops', tiny.detector, '--shape', 64, 96, '--ratios', 0.5, '--out', half_file)
    half_line = capsys.readouterr().out.splitlines()[0]
    dense, half = (json.loads(path.read_text()) for path in (dense_file, half_file))
    # Half of the windows less is half of what the dial reaches.
    windows, total = 2 * (dense['macs'] - half['macs']), dense['macs']
    assert half['dial'] == {'dense': total, 'windows': windows, 'now': half['macs']}
    share = f'{windows / total:.1%}'
    assert dense_line == (
        f'The dial reaches {share} of this model: {windows / 1e9:.4g} of {total / 1e9:.4g} GMACs '
        'are computed in windows.'
    )
    saved = f'{windows / 2e9:.4g} GMACs, {windows / 2 / total:.1%}'
    assert half_line == f'{dense_line} Its ratios save {saved}.'


def test_the_size_comes_from_the_test_pipeline(tiny, tmp_path):
    for name, shape in (('given', ['--shape', 60, 84]), ('own', [])):
        call_tool('get_flops', tiny.detector, *shape, '--out', tmp_path / f'{name}.json')
    given, own = (json.loads((tmp_path / f'{name}.json').read_text()) for name in ('given', 'own'))
    assert own == given


def test_a_model_that_does_not_run_on_noise_has_no_share(tiny):
    cfg = load_config(str(tiny.detector))
    register_framework(cfg)
    model = build_model(cfg)
    assert count_dial(model, cfg, 64, 96).windows > 0
    model.forward = None
    assert count_dial(model, cfg, 64, 96) is None
    cfg.default_scope = 'mmpretrain'
    assert count_dial(model, cfg, 64, 96) is None
