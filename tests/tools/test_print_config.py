"""tools/print_config.py: the whole config, on the terminal and as a file that loads again."""

from __future__ import annotations

import pytest
from mmengine.config import Config

from tests.tools.conftest import ROOT, call_tool

CONFIG = ROOT / 'configs/sparsevit/coco'
CONFIG /= 'mask-rcnn_sparsevit-t-cfg2_fpn_amp-finetune-3x_coco-672x672.py'


@pytest.mark.parametrize('suffix', ['.py', '.json', '.yml'])
def test_prints_and_writes_what_is_inherited(suffix, tmp_path, capsys):
    out = tmp_path / 'folder' / f'whole{suffix}'
    call_tool(
        'print_config', CONFIG, '--out', out, '--cfg-options', 'train_dataloader.batch_size=4'
    )
    text = capsys.readouterr().out
    assert text.splitlines()[-1] == f'config: {out}'
    assert "type='sparsevit_mm.SparseViT'" in text
    assert 'RandomChoiceResize' in text  # from MMDetection
    whole = Config.fromfile(out)
    assert whole.train_dataloader.batch_size == 4
    assert whole.model.neck.in_channels == [96, 192, 384, 768]


def test_unknown_kind_of_file(tmp_path, capsys):
    with pytest.raises(SystemExit):
        call_tool('print_config', CONFIG, '--out', tmp_path / 'config.txt')
    assert 'must end in .py, .json, .yml or .yaml' in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
