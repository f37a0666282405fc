"""Writes files that appear under their name only when they are whole."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from sparsevit_mm.errors import ConfigError


def replace_text(path: str | Path, text: str) -> None:
    """Writes a text file; see `replace_bytes`.

    Args:
        path: The file, whose folder is made.
        text: Its new content, written as UTF-8.

    Raises:
        ConfigError: If it cannot be written; the file is then what it was before.
    """
    replace_bytes(path, text.encode())


def replace_bytes(path: str | Path, content: bytes | memoryview) -> None:
    """Writes a file beside its place, waits until it is on the disk, and renames it.

    A process that is killed, a full disk or a power cut leaves the old file or the new one, never a
    part of it.

    Args:
        path: The file, whose folder is made.
        content: Its new content.

    Raises:
        ConfigError: If it cannot be written; the file is then what it was before.
    """
    path = Path(path)
    # A name of its own: two processes may write the same file.
    scratch = path.with_name(f'.{path.name}.{uuid.uuid4().hex}.tmp')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with scratch.open('xb') as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            scratch.replace(path)
        except BaseException:
            scratch.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ConfigError(f'the file {path} cannot be written: {error.strerror}.') from None


def append_text(path: str | Path, text: str) -> None:
    """Adds text to the end of a file and waits until it is on the disk.

    Args:
        path: The file.
        text: What is added, as UTF-8.

    Raises:
        ConfigError: If it cannot be written; a part of the text may then be in the file.
    """
    try:
        with Path(path).open('ab') as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise ConfigError(f'the file {path} cannot be written: {error.strerror}.') from None
