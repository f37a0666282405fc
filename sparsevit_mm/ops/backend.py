"""Kernels, oneDNN or PyTorch's choice of operators: one setting for the process.

It starts as the environment variable SPARSEVIT_MM_KERNELS says, 'auto' where that is not set.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
from pathlib import Path
from types import TracebackType

import torch
from torch import Tensor

from sparsevit_mm.errors import ConfigError
from sparsevit_mm.ops.compat import autocast_dtype, is_compiling, is_exporting

KERNELS = ('auto', 'triton', 'onednn', 'pytorch')
VARIABLE = 'SPARSEVIT_MM_KERNELS'
DTYPES = (torch.float32, torch.float16, torch.bfloat16)

# Operators are declared with functions of torch 2.4.
CAN_DEFINE = hasattr(torch.library, 'register_fake')
HAS_TRITON = CAN_DEFINE and importlib.util.find_spec('triton') is not None

HAS_ONEDNN = (
    CAN_DEFINE
    and torch.backends.mkldnn.is_available()
    and hasattr(torch.ops.mkldnn, '_linear_pointwise')
)


def _made_by() -> str:
    """Who made this processor, as Linux has it; '' elsewhere."""
    path = Path('/proc/cpuinfo')
    if path.exists():
        with path.open() as lines:
            for line in lines:
                if line.startswith('vendor_id'):
                    return line.split(':')[1].strip()
    return ''


_MKL_IS_SLOW = _made_by() == 'AuthenticAMD' and torch.backends.cpu.get_cpu_capability() == 'AVX512'
"""MKL's products leave the AVX-512 units of AMD's processors idle."""

_choice = 'auto'
_interprets = False


class use(contextlib.ContextDecorator):
    """Chooses what computes windows in inference.

    The choice holds from the call on; as a context manager it ends with the block.

    Args:
        kernels: 'auto': Triton's kernels on a GPU where Triton is installed, oneDNN's matrix
            products in float32 on AMD's processors with AVX-512; 'triton': Triton's kernels, and
            on a CPU too where TRITON_INTERPRET=1 runs them in Triton's interpreter, which is slow
            and meant for tests; 'onednn': oneDNN's products on any CPU; 'pytorch': whatever
            PyTorch takes.

    Raises:
        ConfigError: If the name is unknown, or what is asked for cannot run.

    Examples:
        >>> with use('pytorch'):
        ...     maps = backbone(images)
    """

    def __init__(self, kernels: str) -> None:
        global _choice, _interprets
        if kernels not in KERNELS:
            raise ConfigError(
                f"kernels is {kernels!r}, but it must be 'auto', 'triton', 'onednn' or 'pytorch'."
            )
        if kernels == 'onednn' and not HAS_ONEDNN:
            raise ConfigError(
                "kernels is 'onednn', but torch was built without oneDNN or is older than 2.4."
            )
        interprets = kernels == 'triton' and os.environ.get('TRITON_INTERPRET') == '1'
        if kernels == 'triton' and not HAS_TRITON:
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
    if _choice not in ('auto', 'triton') or not HAS_TRITON or tokens.dtype not in DTYPES:
        return False
    if torch.is_grad_enabled() or is_exporting() or torch.jit.is_tracing():
        return False
    return tokens.is_cuda or (_interprets and tokens.device.type == 'cpu')


def run_onednn(rows: Tensor) -> bool:
    """Whether oneDNN multiplies these rows with a weight.

    Its operator has no gradient and takes no part in exported graphs. Whoever watches operators, as
    torch's counter of operations does, knows those of PyTorch.

    Args:
        rows: Activations on the device and in the dtype of the work.
    """
    if not HAS_ONEDNN or not (_choice == 'onednn' or (_choice == 'auto' and _MKL_IS_SLOW)):
        return False
    if torch.is_grad_enabled() or is_exporting() or torch.jit.is_tracing():
        return False
    if not is_compiling() and torch._C._len_torch_dispatch_stack():
        return False
    return (
        rows.device.type == 'cpu' and rows.dtype == torch.float32 and autocast_dtype('cpu') is None
    )


use(os.environ.get(VARIABLE, 'auto'))
