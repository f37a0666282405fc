"""Compiles the Triton kernels for GPUs that are not at hand, and reads what they use there.

Triton takes a target and needs no driver; its wheel has the assembler and disassembler of CUDA. The
kernels are compiled by the calls that launch them, so that alignments and tiles are those of a
launch. Registers, spills, shared memory and the widths of reads come from the machine code.

    python -m benchmarks.kernel_resources --out benchmarks/results/kernel_resources.json
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sparsevit_mm.models.fastervit_arch import VARIANTS as FASTERVITS
from sparsevit_mm.models.swin_arch import NAMED_SIZES as SWINS
from sparsevit_mm.ops.attention import LARGEST_WINDOW
from sparsevit_mm.ops.windows import WindowGrid, Windows

RESULTS = Path(__file__).parent / 'results'
DTYPES = {'fp16': torch.float16, 'bf16': torch.bfloat16, 'fp32': torch.float32}
SHARED_LIMITS = {
    'sm_75': 64,
    'sm_80': 163,
    'sm_86': 99,
    'sm_89': 99,
    'sm_90': 227,
    'sm_100': 227,
    'sm_120': 99,
    'gfx942': 64,
    'gfx1100': 64,
}
"""Shared memory that a program may take on each architecture, in KiB."""

MOST_REGISTERS = dict.fromkeys(SHARED_LIMITS, 64) | {'sm_75': 72, 'gfx1100': 96}
"""Of a thread in kernels that memory limits, so that a GPU holds many threads that wait for it.

At 64, an NVIDIA GPU holds at least half of its threads, and a gfx942 all of them. So does a gfx1100
at 96, and an sm_75, which has room for fewer threads, holds seven eighths at 72.
"""

WIDEST = 2048
"""Channels beyond which a kernel may take 8 registers more.

