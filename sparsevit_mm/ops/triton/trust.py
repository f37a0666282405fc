"""A kernel earns its trust on the GPU at hand: before its first use it is compared with PyTorch.

The comparison takes small random inputs that compile the same kernel, once a process for each
combination of device, dtypes, channels and window. A kernel that computes something else, does not
compile or does not start is left alone from then on, with one warning, and PyTorch takes its place.

With `backend.use('triton')` kernels run without all this, and their errors are raised.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from sparsevit_mm.ops import backend
from sparsevit_mm.ops.windows import WindowGrid, Windows

TOLERANCE = {torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 6e-2}
_TF32 = 1e-2
"""Tolerance in float32 where PyTorch's own products may take tf32."""

Function = Callable[..., Any]


class Trusted:
    """Computes an operator by its kernel if that agrees with PyTorch, else by PyTorch.

    Args:
        name: Of the kernel, for the warning.
        launch: Computes by the kernel.
        plain: Computes the same with PyTorch, without waiting for the device.
        sample: Makes small random arguments of the class of those it is given, the same ones at
            each call.
        is_meant: Whether the kernel is meant for arguments; by default for all.

    Attributes:
        failure: Why the kernel is not used any more; None while it may be.
    """

    def __init__(
        self,
        name: str,
        launch: Function,
        plain: Function,
        sample: Function,
        is_meant: Callable[..., bool] = lambda *args: True,
    ) -> None:
        self._name, self._launch, self._plain = name, launch, plain
        self._sample, self._is_meant = sample, is_meant
        self._trusted: dict[Any, bool] = {}
        self.failure: str | None = None

    def __call__(self, *args: Any) -> Any:
        """Computes the operator."""
        with _on_device_of(args[0]):
            if backend.takes_kernels_on_faith():
                return self._launch(*args)
            if not self.check(*args):
                return self._plain(*args)
            try:
                return self._launch(*args)
            except torch.cuda.OutOfMemoryError:
                raise
            except Exception as error:  # such as one of the compiler, for other alignments
                self._give_up(error)
                return self._plain(*args)

    def check(self, *args: Any) -> bool:
        """Whether the kernel is trusted with arguments, after a comparison if they are new."""
        if self.failure is not None:
            return False
        key = _class_of(args)
        trusted = self._trusted.get(key)
        if trusted is None:
            if args[0].is_cuda and torch.cuda.is_current_stream_capturing():
                return (
                    False  # a graph must not hold the comparison, so it holds PyTorch's operators
                )
            trusted = self._is_meant(*args) and self._agrees(args)
            self._trusted[key] = trusted
        return trusted

    def _agrees(self, args: tuple[Any, ...]) -> bool:
        try:
            with torch.no_grad():
                found = _outputs(self._launch, self._sample(*args))
                # On the CPU: nothing of the comparison stays in memory that a graph may own.
                expected = _outputs(self._plain, [_on_cpu(arg) for arg in self._sample(*args)])
                agree = all(map(_same, found, expected))
        except torch.cuda.OutOfMemoryError:
            raise
        except Exception as error:  # of Triton's compiler, the assembler, the driver
            self._give_up(error)
            return False
        if not agree:
            self._give_up('its results differ from those of PyTorch')
        return agree

    def _give_up(self, reason: Exception | str) -> None:
        if self.failure is not None:
            return
        if isinstance(reason, Exception):
            first = (str(reason).strip() or 'no message').splitlines()[0]
            reason = f'{type(reason).__name__}: {first}'
        self.failure = reason
        warnings.warn(
            f'The Triton kernel {self._name} is not used on this device, PyTorch computes instead: '
            f'{reason}. Please report this with what `python -m sparsevit_mm.env` prints; '
            f'{backend.VARIABLE}=pytorch turns all kernels off.',
            stacklevel=2,
        )


def random_like(tensor: Tensor, *shape: int) -> Tensor:
    """Random numbers on the device and in the dtype of a tensor, the same for the same shape."""
    generator = torch.Generator().manual_seed(len(shape) + sum(shape))
    return torch.randn(shape, generator=generator).to(tensor)


def small_windows(
    tokens: Tensor, kept: Tensor | None, windows: list[int]
) -> tuple[Tensor, Tensor | None, list[int]]:
    """A small map with padding and windows in it, for the same kernel as those of an operator.

    Args:
        tokens: (B * H * W, C) the map.
        kept: (W,) the chosen windows, or None.
        windows: See `operators.windows_arguments`.

    Returns:
        A map of 2 images of 2 x 2 windows, chosen windows if some were, and `windows` for them.
    """
    size, shift = windows[2:4]
    height, width = 2 * size - 1, size + 1
    small = random_like(tokens, 2 * height * width, tokens.shape[1])
    chosen = None if kept is None else torch.tensor([1, 3, 4, 6, 7], device=kept.device)
    return small, chosen, [height, width, size, shift, 8 if chosen is None else len(chosen)]


def windows_of(tokens: Tensor, kept: Tensor | None, windows: list[int]) -> Windows:
    """The windows that the arguments of an operator describe; they are those of `small_windows`."""
    height, width, size, shift, _ = windows
    grid = WindowGrid(height, width, size, shift)
    return Windows.locate(grid, len(tokens) // (height * width), kept, tokens.device)


def _class_of(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """What decides which kernel is compiled; sizes of maps and numbers of windows do not."""
    found: list[Any] = [torch.get_float32_matmul_precision()]
    for argument in args:
        if isinstance(argument, Tensor):
            layout = argument.dtype, argument.size(-1), argument.stride(0)
            found.append((argument.get_device(), *layout))
        else:
            found.append(tuple(argument[2:4]) if isinstance(argument, list) else argument)
    return tuple(found)


def _on_cpu(argument: Any) -> Any:
    if not isinstance(argument, Tensor):
        return argument
    return argument.cpu().float() if argument.is_floating_point() else argument.cpu()


def _outputs(function: Function, args: Sequence[Any]) -> tuple[Tensor, ...]:
    out = function(*args)
    if out is None:  # written into the first argument
        out = args[0]
    return out if isinstance(out, tuple) else (out,)


def _same(found: Tensor, expected: Tensor) -> bool:
    tolerance = TOLERANCE[found.dtype]
    if found.dtype == torch.float32 and torch.get_float32_matmul_precision() != 'highest':
        tolerance = _TF32
    found, expected = found.cpu().float(), expected.float()
    return bool(((found - expected).abs() <= tolerance * (1 + expected.abs())).all())


def _on_device_of(tensor: Tensor) -> contextlib.AbstractContextManager[Any]:
    """Triton launches on the current device, which need not be that of the tensors."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else contextlib.nullcontext()
