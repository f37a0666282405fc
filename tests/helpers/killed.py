"""Kills a piece of work at a chosen moment of its writing, as `kill -9` or a power cut would."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

_WRITING = os.O_WRONLY | os.O_RDWR


def killed_at(moment: int, folder: Path, work: Callable[[], Any]) -> bool:
    """Does some work in a forked process, which is killed while it writes.

    Args:
        moment: Counts from 0: just before the first file in the folder is opened for writing,
            renamed or removed; just after that; just before the second …
        folder: The folder that counts.
        work: The work.

    Returns:
        Whether it was killed; False if it ended before that moment.
    """
    child = os.fork()
    if child == 0:
        try:
            sys.addaudithook(_Killer(moment, folder))
            work()
        except BaseException as error:
            print(repr(error), flush=True)
            os._exit(3)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0, 'the work failed before it was killed'
    return False


class _Killer:
    def __init__(self, moment: int, folder: Path) -> None:
        self.moment, self.folder, self.passed = moment, str(folder), 0

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        if event not in ('open', 'os.rename', 'os.remove') or self.passed > self.moment:
            return
        path, flags = str(args[0]), args[2] if event == 'open' else _WRITING
        if not path.startswith(self.folder) or not flags & _WRITING:
            return
        before, after = self.passed == self.moment, self.passed + 1 == self.moment
        self.passed += 2
        if after:
            self.passed = self.moment + 1
            if event == 'open':
                os.close(os.open(path, flags))
            elif event == 'os.rename':
                Path(args[0]).replace(args[1])
            else:
                Path(path).unlink()
        if before or after:
            os.kill(os.getpid(), signal.SIGKILL)
