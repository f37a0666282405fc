"""Reads pruning schedules from a command line: ratios as text, or a JSON file."""

from __future__ import annotations

import ast
from typing import Any

from sparsevit_mm.errors import ConfigError
from sparsevit_mm.pruning.schedule import PruningSchedule


def parse_ratios(text: str) -> Any:
    """Reads pruning ratios from a command line.

    Args:
        text: A number, a list or a dict in Python's or JSON's notation, such as '0.5',
            '[[0.6], [0], [0.2, 0.4, 0.5], [0]]' or
            '{"ratios": 0.5, "head_ratios": [0.7, 0.5, 0, 0]}'.

    Raises:
        ConfigError: If it is neither.
    """
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):  # the last two if deeply nested
        value = None
    if isinstance(value, (int, float, list, tuple, dict)):
        return value
    shown = text if len(text) <= 60 else f'{text[:57]}...'
    raise ConfigError(
        f'ratios is {shown!r}, but must be a number such as 0.5, or a list such as '
        '"[[0.6], [0], [0.2, 0.4, 0.5], [0]]".'
    )


def read_schedule(ratios: str | None, schedule: str | None) -> Any:
    """The schedule that a command line names: by ratios, by a JSON file, or not at all.

    Returns:
        Any form that `pruning_ratios` takes, or None.

    Raises:
        ConfigError: If both are given, or the one given cannot be read.
    """
    if ratios is not None and schedule is not None:
        raise ConfigError('ratios and schedule are both given, but one of them must be left out.')
    if schedule is not None:
        return PruningSchedule.load(schedule)
    return None if ratios is None else parse_ratios(ratios)
