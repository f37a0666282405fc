"""Settings of a search, as read from the `test_cfg` of a config or from a command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from sparsevit_mm.errors import ConfigError
from sparsevit_mm.pruning.importance import check_importance_name
from sparsevit_mm.pruning.schedule import DEFAULT_CHOICES, check_proposals, check_scale
from sparsevit_mm.search.cost import MACS, MILLISECONDS, MODEL, PARTS
from sparsevit_mm.search.evolution import EvolutionSettings
from sparsevit_mm.search.results import Objective
from sparsevit_mm.search.split import SplitSettings


def is_loss(metric: str) -> bool:
    """Whether a metric key names a loss of the network, for which lower is better."""
    return 'loss' in metric


@dataclass(frozen=True)
class BudgetSettings:
    """Allowed costs of a schedule, and the input they refer to.

    Attributes:
        macs: Bounds on the MACs, see `Budget.parse`.
        latency: Bounds on the latency on this device, instead of `macs`.
        of: What they bound: the whole 'model', from the batch to the predictions on images of the
            validation set, or the 'backbone' alone, as in the papers.
        shape: Height and width of the network's input in pixels; by default the most frequent one
            of the images of the search.
        batch: Number of images that MACs and latency refer to.
        dtype: Type of weights and images for the latency.
        compile: Mode of `torch.compile` for the blocks; None for eager.
        runs: Number of timed runs of every schedule.
        table: A file with a latency table that was measured before.

    Raises:
        ConfigError: If not exactly one of `macs` and `latency` is given, or `of` is unknown.
    """

    macs: str | float | None = None
    latency: str | float | None = None
    of: str = MODEL
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
        if self.of not in PARTS:
            raise ConfigError(f"budget.of is {self.of!r}, but must be 'model' or 'backbone'.")

    @property
    def unit(self) -> str:
        """Unit of the cost."""
        return MACS if self.latency is None else MILLISECONDS

    @property
    def bounds(self) -> str | float:
        """The bounds that are given, `macs` or `latency`."""
        return self.macs if self.latency is None else self.latency  # type: ignore[return-value]


@dataclass(frozen=True)
class SearchSettings:
    """All settings of a search, as given in the `test_cfg` of a config.

    Attributes:
        metric: Key of the metric, or of a loss, that is optimized.
        budget: Allowed costs of a schedule.
        choices: Ratios to choose from.
        per: What gets a ratio of its own, a 'pair' of blocks or a 'block'.
        importances: Names of what windows are ranked by to choose from; None leaves that to the
            backbone.
        scales: Input scales to choose from, over that of the config's pipelines.
        proposals: Numbers of proposals of a two-stage detector to choose from; None leaves that to
            the config.
        split: Images of the search.
        evolution: Sizes, probabilities and limits of the evolution.
        random_evaluations: Schedules that random search evaluates as a baseline.
        uniform: Whether schedules with one ratio everywhere are evaluated as a baseline.
        less_is_better: Whether lower values of the metric are better; by default only for a loss.
        resume: Whether to resume an interrupted search in the same folder.
        fp16: Whether to evaluate in mixed precision.
    """

    metric: str
    budget: BudgetSettings
    choices: tuple[float, ...] = DEFAULT_CHOICES
    per: str = 'pair'
    importances: tuple[str, ...] | None = None
    scales: tuple[float, ...] = (1.0,)
    proposals: tuple[int, ...] | None = None
    split: SplitSettings = field(default_factory=SplitSettings)
    evolution: EvolutionSettings = field(default_factory=EvolutionSettings)
    random_evaluations: int = 0
    uniform: bool = True
    less_is_better: bool | None = None
    resume: bool = False
    fp16: bool = False

    @classmethod
    def read(cls, cfg: Mapping[str, Any]) -> SearchSettings:
        """Reads the fields of a `test_cfg`; its `type` is ignored.

        Args:
            cfg: The settings, with those of `budget`, `split` and `evolution` as nested dicts.

        Raises:
            ConfigError: If a field is unknown, missing or out of range.
        """
        parts = {'budget': BudgetSettings, 'split': SplitSettings, 'evolution': EvolutionSettings}
        given = {key: value for key, value in cfg.items() if key != 'type'}
        for key, kind in parts.items():
            if key in given or key == 'budget':
                given[key] = _read(kind, given.get(key) or {}, f'{key}.')
        for key in ('choices', 'importances', 'scales', 'proposals'):
            if given.get(key) is not None:
                given[key] = tuple(given[key])
        return _read(cls, {'metric': '', **given}, '')

    def __post_init__(self) -> None:
        for name in self.importances or ():
            check_importance_name(name)
        for scale in self.scales:
            check_scale(scale)
        for number in self.proposals or ():
            check_proposals(number)
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
    """Makes settings from a mapping and refuses keys that they do not have."""
    known = [f.name for f in fields(kind)]  # type: ignore[arg-type]
    for key in given:
        if key not in known:
            raise ConfigError(
                f'{prefix}{key} is no setting of the search; its settings are '
                f'{", ".join(prefix + name for name in known)}.'
            )
    return kind(**given)
