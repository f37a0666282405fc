"""The command line of the swap."""

from __future__ import annotations

import pytest
from mmengine.config import Config

from sparsevit_mm.pruning.schedule import PruningSchedule
from tests.tools.conftest import call_tool

RETINANET = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'


def test_writes_a_config_and_says_what_changed(tmp_path, capsys):
    out = tmp_path / 'new.py'
    call_tool('swap_backbone', RETINANET, '--backbone', 'fastervit-0', '--out', out)
    said = capsys.readouterr().out
    assert 'model.neck.in_channels: Channels of the new maps.' in said
    assert said.strip().endswith(str(out))
    assert Config.fromfile(out).model.neck.in_channels == [64, 128, 256, 512]
    # A path as the original, beside which the new file stands.
    call_tool('swap_backbone', out, '--backbone', 'sparsevit-tiny', '--out', tmp_path / 'b.py')
    assert "_base_ = 'new.py'" in (tmp_path / 'b.py').read_text()
    assert Config.fromfile(tmp_path / 'b.py').model.neck.in_channels == [96, 192, 384, 768]


@pytest.mark.parametrize(
    'args, message',
    [
        ((RETINANET, '--backbone', 'vgg'), "backbone is 'vgg'"),
        (('nothing.py', '--backbone', 'sparsevit-tiny'), 'nothing.py does not exist'),
        (
            ('mmdet::ssd/ssd300_coco.py', '--backbone', 'sparsevit-tiny'),
            'cannot be swapped: its heads read',
        ),
        (
            (RETINANET, '--backbone', 'fastervit-0', '--ratios', '[0.5, 0, 0, 0]'),
            'the stage is convolutional',
        ),
    ],
)
def test_refuses_in_a_sentence(args, message, tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        call_tool('swap_backbone', *args, '--out', tmp_path / 'new.py')
    assert end.value.code == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / 'new.py').exists()


def test_the_importance_is_written(tmp_path, capsys):
    schedule = tmp_path / 'schedule.json'
    PruningSchedule(((0.5,) * 2, (0.0,) * 2, (0.2,) * 6, (0.0,) * 2), importance='peak').save(
        schedule
    )
    flags = [RETINANET, '--backbone', 'sparsevit-tiny', '--out', tmp_path / 'new.py']
    call_tool('swap_backbone', *flags, '--ratios', '0.5', '--importance', 'contrast')
    assert Config.fromfile(tmp_path / 'new.py').model.backbone.importance == 'contrast'
    call_tool('swap_backbone', *flags, '--schedule', schedule)
    assert Config.fromfile(tmp_path / 'new.py').model.backbone.importance == 'peak'
    call_tool('swap_backbone', *flags)
    assert Config.fromfile(tmp_path / 'new.py').model.backbone.importance == 'contrast'
    named = (tmp_path / 'new.py').read_text().replace("'contrast'", "'l2'")
    (tmp_path / 'named.py').write_text(named)
    again = [tmp_path / 'named.py', *flags[1:]]
    call_tool('swap_backbone', *again)
    assert Config.fromfile(tmp_path / 'new.py').model.backbone.importance == 'l2'
    capsys.readouterr()
    with pytest.raises(SystemExit):
        call_tool('swap_backbone', *flags, '--importance', 'largest')
    assert "importance is 'largest', but must be one of" in capsys.readouterr().err
