"""What older versions of torch, from 2.1 on, lack or call otherwise."""

from __future__ import annotations

from contextlib import AbstractContextManager
from importlib.util import find_spec

import torch


def _no() -> bool:
    return False


# torch's compiler knows these functions for what they are, but not functions around them.
is_compiling = getattr(torch.compiler, 'is_compiling', _no)
is_dynamo_compiling = getattr(torch.compiler, 'is_dynamo_compiling', _no)
is_exporting = getattr(torch.compiler, 'is_exporting', _no)

if is_exporting is not _no and torch.__version__ < '2.13':
    # The compiler of torch 2.11 takes the question whether a graph is exported for a yes.
    def is_exporting() -> bool:
        """Whether a graph is exported, rather than compiled."""
        return torch.compiler.is_exporting() and not torch.compiler.is_dynamo_compiling()


def can_compile() -> bool:
    """Whether torch's compiler takes the backbones: they must see that it looks at them."""
    return is_compiling is not _no


def can_export() -> bool:
    """Whether `torch.export` can be told that a side of a map may be 1."""
    if find_spec('torch.fx.experimental._config') is None:
        return False
    from torch.fx.experimental import _config

    return hasattr(_config, 'backed_size_oblivious')


def plain_attention() -> AbstractContextManager[None]:
    """Scaled dot-product attention as two products and a softmax, whatever the device has."""
    try:
        from torch.nn.attention import SDPBackend, sdpa_kernel
    except ImportError:
        return torch.backends.cuda.sdp_kernel(enable_flash=False, enable_mem_efficient=False)
    return sdpa_kernel(SDPBackend.MATH)
