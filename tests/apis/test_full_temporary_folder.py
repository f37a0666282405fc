"""A config is read through a copy in the temporary folder, which may be full."""

from __future__ import annotations

import tempfile

import pytest

from sparsevit_mm.apis.configs import read_config
from sparsevit_mm.errors import ConfigError

resource = pytest.importorskip('resource')


def test_a_full_temporary_folder_is_named(tmp_path):
    path = tmp_path / 'config.py'
    path.write_text('model = dict(type="RetinaNet")\n')
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
    try:
        with pytest.raises(ConfigError) as refused:
            read_config(str(path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert str(refused.value) == (
        f'the config {path} cannot be read: its copy in the temporary folder '
        f'{tempfile.gettempdir()} cannot be written: File too large.'
    )