FasterViT-5 and -6 have 2560 in their last stage: a thread keeps the values of five blocks, and
there are few tokens.
"""

KEYS = ('kernel', 'dtype', 'channels', 'tokens', 'architecture')
"""What a row is about."""

ROW_KERNELS = ('gather_norm', 'residual_norm', 'residual_norm of windows', 'residual_scatter')
MINI = (32, 64, 128, 256)
"""Channels of the small SparseViT of the demos and of BEVDet."""


@dataclass(frozen=True)
class Case:
    """A kernel that some shipped network launches.

    Attributes:
        kernel: One of `ROW_KERNELS`, or 'window_attention'.
        dtype: A key of `DTYPES`.
        channels: Of a token, or of a head.
        tokens: Of a window, for attention.
    """

    kernel: str
    dtype: str
    channels: int
    tokens: int = 49


SHAPES = ('one', 'main', 'all')


def cases(dtypes: Sequence[str] = tuple(DTYPES), shapes: str = 'all') -> list[Case]:
    """Kernels, dtypes and shapes of the shipped architectures.

    Args:
        dtypes: Keys of `DTYPES`.
        shapes: 'all'; 'main': SparseViT-T's, and those whose tiles differ most from these; 'one' of
            each kernel.
    """
    swin = {dims * 2**stage for dims, *_ in SWINS.values() for stage in range(4)} | set(MINI)
    faster = {arch.stage_dims[stage] for arch in FASTERVITS.values() for stage in (2, 3)}
    attended = {(size**2, 32) for size in (7, 12)} | {(49, 8)}  # of Swin; of the small one
    for arch in FASTERVITS.values():
        for stage in (2, 3):
            head_dims = arch.stage_dims[stage] // arch.num_heads[stage]
            carriers = arch.ct_size**2 * arch.hat[stage]
            attended.add((arch.window_size[stage] ** 2 + carriers, head_dims))
            if carriers:
                attended.add((4 * carriers, head_dims))  # the carriers of an image of 224 x 224
    if shapes == 'main':
        swin, faster = {96, 256, 384}, {256, 784}
        attended = {(49, 32), (53, 49), (53, 64), (49, 80), (144, 32)}
    if shapes == 'one':
        swin, faster, attended = {96}, {256}, {(49, 32)}
    found = []
    for dtype in dtypes:
        for kernel in ROW_KERNELS:
            channels = faster if kernel == 'residual_norm of windows' else swin
            found += [Case(kernel, dtype, number) for number in sorted(channels)]
        found += [
            Case('window_attention', dtype, head_dims, tokens)
            for tokens, head_dims in sorted(attended)
            if tokens <= LARGEST_WINDOW
        ]
    return found


def launch(case: Case) -> None:
    """Calls a kernel as a network does, on few tokens on a CPU."""
    from sparsevit_mm.ops.triton.gather_norm import gather_norm
    from sparsevit_mm.ops.triton.residual_norm import residual_norm
    from sparsevit_mm.ops.triton.residual_scatter import residual_scatter_
    from sparsevit_mm.ops.triton.window_attention import window_attention

    channels, dtype = case.channels, DTYPES[case.dtype]
    chosen = torch.arange(2)
    windows = Windows.locate(WindowGrid(16, 18, 7, 3), 1, chosen, torch.device('cpu'))
    tokens = torch.zeros(16 * 18, channels, dtype=dtype)
    own, weight = tokens.new_zeros(2, 49, channels), tokens.new_zeros(channels)
    calls: dict[str, Callable[[], Any]] = {
        'gather_norm': lambda: gather_norm(
            tokens, windows, weight, weight, 1e-5, zero_padding=True
        ),
        'residual_norm': lambda: residual_norm(tokens, own, weight, weight, 1e-5, windows=windows),
        'residual_norm of windows': lambda: residual_norm(
            own, own, weight, weight, 1e-5, factors=weight
        ),
        'residual_scatter': lambda: residual_scatter_(tokens, own, own, windows),
        'window_attention': lambda: window_attention(
            tokens.new_zeros(2, case.tokens, 3 * 2 * channels),
            2,
            tokens.new_zeros(2, case.tokens, case.tokens),
            torch.zeros(4, case.tokens, case.tokens),
            chosen,
        ),
    }
    calls[case.kernel]()


class _Offline:
    """A driver of Triton for a GPU that is not there: it can only be compiled for."""

    def __init__(self, target: Any) -> None:
        self._target = target

    def get_current_target(self) -> Any:
        """What is compiled for."""
        return self._target

    def get_current_device(self) -> int:
        """The only one."""
        return 0

    def get_current_stream(self, device: int | None = None) -> int:
        """Nothing is launched on it."""
        return 0


@contextlib.contextmanager
def compiling_for(name: str) -> Iterator[list[Any]]:
    """Launches compile for an architecture, and do nothing else.

    Args:
        name: A key of `SHARED_LIMITS`.

    Yields:
        What was compiled, launch by launch.
    """
    from triton.backends.compiler import GPUTarget
    from triton.runtime import driver
    from triton.runtime.jit import JITFunction

    from sparsevit_mm.ops import backend

    is_amd = name.startswith('gfx')
    lanes = 64 if name.startswith('gfx9') else 32
    target = GPUTarget('hip', name, lanes) if is_amd else GPUTarget('cuda', int(name[3:]), lanes)
    compiled: list[Any] = []
    run, hip = JITFunction.run, torch.version.hip

    def compile_alone(self: Any, *args: Any, grid: Any, warmup: bool, **kwargs: Any) -> None:
        self.device_caches.clear()  # it knows devices by number, not by target
        compiled.append(run(self, *args, grid=grid, warmup=True, **kwargs))

    JITFunction.run = compile_alone
    torch.version.hip = name if is_amd else None
    before = driver._active
    driver.set_active(_Offline(target))
    try:
        with takes_kernels(backend):
            yield compiled
    finally:
        JITFunction.run, torch.version.hip = run, hip
        driver.set_active(before)


def takes_kernels(backend: Any) -> contextlib.AbstractContextManager[Any]:
    """`backend.use('triton')` where neither a GPU nor the interpreter is there."""
    chosen = contextlib.ExitStack()
    chosen.callback(setattr, backend, '_choice', backend._choice)
    backend._choice = 'triton'
    return chosen


def measure(architecture: str, case: Case) -> dict[str, Any]:
    """Compiles and reads.

    Args:
        architecture: A key of `SHARED_LIMITS`.
        case: What to compile.

    Returns:
        The case and the architecture; `registers` of a thread, `spilled` bytes, `shared` bytes,
        `instructions`, and how many reads and writes of memory have which width in bytes. `path` is
        'PyTorch' where the kernel is not meant to run, `error` where Triton does not compile.
    """
    row: dict[str, Any] = dict(**vars(case), architecture=architecture)
    if not is_meant(case, architecture):
        return dict(row, path='PyTorch')
    try:
        with compiling_for(architecture) as compiled:
            launch(case)
        return row | read(compiled.pop())
    except Exception as error:  # Triton's own, of any kind
        return dict(row, error=f'{type(error).__name__}: {error}'.splitlines()[0][:200])


def is_meant(case: Case, architecture: str) -> bool:
    """Whether the package would launch this kernel there."""
    from sparsevit_mm.ops.triton.window_attention import pays

    if case.kernel != 'window_attention':
        return True
    number = architecture[3:]
    is_amd = architecture.startswith('gfx')
    capability = None if is_amd else (int(number[:-1]), int(number[-1]))
    return pays(DTYPES[case.dtype], case.channels, capability)


def read(compiled: Any) -> dict[str, Any]:
    """What a compiled kernel uses, from its machine code."""
    own = dict(shared=compiled.metadata.shared, warps=compiled.metadata.num_warps)
    return own | (_read_nvidia if 'cubin' in compiled.asm else _read_amd)(compiled.asm)


def _read_nvidia(asm: dict[str, Any]) -> dict[str, Any]:
    import triton

    tools = Path(triton.__file__).parent / 'backends' / 'nvidia' / 'bin'
    with tempfile.NamedTemporaryFile(suffix='.cubin') as file:
        file.write(asm['cubin'])
        file.flush()
        usage, code = (
            subprocess.run([*command, file.name], capture_output=True, text=True, check=True).stdout
            for command in ([tools / 'cuobjdump', '-res-usage'], [tools / 'nvdisasm'])
        )
    widths = {'128': 16, '64': 8, 'U16': 2, 'S16': 2, 'U8': 1}

    def accesses(operation: str) -> list[int]:
        suffixes = re.findall(rf'\b{operation}((?:\.\w+)*)', code)
        return [
            next((widths[part] for part in suffix.split('.') if part in widths), 4)
            for suffix in suffixes
        ]

    found = {name: int(re.search(rf'{name}:(\d+)', usage)[1]) for name in ('REG', 'STACK')}  # type: ignore[index]
    return dict(
        registers=found['REG'],
        spilled=found['STACK'],
        instructions=len(re.findall(r';\s*(?:/\*|$)', code, re.MULTILINE)),
        reads=_counted(accesses('LDG')),
        writes=_counted(accesses('STG')),
    )


def _read_amd(asm: dict[str, Any]) -> dict[str, Any]:
    code = asm['amdgcn']
    widths = {'b128': 16, 'dwordx4': 16, 'b64': 8, 'dwordx2': 8, 'b32': 4, 'dword': 4}

    def accesses(operation: str) -> list[int]:
        suffixes = re.findall(rf'\b(?:global|buffer|flat)_{operation}_(\w+)', code)
        return [widths.get(suffix.rpartition('_')[2], 2) for suffix in suffixes]

    found = {
        name: int(re.search(rf'\.{name}:\s*(\d+)', code)[1])  # type: ignore[index]
        for name in ('vgpr_count', 'vgpr_spill_count')
    }
    return dict(
        registers=found['vgpr_count'],
        spilled=4 * found['vgpr_spill_count'],
        instructions=len(re.findall(r'^\s+[vs]_\w+|^\s+(?:buffer|global|ds)_\w+', code, re.M)),
        reads=_counted(accesses('load')),
        writes=_counted(accesses('store')),
    )


def _in_order(row: dict[str, Any]) -> tuple[Any, ...]:
    return list(SHARED_LIMITS).index(row['architecture']), *(row[key] for key in KEYS)


def _counted(values: list[int]) -> dict[str, int]:
    return {str(value): values.count(value) for value in sorted(set(values), reverse=True)}


def excesses(row: dict[str, Any]) -> list[str]:
    """What a row has too much of: spills, registers, shared memory, narrow accesses."""
    if 'registers' not in row:
        return []
    found = []
    if row['spilled']:
        found.append(f'spills {row["spilled"]} bytes')
    if row['shared'] > SHARED_LIMITS[row['architecture']] * 1024:
        found.append(f'takes {row["shared"]} bytes of shared memory')
    if row['kernel'] in ROW_KERNELS:
        most = MOST_REGISTERS[row['architecture']] + 8 * (row['channels'] > WIDEST)
        if row['registers'] > most:
            found.append(f'takes {row["registers"]} registers')
        least = 8 if row['architecture'] == 'gfx942' else 16  # its waves have 64 lanes
        narrow = {int(width): n for width, n in row['reads'].items() if int(width) < least}
        # One read of a window's index is narrower.
        if sum(narrow.values()) > 1 or any(int(width) < least for width in row['writes']):
            found.append(f'reads {row["reads"]} and writes {row["writes"]}')
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Compiles, prints what exceeds the bounds, and writes the figures and their table."""
    parser = argparse.ArgumentParser(description=__doc__)
    every = tuple(SHARED_LIMITS)
    parser.add_argument('--architectures', nargs='+', choices=every, default=every)
    parser.add_argument('--dtypes', nargs='+', choices=DTYPES, default=tuple(DTYPES))
    parser.add_argument('--shapes', choices=SHAPES, default='all', help='%(default)s by default')
    parser.add_argument('--out', type=Path, help='JSON file; what is in it is not compiled again')
    args = parser.parse_args(argv)
    if os.environ.get('TRITON_INTERPRET') == '1':
        parser.error('TRITON_INTERPRET is 1, but must be unset: an interpreter compiles nothing.')
    is_there = args.out is not None and args.out.exists()
    rows: list[dict[str, Any]] = json.loads(args.out.read_text()) if is_there else []
    known = {tuple(row[key] for key in KEYS) for row in rows}
    for dtype in args.dtypes:
        for name in args.architectures:
            for case in cases([dtype], args.shapes):
                if (*vars(case).values(), name) not in known:
                    rows.append(measure(name, case))
            if args.out is not None:
                lines = ',\n'.join(json.dumps(row) for row in sorted(rows, key=_in_order))
                args.out.write_text(f'[\n{lines}\n]\n')
    failed = [row for row in rows if 'error' in row]
    exceeding = [(row, excess) for row in rows if (excess := excesses(row))]
    for row in failed:
        print({**row})
    for row, excess in exceeding:
        print({key: row[key] for key in KEYS}, *excess)
    compiled = sum('registers' in row for row in rows)
    print(f'{compiled} compiled, {len(failed)} not, {len(exceeding)} beyond the bounds.')
    sys.exit(bool(failed or exceeding))


if __name__ == '__main__':
    main()
