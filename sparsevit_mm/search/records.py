"""What a search leaves on disk: a line for every evaluation, and the settings they were made with.

The lines are all that resuming needs. A line that was cut off by a kill is dropped.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sparsevit_mm.errors import ConfigError
from sparsevit_mm.files import append_text, replace_text
from sparsevit_mm.pruning.schedule import PruningSchedule


@dataclass(frozen=True)
class Evaluation:
    """One evaluated schedule.

    Attributes:
        schedule: The schedule.
        cost: Its cost, in the unit of the search.
        origin: Who asked first: 'dense', 'uniform', 'random', 'mutation' or 'crossover'.
        generation: Number of the generation, None outside an evolution.
        metrics: Everything the evaluator returned.
        seconds: What the evaluation took.
    """

    schedule: PruningSchedule
    cost: float
    origin: str
    generation: int | None
    metrics: Mapping[str, float]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """The evaluation as JSON-ready data."""
        return {**asdict(self), 'schedule': [list(stage) for stage in self.schedule.ratios]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Evaluation:
        """Reads `to_dict`'s data."""
        ratios = tuple(tuple(stage) for stage in data['schedule'])
        return cls(**{**data, 'schedule': PruningSchedule(ratios)})


class EvaluationLog:
    """Evaluations by schedule; once it has a file, each is on the disk when `add` returns.

    Args:
        evaluations: What is known already, in order.
    """

    def __init__(self, evaluations: Iterable[Evaluation] = ()) -> None:
        self._found = {evaluation.schedule: evaluation for evaluation in evaluations}
        self._path: Path | None = None

    @staticmethod
    def read(path: Path) -> list[Evaluation]:
        """The evaluations in a file; none if there is no file."""
        if not path.exists():
            return []
        whole, _, _ = path.read_text().rpartition('\n')
        return [Evaluation.from_dict(json.loads(line)) for line in whole.splitlines()]

    def write_to(self, path: Path) -> None:
        """Writes what is known to a file, and from now on whatever is added."""
        replace_text(path, ''.join(map(_line, self._found.values())))
        self._path = path

    def __len__(self) -> int:
        return len(self._found)

    def find(self, schedule: PruningSchedule) -> Evaluation | None:
        """The evaluation of a schedule, None if there is none yet."""
        return self._found.get(schedule)

    def add(self, evaluation: Evaluation) -> None:
        """Remembers an evaluation."""
        self._found[evaluation.schedule] = evaluation
        if self._path is not None:
            append_text(self._path, _line(evaluation))


def save_settings(path: Path, settings: Mapping[str, Any]) -> None:
    """Leaves the settings on which a search's results depend, JSON-ready, in a file."""
    replace_text(path, json.dumps(settings, indent=2) + '\n')


def check_same_search(path: Path, settings: Mapping[str, Any], resume: bool) -> None:
    """Checks that a folder is free for a search, or holds the one that is to go on.

    Args:
        path: The file `save_settings` writes.
        settings: Settings of this search.
        resume: Whether it may go on from an earlier one.

    Raises:
        ConfigError: If an earlier search is there and `resume` is off, or it had other settings.
    """
    if not path.exists():
        return
    if not resume:
        raise ConfigError(
            f'{path.parent} holds a search already: go on with it by --resume, or name another '
            'folder with --work-dir.'
        )
    found = json.loads(path.read_text())
    ours = json.loads(json.dumps(settings))
    for field in {**found, **ours}:
        if found.get(field) != ours.get(field):
            raise ConfigError(
                f'the search in {path.parent} cannot be resumed: its {field} is '
                f'{found.get(field)}, but now it is {ours.get(field)}.'
            )


def _line(evaluation: Evaluation) -> str:
    return json.dumps(evaluation.to_dict()) + '\n'
