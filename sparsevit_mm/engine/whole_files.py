"""Makes mmengine write files that appear under their name only when they are whole.

Checkpoints, predictions, infos and drawings of the frameworks then survive a kill and a full disk
as this package's own files do.
"""

from __future__ import annotations

from pathlib import Path

from mmengine.fileio import LocalBackend, io, register_backend

from sparsevit_mm.files import replace_bytes


def use_whole_files() -> None:
    """Replaces mmengine's writer of local files, for the whole process."""
    register_backend('local', _WholeFiles, force=True, prefixes='')
    # What was made before is kept there.
    io.backend_instances.clear()


class _WholeFiles(LocalBackend):
    """Writes beside the place of a file and renames; a full disk is one sentence."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        replace_bytes(filepath, obj)

    def put_text(self, obj: str, filepath: str | Path, encoding: str = 'utf-8') -> None:
        replace_bytes(filepath, obj.encode(encoding))
