"""Makes mmengine read checkpoints and pickles from outside as safely as this package does.

mmengine hands what it fetches from an address, and every `.pkl` file, to an unpickler that runs
whatever the file says. A run of our tools reads all of it by `sparsevit_mm.checkpoints.reading`,
also for parts of a model and data sets that are the framework's.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import Any, BinaryIO

from mmengine.fileio import PickleHandler, register_handler
from mmengine.runner import CheckpointLoader

from sparsevit_mm.checkpoints.reading import read_content, read_pickle
from sparsevit_mm.errors import CheckpointError, DataError

_SCHEMES = (
    '', 'http://', 'https://', 'pavi://', r'(\S+\:)?s3://', r'(\S+\:)?petrel://', 'modelzoo://',
    'torchvision://', 'open-mmlab://', 'openmmlab://', 'mmcls://',
)  # fmt: skip


def use_safe_reading() -> None:
    """Replaces mmengine's readers of checkpoints and pickles, for the whole process."""
    CheckpointLoader.register_scheme(_SCHEMES, load_from_safe_reader, force=True)
    register_handler(['pkl', 'pickle'])(_PlainPickles)


def load_from_safe_reader(filename: str, map_location: Any = None) -> dict[str, Any]:
    """Reads a checkpoint for mmengine; its log names what follows `load_from_`.

    Args:
        filename: A file or an address, see `read_content`.
        map_location: Where tensors go, as for `torch.load`.

    Raises:
        CheckpointError: If it cannot be read, holds more than plain data, or is no dictionary.
    """
    content = read_content(filename, map_location)
    if not isinstance(content, dict):
        raise CheckpointError(
            f'the checkpoint {filename} holds a {type(content).__name__}, but must hold a '
            'dictionary of named tensors.'
        )
    meta = content.get('meta')
    if isinstance(meta, Mapping) and 'config' in meta:
        # Resuming, mmengine would run this text as a config.
        content['meta'] = {key: value for key, value in meta.items() if key != 'config'}
    return content


class _PlainPickles(PickleHandler):
    """Reads pickles of plain data alone; writes as before."""

    def load_from_fileobj(self, file: BinaryIO, **kwargs: Any) -> Any:
        try:
            return read_pickle(file.read())
        except pickle.UnpicklingError as error:
            name = getattr(file, 'name', 'that the run reads')
            raise DataError(f'the pickle {name} cannot be read: {error}.') from None
