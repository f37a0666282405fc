"""A checkpoint hook that removes an old checkpoint only when the new one is on the disk.

mmengine's removes it first: a process that is killed while it writes has then lost both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from sparsevit_mm.errors import CheckpointError
from sparsevit_mm.registry import HOOKS


@HOOKS.register_module()
class WholeCheckpointHook(CheckpointHook):
    """mmengine's `CheckpointHook`, with its arguments; old files go after new ones are written."""

    def before_train(self, runner: Runner) -> None:
        """Gets what writes and removes files, see mmengine's `CheckpointHook`."""
        super().before_train(runner)
        self.file_backend: Any = _RemovesLater(self.file_backend)

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict[str, Any]) -> None:
        self._save(super()._save_checkpoint_with_step, runner, step, meta)

    def _save_best_checkpoint(self, runner: Runner, metrics: Mapping[str, Any]) -> None:
        self._save(super()._save_best_checkpoint, runner, metrics)

    def _save(self, save: Any, runner: Runner, *args: Any) -> None:
        try:
            save(runner, *args)
        except OSError as error:
            raise CheckpointError(
                f'the checkpoint in {self.out_dir} cannot be written: {error.strerror}.'
            ) from None
        best = getattr(self, 'best_ckpt_path_dict', {}).values()
        written = {self.last_ckpt, getattr(self, 'best_ckpt_path', None), *best}
        self.file_backend.remove_now(but=written)


class _RemovesLater:
    """A file backend that remembers what it is asked to remove."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self._waiting: list[tuple[Any, str]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def remove(self, path: str) -> None:
        self._waiting.append((self._backend.remove, path))

    def rmtree(self, path: str) -> None:
        self._waiting.append((self._backend.rmtree, path))

    def remove_now(self, but: set[Any]) -> None:
        """Removes what was asked for, without files that were written anew."""
        waiting, self._waiting = self._waiting, []
        for remove, path in waiting:
            if path not in but and self._backend.exists(path):
                remove(path)
