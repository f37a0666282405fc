"""What computes: Triton's kernels, oneDNN or PyTorch, and whether a graph is being made.

The setting is one for the process. It starts as the environment variable SPARSEVIT_MM_KERNELS says,
'auto' where that is not set.

While `torch.export`, ONNX or `torch.compile` make a graph, some things are done otherwise. A graph
exported for one size holds index maps and masks as constants. A graph for any size works them out,
from sides that are symbols while it is made: a symbol has no value to branch on and no hash.
Compiled graphs always work them out: they are fused into what reads them.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar, cast

import torch
from torch import Tensor, nn

from sparsevit_mm.errors import ConfigError
from sparsevit_mm.ops.compat import is_compiling, is_dynamo_compiling, is_exporting

if TYPE_CHECKING:
    from sparsevit_mm.ops.windows import WindowGrid

_Function = TypeVar('_Function', bound=Callable[..., Any])
_Module = TypeVar('_Module', bound=nn.Module)

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
        kernels: 'auto': Triton's kernels on a GPU where Triton is installed and they agree with
            PyTorch there (`ops.triton.trust`), oneDNN's matrix products in float32 on AMD's
            processors with AVX-512; 'triton': Triton's kernels without that comparison, and on a
            CPU too where TRITON_INTERPRET=1 runs them in Triton's interpreter, which is slow
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
                f"kernels is {kernels!r}, but must be 'auto', 'triton', 'onednn' or 'pytorch'."
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


def use_triton(tokens: Tensor) -> bool:
    """Whether Triton's kernels compute what follows from these activations.

    They have no gradient and take no part in exported graphs.

    Args:
        tokens: Activations on the device and in the dtype of the work.
    """
    if _choice not in ('auto', 'triton') or not HAS_TRITON or tokens.dtype not in DTYPES:
        return False
    if torch.is_grad_enabled() or is_exporting() or torch.jit.is_tracing():
        return False
    return tokens.is_cuda or (_interprets and tokens.device.type == 'cpu')


def interprets() -> bool:
    """Whether Triton's kernels can run on a CPU, in Triton's interpreter."""
    return HAS_TRITON and os.environ.get('TRITON_INTERPRET') == '1'


def takes_kernels_on_faith() -> bool:
    """Whether Triton's kernels run without being compared with PyTorch first."""
    return _choice == 'triton'


def use_onednn(rows: Tensor) -> bool:
    """Whether oneDNN multiplies these rows with a weight.

    Its operator has no gradient and takes no part in exported graphs. Off under a
    TorchDispatchMode such as FlopCounterMode, which knows only aten operators.

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


def use_chunks(tokens: Tensor) -> bool:
    """Whether token-wise layers are computed chunk by chunk: in inference on a CPU.

    A chunk stays in the cache from one layer to the next and its memory is used again for the next
    one, while every new tensor of a map's size is memory that the system hands out page by page.

    Args:
        tokens: (T, ...) what is cut.
    """
    return (
        tokens.device.type == 'cpu'
        and tokens.numel() > 0
        and not torch.is_grad_enabled()
        and autocast_dtype('cpu') is None
        and not in_graph()
    )


def chunk_bytes(bytes_of_a_thread: int) -> int:
    """Bytes of a chunk that the threads of a CPU compute together, each its part in its own cache.

    Args:
        bytes_of_a_thread: What the cache of a core holds.
    """
    return bytes_of_a_thread * torch.get_num_threads()


def is_plain(module: nn.Module, kind: type[_Module]) -> TypeGuard[_Module]:
    """Whether calling a module does what its class does, and nothing else.

    A kernel may then take its place. Hooks, adapters, parametrizations and pruning masks of others
    make it do more.

    Args:
        module: The module.
        kind: The class that a kernel stands for.
    """
    if type(module) is not kind or 'forward' in module.__dict__:
        return False
    return is_compiling() or not any(
        (
            module._forward_hooks,
            module._forward_pre_hooks,
            _GLOBAL._global_forward_hooks,
            _GLOBAL._global_forward_pre_hooks,
        )
    )


_GLOBAL = torch.nn.modules.module


def in_graph() -> bool:
    """Whether a compiler or an exporter, which arranges the work itself, watches the code."""
    return is_compiling() or torch.jit.is_tracing()


def thread_id() -> int:
    """Names the thread that computes; the same for all while a graph is made."""
    return 0 if in_graph() else threading.get_ident()


def is_symbolic(*sides: Any) -> bool:
    """Whether any of these stands for all sizes."""
    return any(isinstance(side, torch.SymInt) for side in sides)


def is_certain(condition: bool) -> bool:
    """Whether a condition on sides holds for all sizes that the graph being made is for.

    Outside of compilers and exporters it is the condition; asking it of symbols would make them
    assume the answer.
    """
    if not is_compiling():
        return condition
    from torch.fx.experimental.symbolic_shapes import statically_known_true

    return statically_known_true(condition)


def cached_by_grid(maxsize: int) -> Callable[[_Function], _Function]:
    """Remembers what follows from a `WindowGrid`, the first argument, unless it is compiled.

    What is remembered is made outside inference mode, because a grid first seen in inference may be
    used in training later.

    Args:
        maxsize: Results to remember: a few grids a stage for the sizes in use.
    """

    def decorate(function: _Function) -> _Function:
        cached = functools.lru_cache(maxsize)(torch.inference_mode(False)(function))

        @functools.wraps(function)
        def remembered(grid: WindowGrid, *args: Any) -> Any:
            # A batch of any size is a symbol too, which has no hash.
            sides = grid.height, grid.width, *args
            if is_dynamo_compiling() or any(isinstance(side, torch.SymInt) for side in sides):
                return function(grid, *args)
            return cached(grid, *args)

        return cast(_Function, remembered)

    return decorate


def autocast_dtype(device_type: str) -> torch.dtype | None:
    """The dtype that matrix products on a device take under autocast; None outside of it.

    Args:
        device_type: Such as 'cpu' or 'cuda'.
    """
    if hasattr(torch.amp, 'is_autocast_available'):
        # Of what is always there, the compiler of torch 2.11 cannot be asked.
        available = device_type in ('cpu', 'cuda') or torch.amp.is_autocast_available(device_type)
        active = available and torch.is_autocast_enabled(device_type)
        return torch.get_autocast_dtype(device_type) if active else None
    if device_type == 'cpu':
        return torch.get_autocast_cpu_dtype() if torch.is_autocast_cpu_enabled() else None
    return torch.get_autocast_gpu_dtype() if torch.is_autocast_enabled() else None


use(os.environ.get(VARIABLE, 'auto'))
