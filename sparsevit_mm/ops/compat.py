"""What older versions of torch lack or call otherwise, from 2.1 on."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch


def _no() -> bool:
    return False


# torch's compiler knows these functions for what they are, but not functions around them.
is_compiling = getattr(torch.compiler, 'is_compiling', _no)
is_dynamo_compiling = getattr(torch.compiler, 'is_dynamo_compiling', _no)
is_exporting = getattr(torch.compiler, 'is_exporting', _no)


def autocast_dtype(device_type: str) -> torch.dtype | None:
    """The dtype that matrix products on a device take under autocast; None outside of it.

    Args:
        device_type: Such as 'cpu' or 'cuda'.
    """
    if hasattr(torch.amp, 'is_autocast_available'):
        available = torch.amp.is_autocast_available(device_type)
        active = available and torch.is_autocast_enabled(device_type)
        return torch.get_autocast_dtype(device_type) if active else None
    if device_type == 'cpu':
        return torch.get_autocast_cpu_dtype() if torch.is_autocast_cpu_enabled() else None
    return torch.get_autocast_gpu_dtype() if torch.is_autocast_enabled() else None


def plain_attention() -> AbstractContextManager[None]:
    """Scaled dot-product attention as two products and a softmax, whatever the device has."""
    try:
        from torch.nn.attention import SDPBackend, sdpa_kernel
    except ImportError:
        return torch.backends.cuda.sdp_kernel(enable_flash=False, enable_mem_efficient=False)
    return sdpa_kernel(SDPBackend.MATH)
