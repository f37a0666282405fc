"""Keeps options of a built backbone from being set where setting them would change nothing.

Python takes any attribute: `backbone.pruning_ratio = 0.8` would be kept, read by nobody, and a
dense model taken for a sparse one.
"""

from __future__ import annotations

import difflib
import inspect
from abc import ABCMeta
from functools import cache
from typing import Any

from mmengine.model import BaseModule
from torch import nn

from sparsevit_mm.errors import ConfigError

_SCHEDULE_NAMES = ('pruning_ratios', 'pruning_schedule')
_SCHEDULE_WORDS = ('pruning', 'ratio', 'ratios', 'schedule')
_SIMILAR = 0.8  # of 1


class _MarksBuilt(ABCMeta):
    """Notes when the outermost constructor has ended."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        network = super().__call__(*args, **kwargs)
        network._is_built = True
        return network


class FixedOptions(BaseModule, metaclass=_MarksBuilt):
    """A network whose options, once it is built, can be set only where that has an effect.

    Subclasses list in `changeable_options` which arguments of their constructor they also read
    later. Setting another one, or a name that is nearly one, raises an error. All other attributes
    can be set as on any module.
    """

    changeable_options: tuple[str, ...] = ('frozen_stages', 'init_cfg', 'out_indices')
    """Arguments of the constructor that may be set on the built network."""

    def __setattr__(self, name: str, value: Any) -> None:
        if '_is_built' in self.__dict__ and not name.startswith('_'):
            self._check_attribute(name, value)
        super().__setattr__(name, value)

    def _check_attribute(self, name: str, value: Any) -> None:
        kind = type(self)
        if name == 'frozen_stages' and value < getattr(self, name, value):
            raise ConfigError(
                f'frozen_stages of a built {kind.__name__} is set to {value}, but must be at least '
                f'{getattr(self, name)}, because what is frozen stays so: build it anew to train '
                'more of it.'
            )
        if name in self.changeable_options or isinstance(value, nn.Module):
            return
        options = _options(kind)
        if name in options:
            raise ConfigError(
                f'{name} of a built {kind.__name__} is set to {value!r}, but must be given when it '
                'is built, because it is read only then.'
            )
        if hasattr(self, name):
            return
        near = 'pruning_ratios' if name in _SCHEDULE_WORDS else _nearest(name, options)
        if near is None:
            return
        raise ConfigError(
            f'{name} of a {kind.__name__} is set to {value!r}, but must be an attribute that it '
            f'has; the nearest is {near}.'
        )


@cache
def _options(kind: type) -> frozenset[str]:
    """Names of the arguments of the constructors of a class and of those it inherits from."""
    names: set[str] = set()
    for owner in kind.__mro__:
        if (
            owner is not FixedOptions
            and issubclass(owner, FixedOptions)
            and '__init__' in vars(owner)
        ):
            parameters = inspect.signature(owner.__init__).parameters.values()
            names |= {p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
    return frozenset(names - {'self'})


def _nearest(name: str, options: frozenset[str]) -> str | None:
    """The option, or the schedule, that a name is nearly."""
    known = sorted({*options, *_SCHEDULE_NAMES})
    found = difflib.get_close_matches(name, known, n=1, cutoff=_SIMILAR)
    return found[0] if found else None
