"""The files of a search: one line for each evaluation, and the settings of the search.

The lines are all that is needed to resume. A line that was cut off by a kill is dropped.
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
        origin: How it was found first: 'dense', 'uniform', 'random', 'mutation' or 'crossover'.
        generation: Index of the generation; None outside an evolution.
        metrics: All metrics that the evaluator returned.
        seconds: Duration of the evaluation.
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
    """Evaluations by schedule; after `write_to`, each is on the disk when `add` returns.

    Args:
        evaluations: Known evaluations, in order.
    """

    def __init__(self, evaluations: Iterable[Evaluation] = ()) -> None:
        self._found = {evaluation.schedule: evaluation for evaluation in evaluations}
        self._path: Path | None = None

    @staticmethod
    def read(path: Path) -> list[Evaluation]:
        """Reads the evaluations in a file; none if there is no file."""
        if not path.exists():
            return []
        whole, _, _ = path.read_text().rpartition('\n')
        return [Evaluation.from_dict(json.loads(line)) for line in whole.splitlines()]

    def write_to(self, path: Path) -> None:
        """Writes all evaluations to a file, and from now on each one that is added.

        Raises:
            ConfigError: If the file cannot be written.
        """
        replace_text(path, ''.join(map(_line, self._found.values())))
        self._path = path

    def __len__(self) -> int:
        return len(self._found)

    def find(self, schedule: PruningSchedule) -> Evaluation | None:
        """Returns the evaluation of a schedule, or None if there is none yet."""
        return self._found.get(schedule)

    def add(self, evaluation: Evaluation) -> None:
        """Adds an evaluation.

        Raises:
            ConfigError: If the file cannot be written.
        """
        self._found[evaluation.schedule] = evaluation
        if self._path is not None:
            append_text(self._path, _line(evaluation))


def save_settings(path: Path, settings: Mapping[str, Any]) -> None:
    """Writes the settings that the results of a search depend on.

    Args:
        path: The file.
        settings: JSON-ready settings.

    Raises:
        ConfigError: If the file cannot be written.
    """
    replace_text(path, json.dumps(settings, indent=2) + '\n')


def check_same_search(path: Path, settings: Mapping[str, Any], resume: bool) -> None:
    """Checks that a folder holds no search, or one that can be resumed with these settings.

    Args:
        path: The file that `save_settings` writes.
        settings: Settings of this search.
        resume: Whether to resume an earlier search.

    Raises:
        ConfigError: If there is an earlier search and `resume` is off, or it had other settings.
    """
    if not path.exists():
        return
    if not resume:
        raise ConfigError(
            f'{path.parent} holds a search already: resume it with --resume, or name another '
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
