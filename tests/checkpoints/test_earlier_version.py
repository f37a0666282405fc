"""Files saved by an earlier version load, resume and compute as they did there.

Everything in tests/data/earlier_version comes from the code of commit f3c0587:

- backbones.pth: of each backbone its config, parameters, an image and its outputs. Parameters have
  noise on them so that biases matter, and are rounded to half precision to keep the file small;
- detector/config.py: a user's config, which trains for two epochs on four made-up images;
- detector/interrupted.pth: what mmengine saved of that run after its first epoch, with the path it
  notes of itself made relative;
- detector/maps.pth: maps of the interrupted run's backbone and neck on an image;
- detector/finished.pth: parameters and losses after the second epoch.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import load_checkpoint

from sparsevit_mm.registry import MODELS
from tests.helpers.tiny_data import write_tiny_data
from tests.tools.conftest import run_tool

FILES = Path(__file__).parents[1] / 'data' / 'earlier_version'
DETECTOR = FILES / 'detector'


def read(path):
    return torch.load(path, map_location='cpu', weights_only=True)


BACKBONES = read(FILES / 'backbones.pth')


@pytest.mark.parametrize('name', BACKBONES)
def test_backbone_gives_the_same_outputs(name):
    saved = BACKBONES[name]
    net = MODELS.build({**saved['cfg'], 'type': f'sparsevit_mm.{saved["cfg"]["type"]}'})
    net.load_state_dict(saved['state_dict'])
    with torch.no_grad():
        outputs = net.eval()(saved['image'])
    torch.testing.assert_close(list(outputs), saved['outputs'], rtol=0, atol=1e-5)


def test_detector_gives_the_same_maps():
    from mmdet.registry import MODELS as DETECTORS
    from mmdet.utils import register_all_modules

    register_all_modules(init_default_scope=False)
    with DefaultScope.overwrite_default_scope('mmdet'):
        net = DETECTORS.build(Config.fromfile(DETECTOR / 'config.py').model).eval()
    load_checkpoint(net, str(DETECTOR / 'interrupted.pth'), map_location='cpu', strict=True)
    saved = read(DETECTOR / 'maps.pth')
    with torch.no_grad():
        maps = net.backbone(saved['image'])
        merged = net.neck(maps)
    torch.testing.assert_close(list(maps), saved['backbone'], rtol=0, atol=1e-5)
    torch.testing.assert_close(list(merged), saved['neck'], rtol=0, atol=1e-5)


def test_interrupted_run_goes_on_to_the_same_weights(tmp_path):
    """The optimizer, the learning rate and the drawn schedules go on, too: all change weights."""
    write_tiny_data(tmp_path / 'data', images=4)
    shutil.copy(DETECTOR / 'config.py', tmp_path)
    run = run_tool(
        'train', 'config.py', '--work-dir', 'work', '--resume', DETECTOR / 'interrupted.pth',
        cwd=tmp_path,
    )  # fmt: skip
    assert run.code == 0, run.stderr

    saved = read(DETECTOR / 'finished.pth')
    (scalars,) = (tmp_path / 'work').glob('*/vis_data/scalars.json')
    log = [json.loads(line) for line in scalars.read_text().splitlines()]
    assert [line['step'] for line in log] == [5, 6, 7, 8]
    assert [line['loss'] for line in log] == pytest.approx(saved['losses'][4:], abs=1e-5)
    weights = read(tmp_path / 'work' / 'epoch_2.pth')['state_dict']
    assert weights.keys() == saved['state_dict'].keys()
    for name, weight in saved['state_dict'].items():
        torch.testing.assert_close(weights[name], weight, rtol=0, atol=1e-6, msg=name)
