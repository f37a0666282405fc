"""Counts what a forward pass asks of a GPU, and lower bounds of its time; nothing is measured.

The network runs on tensors that have shapes and no values, as if on a GPU, with the package's
kernels. Every operator that a GPU would be given is counted: its launch, its floating-point
operations, and the bytes that it reads and writes, each tensor once. Rates of the GPUs are those of
data sheets. It needs no GPU, but a PyTorch built with CUDA, as pip installs it on Linux.

    python -m benchmarks.counted --out benchmarks/results/counted.json
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten
from torch.utils.flop_counter import flop_registry

from benchmarks.floors import Rates
from benchmarks.networks import SCHEDULES
from sparsevit_mm import SparseViT
from sparsevit_mm.ops import backend

GPUS = {
    'RTX A6000': Rates(154.8e12, 768e9),
    'A100 SXM 80 GB': Rates(312e12, 2039e9),
    'H100 SXM': Rates(989.4e12, 3350e9),
    'H200': Rates(989.4e12, 4800e9),
    'RTX 4090': Rates(165.2e12, 1008e9),
    'T4': Rates(65e12, 320e9),
}
"""NVIDIA's data sheets: fp16 on tensor cores without sparsity, summed in fp32; memory bandwidth."""

LAUNCH_SECONDS = 5e-6
"""About what PyTorch takes on the host for an operator."""

STEPS = {
    'addmm': 'products',
    'mm': 'products',
    'convolution': 'patch embedding',
    'gather_norm': 'gather + norm',
    'window_attention': 'window attention',
    'residual_norm': 'residual + norm',
    'residual_scatter_': 'residual + scatter',
    'gelu': 'GELU',
    'native_layer_norm': 'norms of merging and outputs',
    'index_select': 'index_select',
}
"""What operators do in a backbone; all others rank windows, merge patches and lay out maps."""
_READ_IN_PART = ('gather_norm', 'residual_norm', 'index_select', 'gather', 'residual_scatter_')
"""Of their first tensor these touch no more numbers than a result, or the second tensor, has."""


class Counter(TorchDispatchMode):
    """Counts operators while it is active.

    Attributes:
        steps: For each of `STEPS` and 'other' its `launches`, `operations` and `bytes`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.steps: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Runs an operator and counts it, unless it moves nothing."""
        out = func(*args, **(kwargs or {}))
        if func.is_view or func.namespace == 'prim' or func in _FREE:
            return out
        name = func.overloadpacket.__name__
        step = self.steps[STEPS.get(name, 'other')]
        step['launches'] += 1
        if func.overloadpacket in flop_registry:
            step['operations'] += flop_registry[func.overloadpacket](
                *args, **(kwargs or {}), out_val=out
            )
        step['bytes'] += _bytes(name, [*args, *(kwargs or {}).values()], out)
        return out


_SHAPES_ALONE = FakeTensorMode()
"""One for the process: index maps stay in the package's caches, so nothing else may use a GPU."""

_ATEN = torch.ops.aten
_FREE = {
    _ATEN.empty.memory_format,
    _ATEN.new_empty.default,
    _ATEN.empty_strided.default,
    _ATEN._unsafe_view.default,
    _ATEN.detach.default,
}
"""Operators that launch nothing."""


def _bytes(name: str, args: Sequence[Any], out: Any) -> int:
    given = [leaf for leaf in tree_flatten(args)[0] if isinstance(leaf, Tensor)]
    made = [leaf for leaf in tree_flatten(out)[0] if isinstance(leaf, Tensor)]
    sizes = {id(tensor): _size(tensor) for tensor in (*given, *made)}
    if name in _READ_IN_PART:
        touched = made[0] if made else given[1]
        sizes[id(given[0])] = min(_size(given[0]), touched.numel() * given[0].element_size())
    return sum(sizes.values())


def _size(tensor: Tensor) -> int:
    """Bytes of a tensor; what is only expanded counts once."""
    return min(tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes())


def count(network: nn.Module, batch: int, height: int, width: int) -> dict[str, dict[str, int]]:
    """Counts a forward pass in fp16 on a GPU.

    Args:
        network: In evaluation.
        batch: Images.
        height: Height of the images in pixels.
        width: Width of the images in pixels.

    Returns:
        See `Counter`.
    """
    with _SHAPES_ALONE, torch.no_grad(), backend.use('auto'):
        for module in network.modules():
            for kind in (module._parameters, module._buffers):
                for name, tensor in kind.items():
                    if tensor is not None:
                        dtype = torch.half if tensor.is_floating_point() else tensor.dtype
                        new = torch.empty(tensor.shape, dtype=dtype, device='cuda')
                        kind[name] = nn.Parameter(new, False) if kind is module._parameters else new
        images = torch.empty(batch, 3, height, width, dtype=torch.half, device='cuda')
        network(images)  # makes the index maps, which stay
        with Counter() as counter:
            network(images)
    return {name: dict(step) for name, step in counter.steps.items()}


def totals(steps: dict[str, dict[str, int]]) -> dict[str, int]:
    """Sums of `launches`, `operations` and `bytes`."""
    names = ('launches', 'operations', 'bytes')
    return {name: sum(step.get(name, 0) for step in steps.values()) for name in names}


def floors(steps: dict[str, dict[str, int]], rates: Rates) -> dict[str, float]:
    """Milliseconds of the operations and of the bytes."""
    total = totals(steps)
    return dict(
        operations=total['operations'] / rates.flops * 1e3,
        bytes=total['bytes'] / rates.bandwidth * 1e3,
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Counts SparseViT-T at every schedule and writes the steps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--side', type=int, default=672)
    parser.add_argument('--batch', type=int, default=4)
    parser.add_argument('--schedules', nargs='+', choices=SCHEDULES, default=tuple(SCHEDULES))
    parser.add_argument('--out', type=Path)
    args = parser.parse_args(argv)
    if not torch.backends.cuda.is_built():
        parser.error(
            f'PyTorch {torch.__version__} was built without CUDA, whose devices tensors must name '
            'here; install a PyTorch built with CUDA, no GPU is needed.'
        )
    warnings.simplefilter('ignore')
    rows = []
    for name in args.schedules:
        network = SparseViT(pruning_ratios=SCHEDULES[name]).eval()
        steps = count(network, args.batch, args.side, args.side)
        rows.append(
            dict(network=f'SparseViT-T {name}', side=args.side, batch=args.batch, steps=steps)
        )
        print(rows[-1]['network'], totals(steps))
        for gpu, rates in GPUS.items():
            print(f'  {gpu}', {kind: round(ms, 3) for kind, ms in floors(steps, rates).items()})
    if args.out is not None:
        args.out.write_text(json.dumps(rows, indent=1) + '\n')


if __name__ == '__main__':
    main()
