"""What a number depends on besides the network: the machine, the versions, the command."""

from __future__ import annotations

import importlib.metadata
import shlex
from collections.abc import Sequence
from typing import Any

import torch

from sparsevit_mm.search.measure import device_name

PACKAGES = ('sparsevit_mm', 'torch', 'triton', 'numpy', 'mmdet', 'timm', 'fastervit')


def command_of(module: str, arguments: Sequence[str]) -> str:
    """What was typed, without the file that was written."""
    words = list(arguments)
    if '--out' in words:
        start = words.index('--out')
        del words[start : start + 2]
    return shlex.join(['python', '-m', module, *words])


def describe(command: str, device: torch.device) -> dict[str, Any]:
    """The conditions of a run.

    Args:
        command: What was typed.
        device: Where the work is done.

    Returns:
        The command, the machine in words, threads and the versions of what is installed.
    """
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    if device.type == 'cuda':
        versions['cuda'] = torch.version.cuda
    return dict(
        command=command,
        machine=device_name(device),
        device=device.type,
        threads=torch.get_num_threads(),
        cpu_capability=torch.backends.cpu.get_cpu_capability(),
        versions=versions,
    )
