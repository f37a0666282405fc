"""Calls tools while files may have ten bytes; each call is a fork of a process with one thread.

Tests talk to it by lines: a folder, a tool and its arguments as JSON; back come the status and what
was written to stderr. A fork of the tests' own process would lack the threads that its libraries
wait for.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import tempfile
import traceback
from importlib import import_module
from typing import Any

from tests.tools.conftest import call_tool


def fill(folder: str) -> None:
    """From the first file or folder that is made in a folder on, files may have 10 bytes."""

    def full(event: str, args: tuple[Any, ...]) -> None:
        if event not in ('open', 'os.mkdir') or not str(args[0]).startswith(folder):
            return
        if event == 'os.mkdir' or args[2] & (os.O_WRONLY | os.O_RDWR):
            hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
            resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    sys.addaudithook(full)


def call(folder: str, name: str, args: list[str]) -> tuple[int, str]:
    """Calls a tool in a fork; its status and what it wrote to stderr."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 3
        try:
            os.close(reading)
            os.dup2(writing, 2)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            sys.stderr = os.fdopen(2, 'w', buffering=1, closefd=False)
            fill(folder)
            call_tool(name, *args)
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as errors:
        said = errors.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said


if __name__ == '__main__':
    for module in ('mmdet.apis', 'mmseg.apis'):
        import_module(module)  # so that not every fork has to

    tempfile.gettempdir()  # writes a file to find out
    for line in sys.stdin:
        print(json.dumps(call(*json.loads(line))), flush=True)
