"""Commands that must succeed; if one does not, the test says what it wrote to stderr."""

from __future__ import annotations

import subprocess
from typing import Any


def output_of(command: list[str], **options: Any) -> str:
    """Runs a command to its end and returns what it wrote to stdout.

    Args:
        command: The program and its arguments.
        options: Further options of `subprocess.run`.
    """
    done = subprocess.run(command, capture_output=True, text=True, **options)
    assert done.returncode == 0, f'{command} ended with {done.returncode}:\n{done.stderr}'
    return done.stdout
