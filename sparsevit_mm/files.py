"""Writes files that appear under their name only when they are whole; reads JSON; locks folders."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path, PurePath
from types import ModuleType
from typing import Any

from sparsevit_mm.errors import ConfigError

# What the operating system answers where a disk takes no more.
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None


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


@contextlib.contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """Lets a library write a file by its path; the file appears when it is whole, on the disk.

    Args:
        path: The file, whose folder is made.

    Yields:
        A path of the same name in a folder of its own, to write to. What else is written into that
        folder, such as external weights, is moved beside the file, too.

    Raises:
        ConfigError: If it cannot be written; the file is then what it was before.
    """
    path = Path(path)
    scratch = path.with_name(f'.{path.name}.{uuid.uuid4().hex}.tmp')
    try:
        scratch.mkdir(parents=True)
        try:
            yield scratch / path.name
            for file in sorted(scratch.iterdir(), key=lambda file: file.name == path.name):
                with file.open('rb') as opened:
                    os.fsync(opened.fileno())
                file.replace(path.with_name(file.name))
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    except OSError as error:
        raise ConfigError(
            f'the file {path} cannot be written: {error.strerror or error}.'
        ) from None


def read_json(path: str | Path, what: str) -> Any:
    """Reads a JSON file that may be broken.

    Args:
        path: The file.
        what: What it should be, for the error, such as 'the schedule file'.

    Returns:
        The data; whoever asks checks what is in it.

    Raises:
        ConfigError: If it cannot be read, or is not JSON.
    """
    try:
        return json.loads(Path(path).read_bytes())
    except OSError as error:
        raise ConfigError(f'{what} {path} cannot be read: {error.strerror}.') from None
    except ValueError as error:
        raise ConfigError(
            f'{what} {path} cannot be read: it is not valid JSON: {_line(error)}.'
        ) from None
    except RecursionError:
        raise ConfigError(f'{what} {path} cannot be read: it is nested too deeply.') from None


@contextlib.contextmanager
def locked(path: str | Path) -> Iterator[None]:
    """Lets one process at a time work in a folder.

    The lock ends with the process, also where it is killed. Where a file system or the operating
    system has no such locks, nothing is locked.

    Args:
        path: The lock file, which is removed at the end.

    Raises:
        ConfigError: If another process has the lock, or the file cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open('a+') as file:
            if fcntl is not None:
                try:
                    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except (BlockingIOError, PermissionError):
                    file.seek(0)
                    owner = file.read(20).strip() or 'another one'
                    raise ConfigError(
                        f'{path.parent} is in use by the process {owner}: wait until it has ended, '
                        'or name another folder with --work-dir.'
                    ) from None
                except OSError:
                    pass
            file.truncate(0)
            file.write(f'{os.getpid()}\n')
            file.flush()
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
    except OSError as error:
        if error.filename is None or Path(error.filename) != path:
            raise
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


def _line(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0].rstrip('.') if lines else type(error).__name__


def ends_with(path: PurePath, end: PurePath) -> bool:
    """Whether the last parts of a path are those of another, as `a/b/c.png` ends with `b/c.png`."""
    return path.parts[-len(end.parts) :] == end.parts
