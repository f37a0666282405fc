"""A published file: weights and what matters of meta, under a name that tells its hash."""

from __future__ import annotations

import hashlib
import re

import pytest
import torch

from sparsevit_mm.apis.publish_model import publish
from sparsevit_mm.checkpoints.files import write_checkpoint
from sparsevit_mm.errors import CheckpointError


@pytest.fixture
def training_checkpoint(tmp_path):
    path = tmp_path / 'epoch_3.pth'
    weight = torch.nn.Parameter(torch.randn(4, 3))
    optimizer = torch.optim.AdamW([weight])
    weight.sum().backward()
    optimizer.step()
    content = dict(
        state_dict={'backbone.weight': weight.detach(), 'head.bias': torch.arange(1000)[:2]},
        optimizer=optimizer.state_dict(),
        param_schedulers=[{'last_step': 3}],
        message_hub={'log_scalars': {}},
        ema_state_dict={'module.backbone.weight': torch.zeros(4, 3)},
        meta=dict(epoch=3, dataset_meta=dict(classes=('car',)), hook_msgs={}, seed=1),
    )
    torch.save(content, path)
    return path


def test_only_weights_remain(training_checkpoint, tmp_path):
    path = publish(training_checkpoint, tmp_path / 'out' / 'model.pth')
    before = torch.load(training_checkpoint, weights_only=True)
    after = torch.load(path, weights_only=True)
    assert after.keys() == {'meta', 'state_dict'}
    assert after['meta'] == dict(epoch=3, dataset_meta=dict(classes=('car',)))
    assert after['state_dict'].keys() == before['state_dict'].keys()
    for name, weight in before['state_dict'].items():
        assert torch.equal(after['state_dict'][name], weight)
    # Storage beyond the tensor is left behind, too: 1000 numbers were 8000 bytes.
    assert path.stat().st_size < 5000


def test_name_tells_the_hash(training_checkpoint, tmp_path):
    path = publish(training_checkpoint, tmp_path / 'model.pth')
    digits = re.fullmatch(r'model-([0-9a-f]{8})\.pth', path.name)[1]
    assert hashlib.sha256(path.read_bytes()).hexdigest().startswith(digits)
    assert sorted(p.name for p in tmp_path.iterdir()) == ['epoch_3.pth', path.name]


def test_nothing_half_written(tmp_path):
    class Unsaveable:
        def __reduce__(self):
            raise ValueError('cannot be saved')

    with pytest.raises(ValueError, match='cannot be saved'):
        write_checkpoint({'meta': Unsaveable()}, tmp_path / 'model.pth')
    assert list(tmp_path.iterdir()) == []


def test_folder_that_is_a_file(training_checkpoint):
    with pytest.raises(CheckpointError, match='cannot be written'):
        publish(training_checkpoint, training_checkpoint / 'model.pth')


def test_no_checkpoint(tmp_path):
    with pytest.raises(CheckpointError, match='does not exist'):
        publish(tmp_path / 'nothing.pth', tmp_path / 'model.pth')
