"""tools/browse_dataset.py: annotated training images of detectors, segmentors and 3D detectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sparsevit_mm.apis.configs import innermost_dataset, load_config
from tests.helpers.generated_data import write_data
from tests.helpers.tiny_data import HEIGHT, WIDTH
from tests.tools.conftest import ROOT, call_tool, files_below

FCOS3D = ROOT / 'configs/sparsevit/nuscenes/fcos3d_sparsevit-t_fpn_8xb2-adaptation-1x_nus-mono3d.py'


def read(path):
    with Image.open(path) as picture:
        return np.asarray(picture.convert('RGB')).astype(int)


@pytest.mark.parametrize('kind', ['detector', 'segmentor'])
def test_draws_what_the_network_is_trained_on(kind, tiny, tmp_path, capsys):
    out = tmp_path / 'drawn'
    call_tool('browse_dataset', getattr(tiny, kind), '--out-dir', out, '--num', 3)
    written = files_below(out)
    assert [name[:6] for name in written] == ['00000_', '00001_', '00002_']
    assert capsys.readouterr().out.splitlines()[-2:] == [str(out / written[-1]), f'drawings: {out}']
    for name in written:
        drawn, plain = read(out / name), read(tiny.data / 'images' / name[6:])
        assert drawn.shape == (HEIGHT, WIDTH, 3)
        # Annotations cover something; where there are none, colors are those of the image.
        changed = np.abs(drawn - plain).max(axis=-1) > 60
        assert changed.any()
        if kind == 'detector':
            assert (np.abs(drawn - plain).max(axis=-1) < 8).mean() > 0.3


def test_draws_3d_boxes_of_every_camera(tmp_path):
    cfg = load_config(str(FCOS3D))
    dataset = innermost_dataset(cfg.train_dataloader)
    write_data(cfg, dataset, tmp_path / 'data')
    out = tmp_path / 'drawn'
    call_tool(
        'browse_dataset', FCOS3D, '--out-dir', out, '--cfg-options',
        f'train_dataloader.dataset.data_root={tmp_path / "data"}/',
    )  # fmt: skip
    expected = [f'{index:05}_{index // 6}.png' for index in range(12)]  # two frames, six cameras
    assert [Path(name).name for name in files_below(out)] == expected


def test_fewer_than_one(tiny, tmp_path, capsys):
    with pytest.raises(SystemExit):
        call_tool('browse_dataset', tiny.detector, '--out-dir', tmp_path / 'drawn', '--num', 0)
    assert 'num is 0, but must be positive' in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_same_seed_same_pictures(tiny, tmp_path):
    text = tiny.detector.read_text().replace(
        "dict(type='PackDetInputs'", "dict(type='RandomFlip', prob=0.5), dict(type='PackDetInputs'"
    )
    config = tmp_path / 'flips.py'
    config.write_text(text)
    drawn = []
    for number, seed in enumerate([1, 1, 2]):
        call_tool('browse_dataset', config, '--out-dir', tmp_path / str(number), '--seed', seed)
        drawn.append([read(path) for path in sorted((tmp_path / str(number)).iterdir())])
    same = [[np.array_equal(a, b) for a, b in zip(drawn[0], other)] for other in drawn[1:]]
    assert all(same[0])
    assert not all(same[1])
