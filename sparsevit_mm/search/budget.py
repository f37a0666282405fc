"""The cost a schedule may have: bounds in milliseconds or MACs, absolute or relative to dense."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sparsevit_mm.errors import ConfigError
from sparsevit_mm.search.cost import MACS, AdditiveCost, show_cost
from sparsevit_mm.search.space import SearchSpace

_FACTORS = {'': 1.0, 'K': 1e3, 'M': 1e6, 'G': 1e9, 'T': 1e12}
_NUMBER = r'(\d+\.?\d*(?:e[+-]?\d+)?|\.\d+)'
_EXAMPLES = {MACS: "'0.6x', '29G' or '0.55x..0.6x'", 'ms': "'0.6x', '35ms' or '30ms..35ms'"}


@dataclass(frozen=True)
class Budget:
    """An interval of allowed costs, ends included.

    Attributes:
        lower: Lowest allowed cost.
        upper: Highest allowed cost.
        unit: Unit of both, `MACS` or `MILLISECONDS`.
    """

    lower: float
    upper: float
    unit: str

    @classmethod
    def parse(cls, text: str | float, unit: str, dense: float) -> Budget:
        """Reads a budget such as '0.6x', '35ms' or '29G..35G'.

        Args:
            text: An upper bound, or lower and upper bound with `..` between them. A bound is a
                share of the dense cost ('0.6x'), milliseconds ('35ms', '35') or MACs ('29G',
                '29e9').
            unit: Unit of the cost.
            dense: Cost of the dense network, which `x` refers to.

        Raises:
            ConfigError: If a bound cannot be read or is not positive, or the bounds are in the
                wrong order.
        """
        bounds = [_bound(part, unit, dense) for part in str(text).split('..')]
        field = 'macs' if unit == MACS else 'latency'
        if len(bounds) > 2 or None in bounds:
            raise ConfigError(
                f'{field} is {text!r}, but must be a bound or a range such as {_EXAMPLES[unit]}.'
            )
        upper, lower = bounds[-1] or 0.0, (bounds[0] or 0.0) if len(bounds) == 2 else 0.0
        if not 0 <= lower <= upper or upper == 0:
            raise ConfigError(
                f'{field} is {text!r}, but must have positive bounds, the lower one first.'
            )
        return cls(lower, upper, unit)

    def __contains__(self, cost: float) -> bool:
        return self.lower <= cost <= self.upper

    def __str__(self) -> str:
        upper = f'at most {show_cost(self.upper, self.unit)}'
        if self.lower == 0:
            return upper
        return f'{show_cost(self.lower, self.unit)} to {show_cost(self.upper, self.unit)}'

    def check_reachable(
        self, cost: AdditiveCost, space: SearchSpace, of: str | None = None
    ) -> None:
        """Checks that the budget overlaps what the schedules of a space cost.

        Args:
            cost: Prices the schedules.
            space: The schedules.
            of: What the cost is of, for the error: 'model' or 'backbone'.

        Raises:
            ConfigError: If every schedule costs more, or every schedule costs less.
        """
        low, high = cost.reachable(space)
        if self.upper < low or high < self.lower:
            raise ConfigError(
                f'the budget of {self}{f" for the {of}" if of else ""} cannot be met: the '
                f'schedules of this network and these choices cost {cost.show(low)} to '
                f'{cost.show(high)}.'
            )


def _bound(text: str, unit: str, dense: float) -> float | None:
    """Reads a bound in the given unit; None if it cannot be read."""
    text = text.strip()
    relative = re.fullmatch(_NUMBER + 'x', text)
    if relative:
        return float(relative[1]) * dense
    pattern = r'\s*([KMGT]?)(?:MACs?)?' if unit == MACS else r'\s*()(?:ms)?'
    absolute = re.fullmatch(_NUMBER + pattern, text)
    return float(absolute[1]) * _FACTORS[absolute[2]] if absolute else None
