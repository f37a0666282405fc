"""Which checkpoint an interrupted training goes on from, and what is said of one that is broken."""

from __future__ import annotations

import os

import pytest
import torch
from mmengine.config import Config

from sparsevit_mm.engine.resuming import check_resumable, latest_checkpoint
from sparsevit_mm.errors import CheckpointError


def write(path, **changes):
    meta = {'epoch': 1, 'iter': 4}
    content = {'meta': meta, 'state_dict': {}, 'message_hub': {}, 'optimizer': {}, **changes}
    torch.save(content, path)
    return path


@pytest.fixture
def run(tmp_path):
    """A folder with three checkpoints, of which the third is named by `last_checkpoint`."""
    for number in (1, 2, 3):
        path = write(tmp_path / f'epoch_{number}.pth')
        os.utime(path, (number, number))
    (tmp_path / 'last_checkpoint').write_text(str(path))
    return tmp_path


def test_the_named_checkpoint(run, tmp_path):
    assert latest_checkpoint(run) == str(run / 'epoch_3.pth')
    assert latest_checkpoint(tmp_path / 'none') is None
    moved = run.rename(run.parent / f'{run.name}-moved')
    assert latest_checkpoint(moved) == str(moved / 'epoch_3.pth')


@pytest.mark.parametrize('broken', ['file', 'no file', 'pointer', 'no optimizer'])
def test_the_newest_that_can_be_read_is_taken_instead_and_a_line_says_so(run, broken, capsys):
    last = run / 'epoch_3.pth'
    if broken == 'file':
        last.write_bytes(last.read_bytes()[:-30])
    elif broken == 'no file':
        last.unlink()
    else:
        (run / 'last_checkpoint').write_text('' if broken == 'pointer' else f'{run}/gone.pth')
        if broken == 'no optimizer':
            torch.save({'state_dict': {}}, last)
    expected = run / ('epoch_3.pth' if broken == 'pointer' else 'epoch_2.pth')
    assert latest_checkpoint(run) == str(expected)
    assert f'going on from {expected} instead' in capsys.readouterr().out.replace('\n', '')


def test_no_checkpoint_can_be_read(run):
    for path in run.glob('*.pth'):
        path.write_bytes(b'e')
    with pytest.raises(
        CheckpointError, match='cannot be resumed: the checkpoint .*epoch_3.*broken'
    ):
        latest_checkpoint(run)


CFG = Config(dict(train_cfg=dict(max_epochs=2)))
WRONG = {
    'meta': (dict(meta=None), 'has no meta, so it is not one of a training'),
    'hub': (dict(message_hub=3), 'has no message_hub'),
    'float': (dict(meta={'epoch': 1.5, 'iter': 4}), r'epoch 1\.5, but that must be a whole number'),
    'huge': (dict(meta={'epoch': 1, 'iter': 10**30}), r'iter about 2\*\*99, but that must lie bet'),
    'negative': (dict(meta={'epoch': -1, 'iter': 4}), 'epoch -1, but that must lie between 0'),
    'missing': (dict(meta={'epoch': 1}), 'iter None, but that must be'),
    'later': (dict(meta={'epoch': 3, 'iter': 4}), 'epoch 3, but train_cfg ends the training at 2'),
}


@pytest.mark.parametrize('case', WRONG)
def test_a_checkpoint_that_no_training_can_go_on_from(case, tmp_path):
    changes, words = WRONG[case]
    path = write(tmp_path / 'a.pth', **changes)
    with pytest.raises(CheckpointError, match=words) as error:
        check_resumable(str(path), CFG)
    assert '\n' not in str(error.value)
