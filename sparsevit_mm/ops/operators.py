"""How functions become operators that torch's compiler takes as they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

_LIBRARY = torch.library.Library('sparsevit_mm', 'FRAGMENT')


def define(schema: str, launch: Callable[..., Any], shapes: Callable[..., Any]) -> Any:
    """Declares an operator; this form costs a few microseconds a call, `custom_op` many.

    Args:
        schema: Name, arguments and result as torch writes them.
        launch: Computes it.
        shapes: Makes what it returns without computing it, for compilers.

    Returns:
        The operator.
    """
    name = schema.partition('(')[0]
    _LIBRARY.define(schema)
    _LIBRARY.impl(name, launch, 'CompositeExplicitAutograd')
    torch.library.register_fake(f'sparsevit_mm::{name}', shapes, lib=_LIBRARY)
    return getattr(torch.ops.sparsevit_mm, name).default
