"""What is tried keeps what it says, on a tiny detector with random weights."""

from __future__ import annotations

import json
import random

import pytest
import torch

pytest.importorskip('mmdet')
from projects.allocation_study.__main__ import main
from projects.allocation_study.trial import RELATIVE_TO, Trial, TrialSparseViT
from sparsevit_mm import SparseViT
from sparsevit_mm.apis.configs import load_config, register_framework
from sparsevit_mm.checks.configs import build_model
from tests.helpers.tiny_data import DETECTOR, write_config, write_tiny_data

SMALL = dict(embed_dims=8, depths=(2, 2), num_heads=(1, 2), out_indices=(0, 1), window_size=4)
SMALL |= dict(importance='contrast', pruning_ratios=[[0.3, 0.6], [0.5]])


@pytest.fixture
def net():
    torch.manual_seed(0)
    return TrialSparseViT(**SMALL).eval()


def images():
    generator = torch.Generator().manual_seed(0)
    scale = torch.tensor([1.0, 0.2, 3.0])[:, None, None, None]
    return torch.rand(3, 3, 90, 110, generator=generator) ** 3 * scale


@torch.no_grad()
@pytest.mark.parametrize(
    'allocation, relative_to', [('image', 'mean'), ('batch', 'mean')], ids=lambda value: value
)
def test_what_ships_is_what_was_tried(net, allocation, relative_to):
    net.trial = Trial(allocation, relative_to)
    shipped = SparseViT(**SMALL, allocation=allocation).eval()
    shipped.load_state_dict(net.state_dict())
    for found, expected in zip(net(images()), shipped(images())):
        torch.testing.assert_close(found, expected)


@torch.no_grad()
@pytest.mark.parametrize('relative_to', RELATIVE_TO)
def test_calibrated_images_do_not_see_their_batch_and_share_on_average(net, relative_to):
    collecting = Trial('image', relative_to, collected={})
    net.trial = collecting
    net.pruning_ratios = 0.5
    net(images())
    trial = Trial('calibrated', relative_to, collected=collecting.collected)
    trial.calibrate(0.5)
    net.trial = trial
    together = net(images())
    shares = [sum(found) / len(found) for key, found in trial.shares.items() if key[0] == 0]
    # Scores of later stages depend on what earlier ones kept; those of the first are the same.
    assert shares == pytest.approx([0.5] * len(shares), abs=0.03)
    for index in range(3):
        for found, expected in zip(net(images()[index : index + 1]), together):
            torch.testing.assert_close(found, expected[index : index + 1])


def test_the_command_writes_a_result_for_each_trial(tmp_path):
    random.seed(0)
    torch.manual_seed(0)
    config = write_config(tmp_path / 'tiny.py', DETECTOR, write_tiny_data(tmp_path / 'data', 6))
    cfg = load_config(str(config))
    register_framework(cfg)
    torch.save({'state_dict': build_model(cfg).state_dict()}, tmp_path / 'weights.pth')
    options = ['--ratios', '0.5', '--relative-to', 'mean', '--batch-size', '3']
    main([str(config), str(tmp_path / 'weights.pth'), *options, '--out', str(tmp_path / 'r.json')])
    image, batch, calibrated = json.loads((tmp_path / 'r.json').read_text())
    assert [one['allocation'] for one in (image, batch, calibrated)] == [
        'image', 'batch', 'calibrated',
    ]  # fmt: skip
    assert batch['mean_share'] == pytest.approx(image['mean_share'])
    assert len(set(image['shares'])) == 1
    assert len(batch['shares']) == 6


@torch.no_grad()
def test_an_image_has_one_share_a_stage_however_many_blocks_it_has():
    net = TrialSparseViT(**{**SMALL, 'depths': (2, 6), 'pruning_ratios': 0.5}).eval()
    net(images())
    assert {len(found) for found in net.trial.shares.values()} == {3}
