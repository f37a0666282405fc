"""A progress bar on a terminal, and lines now and then in a log or a pipe."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console
from rich.progress import Progress, ProgressColumn, TaskID

_SECONDS = 30.0
"""Longest silence in a log while a task goes on."""


class LoggedProgress(Progress):
    """Progress bars; where no terminal shows them, a line after every tenth of a task.

    A task that is slow has a line every half minute, too.

    Args:
        *columns: Columns of the bars.
        console: Where they are shown.
    """

    def __init__(self, *columns: ProgressColumn | str, console: Console) -> None:
        self.logs = not console.is_terminal
        super().__init__(*columns, console=console, redirect_stdout=False, disable=self.logs)
        self._said: dict[TaskID, tuple[int, float]] = {}

    def update(self, task_id: TaskID, **changes: Any) -> None:
        """Moves a bar, see `rich.progress.Progress.update`."""
        super().update(task_id, **changes)
        task = self._tasks[task_id]
        if not self.logs or not task.total:
            return
        tenth, now = int(10 * task.completed / task.total), time.monotonic()
        last, when = self._said.get(task_id, (0, task.start_time or now))
        if tenth > last or now - when > _SECONDS:
            self._said[task_id] = tenth, now
            fields = ''.join(f', {name} {value}' for name, value in task.fields.items())
            self.console.print(
                f'{task.description}: {task.completed:.0f} of {task.total:.0f}{fields}, '
                f'{task.elapsed or 0:.0f} s',
                highlight=False,
            )
