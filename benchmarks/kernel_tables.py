"""Tables of what kernels use on GPUs that were not at hand, from `kernel_resources`' rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.kernel_resources import DTYPES, KEYS, ROW_KERNELS, SHARED_LIMITS

KERNELS = (*ROW_KERNELS, 'window_attention')


def most_table(rows: Sequence[dict[str, Any]]) -> str:
    """The most registers and shared memory over all shapes, for each kernel and architecture."""
    found = [name for name in SHARED_LIMITS if any(row['architecture'] == name for row in rows)]
    lines = [f'| kernel | dtype | {" | ".join(found)} |', '|---' * (2 + len(found)) + '|']
    for kernel in KERNELS:
        for dtype in DTYPES:
            cells = [
                _most([row for row in rows if _is(row, kernel, dtype, name)]) for name in found
            ]
            if any(cells):
                lines.append(f'| {kernel} | {dtype} | {" | ".join(cells)} |')
    return '\n'.join(lines)


def _is(row: dict[str, Any], kernel: str, dtype: str, architecture: str) -> bool:
    return (row['kernel'], row['dtype'], row['architecture']) == (kernel, dtype, architecture)


def _most(rows: Sequence[dict[str, Any]]) -> str:
    compiled = [row for row in rows if 'registers' in row]
    if not compiled:
        return 'PyTorch' if rows else ''
    registers, shared, spilled = (
        max(row[key] for row in compiled) for key in ('registers', 'shared', 'spilled')
    )
    memory = f', {shared / 1024:.0f} KiB' if shared >= 1024 else ''
    return f'{registers}{memory}' + (f', spills {spilled} B' if spilled else '')


def changes_table(before: Sequence[dict[str, Any]], rows: Sequence[dict[str, Any]]) -> str:
    """What kernels used before their tiles were chosen by these figures, and what they use now."""
    lines = [
        '| kernel | dtype | channels | GPU | registers | spilled B | shared KiB | instructions |',
        '|---|---|---|---|---|---|---|---|',
    ]
    now = {tuple(row[key] for key in KEYS): row for row in rows}
    for old in before:
        new = now.get(tuple(old[key] for key in KEYS), {})
        attends = old['kernel'] == 'window_attention'
        shape = f'{old["tokens"]} tokens × {old["channels"]}' if attends else str(old['channels'])
        cells = [old['kernel'], old['dtype'], shape, old['architecture']]
        for key, unit in (('registers', 1), ('spilled', 1), ('shared', 1024), ('instructions', 1)):
            after = f'{new[key] / unit:.0f}' if key in new else 'PyTorch'
            cells.append(f'{old[key] / unit:.0f} → {after}')
        lines.append(f'| {" | ".join(cells)} |')
    return '\n'.join(lines)
