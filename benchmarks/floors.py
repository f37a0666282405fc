"""Two times no implementation can beat: what the products take, and what the memory takes.

Both rates are measured on the machine at hand, in the dtype of the work: the fastest of several
square matrix products, and a copy that no cache holds.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sparsevit_mm.ops.backend import use
from sparsevit_mm.ops.tokens import linear
from sparsevit_mm.profiling.latency import measure_latency
from sparsevit_mm.profiling.model_macs import model_macs


@dataclass(frozen=True)
class Rates:
    """What the machine does at best.

    Attributes:
        flops: Floating-point operations a second in matrix products.
        bandwidth: Bytes a second read and written by a copy.
    """

    flops: float
    bandwidth: float

    def as_dict(self) -> dict[str, float]:
        """For a JSON file."""
        return asdict(self)


@dataclass(frozen=True)
class Work:
    """What a network has to do for an image.

    Attributes:
        flops: Twice the MACs that torch counts.
        parameters: Numbers that are read once a batch.
        images: Numbers of the image and of the outputs, read or written once an image.
    """

    flops: int
    parameters: int
    images: int

    def floors(self, rates: Rates, batch: int, dtype: torch.dtype) -> dict[str, float]:
        """Milliseconds of the products and of the memory."""
        moved = (self.parameters + batch * self.images) * dtype.itemsize
        return dict(
            products=round(batch * self.flops / rates.flops * 1e3, 3),
            memory=round(moved / rates.bandwidth * 1e3, 3),
        )


def measure_rates(
    dtype: torch.dtype, device: torch.device, sides: tuple[int, ...] = (), copied: int = 0
) -> Rates:
    """Measures both rates.

    Args:
        dtype: Of the matrices.
        device: Where.
        sides: Sides of the square matrices; by default sizes that suit the device.
        copied: Bytes to copy; by default more than caches hold.
    """
    on_gpu = device.type == 'cuda'
    sides = sides or ((2048, 4096, 8192) if on_gpu else (256, 512, 1024))
    copied = copied or (2**30 if on_gpu else 2**28)

    def product(side: int, library: str) -> Any:
        layer = nn.Linear(side, side, bias=False, device=device, dtype=dtype)
        rows = torch.rand(side, side, device=device).to(dtype)

        def run() -> Tensor:
            with use(library):
                return linear(layer, rows)

        return run

    source = torch.ones(copied // 4, device=device)
    target = torch.empty_like(source)
    libraries = ['pytorch', *(['onednn'] if torch.backends.mkldnn.is_available() else [])]
    candidates = {
        f'{side} {library}': product(side, library) for side in sides for library in libraries
    }
    candidates['copy'] = lambda: target.copy_(source)
    with torch.inference_mode():
        timed = measure_latency(candidates, warmup=2, runs=10, device=device)
    # A fast run is one that nothing else on the machine held up; a clock may err about one of them.
    fastest = {name: sorted(found.runs)[1] / 1e3 for name, found in timed.items()}
    copy = fastest.pop('copy')
    return Rates(
        flops=max(2 * int(name.split()[0]) ** 3 / seconds for name, seconds in fastest.items()),
        bandwidth=2 * copied / copy,
    )


def count_work(network: nn.Module, height: int, width: int) -> Work:
    """Counts what a network must do, on the meta device where it can: nothing is computed there.

    Args:
        network: In evaluation, on a CPU.
        height: Height of the image in pixels.
        width: Width of the image in pixels.
    """
    try:
        return _count(deepcopy(network).to('meta'), torch.empty(1, 3, height, width, device='meta'))
    except (RuntimeError, NotImplementedError):
        return _count(network, torch.rand(1, 3, height, width))


def _count(network: nn.Module, image: Tensor) -> Work:
    outputs: list[Tensor] = []

    def run() -> None:
        found = network(image)
        outputs.extend([found] if isinstance(found, Tensor) else found)

    flops = 2 * model_macs(network, run).total
    return Work(
        flops,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        images=sum(tensor.numel() for tensor in (image, *outputs)),
    )
