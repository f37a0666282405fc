"""tools/image_demo.py: any picture in, predictions and kept windows out."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tests.tools.conftest import call_tool, files_below, run_tool


@pytest.fixture
def pictures(tmp_path):
    """A folder with pictures of every kind, two of which share a name."""
    rng = np.random.default_rng(0)
    folder = tmp_path / 'pictures'
    folder.mkdir()
    colour = rng.integers(0, 256, (50, 70, 3), dtype=np.uint8)
    Image.fromarray(colour).save(folder / 'colour.jpg')
    Image.fromarray(colour[:3, :5]).save(folder / 'colour.png')
    Image.fromarray(colour[..., 0]).save(folder / 'grey.png')
    Image.fromarray(np.dstack([colour, colour[..., :1]])).save(folder / 'rgba.png')
    Image.fromarray(rng.integers(0, 65536, (40, 130), dtype=np.uint16)).save(folder / 'deep.png')
    return folder


def test_folder_of_a_detector(tiny, trained, pictures, tmp_path):
    (pictures / 'empty.png').touch()
    (pictures / 'notes.txt').write_text('no picture')
    out = tmp_path / 'out'
    run = run_tool(
        'image_demo', pictures, tiny.detector, trained / 'epoch_3.pth', '--out-dir', out,
        '--score-thr', '0.0', '--device', 'cpu',
    )  # fmt: skip
    names = ['colour.jpg.png', 'colour.png.png', 'deep.png', 'grey.png', 'rgba.png']
    folders = ['kept_windows', 'predictions']
    assert files_below(out) == sorted(
        folders + [f'{folder}/{name}' for folder in folders for name in names]
    )
    # The good ones are done, the empty one is refused in a sentence and in the exit code.
    assert run.code == 1
    assert 'Traceback' not in run.stderr
    assert run.stderr.count('error: ') == 1
    assert f'error: the picture {pictures / "empty.png"} cannot be read: it is empty.' in run.stderr
    with Image.open(out / 'predictions' / 'deep.png') as drawn:
        assert drawn.size == (130, 40)


def test_segmentor_without_a_checkpoint(tiny, pictures, tmp_path, capsys):
    out = tmp_path / 'out'
    call_tool('image_demo', pictures / 'rgba.png', tiny.segmentor, '--out-dir', out)
    assert files_below(out) == [
        'kept_windows', 'kept_windows/rgba.png', 'predictions', 'predictions/rgba.png',
    ]  # fmt: skip
    assert 'weights are random' in capsys.readouterr().err
    with Image.open(out / 'predictions' / 'rgba.png') as drawn:
        assert drawn.size == (70, 50)


def test_ratios_change_the_kept_windows(tiny, trained, pictures, tmp_path):
    drawn = []
    for ratios in ('0', '0.8'):
        out = tmp_path / ratios
        call_tool(
            'image_demo', pictures / 'grey.png', tiny.detector, trained / 'epoch_3.pth',
            '--out-dir', out, '--ratios', ratios,
        )  # fmt: skip
        drawn.append(np.asarray(Image.open(out / 'kept_windows' / 'grey.png')).astype(float))
    # Skipped windows are dimmed.
    assert drawn[1].mean() < drawn[0].mean() - 5


def test_backbone_without_schedule_draws_predictions_only(tiny, pictures, tmp_path, capsys):
    out = tmp_path / 'out'
    call_tool('image_demo', pictures / 'grey.png', tiny.plain, '--out-dir', out)
    assert files_below(out) == ['predictions', 'predictions/grey.png']
    assert 'no pruning schedule' in capsys.readouterr().err


def test_network_that_sees_crops_draws_predictions_only(tiny, pictures, tmp_path, capsys):
    out = tmp_path / 'out'
    call_tool(
        'image_demo', pictures / 'grey.png', tiny.segmentor, '--out-dir', out, '--cfg-options',
        'model.test_cfg.mode=slide', 'model.test_cfg.crop_size=(40,40)',
        'model.test_cfg.stride=(30,30)',
    )  # fmt: skip
    assert files_below(out) == ['predictions', 'predictions/grey.png']
    assert 'sees crops' in capsys.readouterr().err
