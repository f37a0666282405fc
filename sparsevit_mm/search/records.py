"""The files of a search: one line for each evaluation, and the settings of the search.

The lines are all that is needed to resume. A line that was cut off by a kill is dropped.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sparsevit_mm.errors import ConfigError
from sparsevit_mm.files import append_text, read_json, replace_text
from sparsevit_mm.pruning.schedule import PruningSchedule

BESIDE_RATIOS = ('importance', 'head_ratios', 'scale', 'proposals')
"""What a search chooses of a schedule beside its ratios."""


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
        schedule = self.schedule.to_dict()
        beside = {key: schedule[key] for key in BESIDE_RATIOS if key in schedule}
        return {**asdict(self), 'schedule': schedule['ratios'], **beside}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Evaluation:
        """Reads `to_dict`'s data.

        Raises:
            ConfigError: If the schedule is none.
            TypeError, ValueError: If something else is missing or of another type.
        """
        beside = {key: data[key] for key in BESIDE_RATIOS if key in data}
        others = {key: value for key, value in data.items() if key not in BESIDE_RATIOS}
        schedule = PruningSchedule.from_dict({'ratios': data['schedule'], **beside})
        evaluation = cls(**{**others, 'schedule': schedule})
        numbers = [evaluation.cost, evaluation.seconds, *evaluation.metrics.values()]
        if not all(type(number) in (int, float) for number in numbers):
            raise TypeError('a number is none.')
        return evaluation


class EvaluationLog:
    """Evaluations by schedule; after `write_to`, each is on the disk when `add` returns.

    Args:
        evaluations: Known evaluations, in order.
        fingerprint: See `fingerprint_of`; it is written into every line.
    """

    def __init__(
        self, evaluations: Iterable[Evaluation] = (), fingerprint: str | None = None
    ) -> None:
        self._fingerprint = fingerprint
        self._found = {evaluation.schedule: evaluation for evaluation in evaluations}
        self._path: Path | None = None

    @staticmethod
    def read(path: Path, fingerprint: str | None = None) -> list[Evaluation]:
        """Reads the evaluations in a file; none if there is no file.

        Args:
            path: The file.
            fingerprint: What every line must have been written with.

        Raises:
            ConfigError: If a line is no evaluation, or one of another search.
        """
        if not path.exists():
            return []
        try:
            whole, _, _ = path.read_bytes().rpartition(b'\n')
        except OSError as error:
            raise ConfigError(f'the file {path} cannot be read: {error.strerror}.') from None
        found = []
        for number, line in enumerate(whole.split(b'\n') if whole else [], start=1):
            try:
                data = json.loads(line)
                written_with = data.pop('search', None)
                evaluation = Evaluation.from_dict(data)
            except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError,
                    ValueError):  # fmt: skip
                raise ConfigError(
                    f'line {number} of {path} was not written by a search: delete the line, or '
                    'name another folder with --work-dir.'
                ) from None
            if written_with != fingerprint:
                raise ConfigError(
                    f'line {number} of {path} is of a search with another checkpoint, config or '
                    f'data (its fingerprint is {written_with}, not {fingerprint}): name another '
                    'folder with --work-dir.'
                )
            found.append(evaluation)
        return found

    def write_to(self, path: Path) -> None:
        """Writes all evaluations to a file, and from now on each one that is added.

        Raises:
            ConfigError: If the file cannot be written.
        """
        lines = (_line(evaluation, self._fingerprint) for evaluation in self._found.values())
        replace_text(path, ''.join(lines))
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
            append_text(self._path, _line(evaluation, self._fingerprint))


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
    found = read_json(path, 'the record of the search')
    if not isinstance(found, Mapping):
        raise ConfigError(f'the record of the search {path} was not written by a search.')
    ours = json.loads(json.dumps(settings))
    for field in {**found, **ours}:
        if found.get(field) != ours.get(field):
            raise ConfigError(
                f'the search in {path.parent} cannot be resumed: its {field} is '
                f'{str(found.get(field))[:200]}, but now it is {str(ours.get(field))[:200]}.'
            )


def fingerprint_of(settings: Mapping[str, Any]) -> str:
    """A short digest of everything that the results of a search depend on.

    Args:
        settings: JSON-ready settings, which name the checkpoint, the config and the data.
    """
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def _line(evaluation: Evaluation, fingerprint: str | None) -> str:
    data = evaluation.to_dict()
    return json.dumps(data if fingerprint is None else {**data, 'search': fingerprint}) + '\n'
