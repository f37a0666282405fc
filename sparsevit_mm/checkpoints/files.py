"""Reads and writes whole checkpoint files: weights and their metadata."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sparsevit_mm.checkpoints.loading import named_tensors
from sparsevit_mm.checkpoints.reading import read_content
from sparsevit_mm.errors import CheckpointError, ConfigError
from sparsevit_mm.files import replace_bytes

HASH_LENGTH = 8
"""Number of digits of the SHA-256 in a file name, which torch checks after a download."""


def read_checkpoint(path: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Reads the weights and metadata of a checkpoint without executing anything in it.

    Args:
        path: A file.

    Returns:
        The named tensors, see `read_weights`, and the content of `meta`, such as classes and
        config; empty if there is none.

    Raises:
        CheckpointError: If the file is missing or holds no named tensors.
    """
    content = read_content(str(path))
    weights = named_tensors(content, str(path))
    meta = content.get('meta')
    return weights, dict(meta) if isinstance(meta, Mapping) else {}


def write_checkpoint(content: Mapping[str, Any], path: str | Path, hashed: bool = False) -> Path:
    """Writes a checkpoint.

    Args:
        content: The content, as for `torch.save`.
        path: The file; its folder is created.
        hashed: Whether to add the first digits of the SHA-256 of the file to its name, as in
            `name-0123abcd.pth`.

    Returns:
        The file written.

    Raises:
        CheckpointError: If it cannot be written; nothing is left behind then.
    """
    path = Path(path)
    buffer = io.BytesIO()
    torch.save(dict(content), buffer)
    if hashed:
        digest = hashlib.sha256(buffer.getbuffer()).hexdigest()[:HASH_LENGTH]
        path = path.with_name(f'{path.stem}-{digest}{path.suffix}')
    try:
        replace_bytes(path, buffer.getbuffer())
    except ConfigError as error:
        raise CheckpointError(str(error)) from None
    return path
