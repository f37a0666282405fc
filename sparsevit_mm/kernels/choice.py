"""Kernels or PyTorch's operators: one setting for the process.

It starts as the environment variable SPARSEVIT_MM_KERNELS says, 'auto' where that is not set.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
from types import TracebackType

import torch
from torch import Tensor

from sparsevit_mm.errors import ConfigError
from sparsevit_mm.layers.exporting import is_exporting

KERNELS = ('auto', 'triton', 'pytorch')
VARIABLE = 'SPARSEVIT_MM_KERNELS'
DTYPES = (torch.float32, torch.float16, torch.bfloat16)

# Operators are declared with functions of torch 2.4.
_HAS_TRITON = importlib.util.find_spec('triton') is not None and hasattr(
    torch.library, 'register_fake'
)

_choice = 'auto'
_interprets = False


class use(contextlib.ContextDecorator):
    """Chooses what computes window attention and what surrounds it in inference.

    The choice holds from the call on; as a context manager it ends with the block.

    Args:
        kernels: 'auto': Triton's kernels on a GPU where Triton is installed; 'triton': the same,
            and on a CPU too where TRITON_INTERPRET=1 runs them in Triton's interpreter, which is
            slow and meant for tests; 'pytorch': PyTorch's operators.

    Raises:
        ConfigError: If the name is unknown, or 'triton' is asked for and cannot run.

    Examples:
        >>> with use('pytorch'):
        ...     maps = backbone(images)
    """

    def __init__(self, kernels: str) -> None:
        global _choice, _interprets
        if kernels not in KERNELS:
            raise ConfigError(
                f"kernels is {kernels!r}, but it must be 'auto', 'triton' or 'pytorch'."
            )
        interprets = kernels == 'triton' and os.environ.get('TRITON_INTERPRET') == '1'
        if kernels == 'triton' and not _HAS_TRITON:
            raise ConfigError(
                "kernels is 'triton', but Triton is not installed or torch is older than 2.4."
            )
        if kernels == 'triton' and not (interprets or torch.cuda.is_available()):
            raise ConfigError(
                "kernels is 'triton', but there is no GPU and TRITON_INTERPRET is not 1."
            )
        self._before = _choice, _interprets
        _choice, _interprets = kernels, interprets

    def __enter__(self) -> use:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        global _choice, _interprets
        _choice, _interprets = self._before


def run_kernels(tokens: Tensor) -> bool:
    """Whether kernels compute what follows from these activations.

    They have no gradient and take no part in exported graphs.

    Args:
        tokens: Activations on the device and in the dtype of the work.
    """
    if _choice == 'pytorch' or not _HAS_TRITON or tokens.dtype not in DTYPES:
        return False
    if torch.is_grad_enabled() or is_exporting() or torch.jit.is_tracing():
        return False
    return tokens.is_cuda or (_interprets and tokens.device.type == 'cpu')


use(os.environ.get(VARIABLE, 'auto'))
