"""The number of proposals that a two-stage detector hands to its second stage."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any

from torch import nn

from sparsevit_mm.errors import ConfigError


class Proposals:
    """The number of proposals of a built model, which a schedule may change.

    Args:
        model: Any model; one without an RPN has no such number.
    """

    def __init__(self, model: nn.Module) -> None:
        heads: list[Any] = [part.rpn_head for part in model.modules() if hasattr(part, 'rpn_head')]
        self._own = [
            (head, head.test_cfg)
            for head in heads
            if 'max_per_img' in (getattr(head, 'test_cfg', None) or {})
        ]
        self._name = type(model).__name__

    def check(self, numbers: Sequence[int]) -> None:
        """Checks that the model has proposals if any number of them is wanted.

        Raises:
            ConfigError: If it has none.
        """
        if numbers and not self._own:
            raise ConfigError(
                f'proposals is {", ".join(map(str, numbers))}, but must be left out: the model '
                f'{self._name} has no RPN whose proposals could be fewer.'
            )

    def use(self, number: int | None) -> None:
        """Takes another number of proposals of each image, or again the model's own.

        Args:
            number: The number; None for the model's own. Without an RPN it changes nothing.
        """
        for head, own in self._own:
            chosen: Any = copy(own)
            if number is not None:
                chosen['max_per_img'] = number
            head.test_cfg = chosen
