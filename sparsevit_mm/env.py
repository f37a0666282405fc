"""Says what computes here: versions, the device, and whether the kernels agree with PyTorch on it.

python -m sparsevit_mm.env
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import warnings

import torch

from sparsevit_mm.ops import backend
from sparsevit_mm.ops.windows import WindowGrid, Windows
from sparsevit_mm.versions import SUPPORTED

KERNELS = ('gather_norm', 'residual_norm', 'residual_scatter', 'window_attention')


def describe() -> dict[str, str]:
    """The setting, the device and the versions of what is installed."""
    found = {
        'kernels': f'{os.environ.get(backend.VARIABLE, "auto")} ({backend.VARIABLE})',
        'device': torch.cuda.get_device_name() if torch.cuda.is_available() else 'no GPU',
        'python': platform.python_version(),
    }
    packages = ['sparsevit_mm', 'triton', *(package for package, *_ in SUPPORTED.values())]
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = 'not installed'
    found['torch'] = torch.__version__  # with what it was built for
    if torch.cuda.is_available():
        capability = '.'.join(map(str, torch.cuda.get_device_capability()))
        found['cuda'] = f'{torch.version.cuda or torch.version.hip}, capability {capability}'
    return found


def check_kernels(device: torch.device, dtype: torch.dtype) -> dict[str, str]:
    """Lets every Triton kernel prove itself, as at its first use.

    Args:
        device: A GPU, or a CPU where Triton interprets the kernels.
        dtype: Of the activations.

    Returns:
        For each kernel 'agrees with PyTorch' or why PyTorch computes in its place.
    """
    found = {}
    for name in KERNELS:
        kernel = importlib.import_module(f'sparsevit_mm.ops.triton.{name}').TRUST
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            agrees = kernel.check(*_arguments(name, device, dtype))
        found[name] = (
            'agrees with PyTorch' if agrees else kernel.failure or 'PyTorch is faster here'
        )
    return found


def _arguments(name: str, device: torch.device, dtype: torch.dtype) -> tuple[object, ...]:
    """Arguments of an operator as SparseViT-T's first stage calls it."""
    from sparsevit_mm.ops.triton.operators import windows_arguments

    tokens = torch.zeros(14 * 14, 96, device=device, dtype=dtype)
    chosen = torch.arange(2, device=device)
    located = windows_arguments(Windows.locate(WindowGrid(14, 14, 7, 3), 1, chosen, device))
    own, weight = tokens.new_zeros(2, 49, 96), tokens.new_zeros(96)
    arguments: dict[str, tuple[object, ...]] = {
        'gather_norm': (tokens, *located, weight, weight, 1e-5, True, dtype),
        'residual_norm': (tokens, own, None, *located, weight, weight, 1e-5, dtype),
        'residual_scatter': (tokens, own, own, *located),
        'window_attention': (
            *(tokens.new_zeros(2, 49, 288), 3, tokens.new_zeros(3, 49, 49)),
            *(tokens.new_zeros(4, 49, 49), chosen, 32**-0.5),
        ),
    }
    return arguments[name]


def main() -> None:
    """Prints everything, a line each."""
    lines = describe()
    if not backend.HAS_TRITON:
        lines['Triton kernels'] = 'not used: Triton is not installed or torch is older than 2.4'
    elif not torch.cuda.is_available():
        lines['Triton kernels'] = 'not used: no GPU'
    else:
        for dtype in backend.DTYPES:
            checked = check_kernels(torch.device('cuda'), dtype)
            lines |= {f'{name}, {str(dtype)[6:]}': state for name, state in checked.items()}
    width = max(map(len, lines))
    for name, value in lines.items():
        print(f'{name:{width}}  {value}')


if __name__ == '__main__':
    main()
