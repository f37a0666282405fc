"""Everything a search is told: plain data, read from a config's `test_cfg` or a command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from sparsevit_mm.errors import ConfigError
from sparsevit_mm.pruning.schedule import DEFAULT_CHOICES
from sparsevit_mm.search.cost import MACS, MILLISECONDS
from sparsevit_mm.search.evolution import EvolutionSettings
from sparsevit_mm.search.results import Objective
from sparsevit_mm.search.split import SplitSettings


def is_loss(metric: str) -> bool:
    """Whether a metric key names a loss of the network, of which less is better."""
    return 'loss' in metric


@dataclass(frozen=True)
class BudgetSettings:
    """What a schedule may cost, and for which input.

    Attributes:
        macs: Bounds on the backbone's MACs, see `Budget.parse`; or
        latency: Bounds on its latency on this device.
        shape: Height and width of the network's input in pixels; by default what most images of
            the search come to.
        batch: Images that MACs and latency are of.
        dtype: Type of weights and images for the latency.
        compile: Mode of `torch.compile` for the blocks, None for eager.
        runs: Timed runs of every schedule.
        table: A file with a latency table measured before.

    Raises:
        ConfigError: If not exactly one of `macs` and `latency` is given.
    """

    macs: str | float | None = None
    latency: str | float | None = None
    shape: tuple[int, int] | None = None
    batch: int = 1
    dtype: str = 'float32'
    compile: str | None = None
    runs: int = 20
    table: str | None = None

    def __post_init__(self) -> None:
        if self.shape is not None:
            object.__setattr__(self, 'shape', tuple(self.shape))
        if (self.macs is None) == (self.latency is None):
            raise ConfigError(
                f'budget has macs={self.macs} and latency={self.latency}, but exactly one of them '
                "must be given, such as '0.6x' or '35ms'."
            )

    @property
    def unit(self) -> str:
        """Unit of the cost."""
        return MACS if self.latency is None else MILLISECONDS

    @property
    def bounds(self) -> str | float:
        """The one that is given."""
        return self.macs if self.latency is None else self.latency  # type: ignore[return-value]


@dataclass(frozen=True)
class SearchSettings:
    """Everything a search is told, read from a config's `test_cfg`.

    Attributes:
        metric: Key of the metric that counts, or of a loss.
        budget: What a schedule may cost.
        choices: Ratios to choose from.
        per: What gets a ratio of its own, a 'pair' of blocks or a 'block'.
        split: Which images are looked at.
        evolution: How the evolution goes.
        random_evaluations: Schedules that random search evaluates as a baseline.
        uniform: Whether schedules with one ratio everywhere are evaluated as a baseline.
        less_is_better: Whether less of the metric is better; by default if it is a loss.
        resume: Whether to go on with a search in the same folder.
        fp16: Whether to evaluate in mixed precision.
    """

    metric: str
    budget: BudgetSettings
    choices: tuple[float, ...] = DEFAULT_CHOICES
    per: str = 'pair'
    split: SplitSettings = field(default_factory=SplitSettings)
    evolution: EvolutionSettings = field(default_factory=EvolutionSettings)
    random_evaluations: int = 0
    uniform: bool = True
    less_is_better: bool | None = None
    resume: bool = False
    fp16: bool = False

    @classmethod
    def read(cls, cfg: Mapping[str, Any]) -> SearchSettings:
        """Reads the fields of a `test_cfg`, `type` left out.

        Raises:
            ConfigError: If a field is unknown, missing or out of range.
        """
        parts = {'budget': BudgetSettings, 'split': SplitSettings, 'evolution': EvolutionSettings}
        given = {key: value for key, value in cfg.items() if key != 'type'}
        for key, kind in parts.items():
            if key in given or key == 'budget':
                given[key] = _read(kind, given.get(key) or {}, f'{key}.')
        if 'choices' in given:
            given['choices'] = tuple(given['choices'])
        return _read(cls, {'metric': '', **given}, '')

    def __post_init__(self) -> None:
        if not self.metric:
            raise ConfigError(
                "metric is missing, but must name what counts, such as 'mIoU' or 'coco/segm_mAP'."
            )

    @property
    def objective(self) -> Objective:
        """The metric and its direction."""
        less = self.less_is_better
        return Objective(self.metric, is_loss(self.metric) if less is None else less)


_Settings = TypeVar('_Settings')


def _read(kind: type[_Settings], given: Mapping[str, Any], prefix: str) -> _Settings:
    """Makes settings of a mapping whose keys must be theirs."""
    known = [f.name for f in fields(kind)]  # type: ignore[arg-type]
    for key in given:
        if key not in known:
            raise ConfigError(
                f'{prefix}{key} is no setting of the search; its settings are '
                f'{", ".join(prefix + name for name in known)}.'
            )
    return kind(**given)
