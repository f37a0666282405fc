"""Strips a training checkpoint down to its weights and names the file by its hash."""

from __future__ import annotations

from pathlib import Path

from sparsevit_mm.checkpoints.files import read_checkpoint, write_checkpoint

PRIVATE_META = ('hook_msgs', 'experiment_name', 'seed', 'time')
"""Fields about the training run, which the published file does not have."""


def publish(source: str | Path, target: str | Path) -> Path:
    """Strips a training checkpoint of its optimizer, schedules and logs.

    With averaged weights (EMA) mmengine saves the averages as the model, so they are what remains.

    Args:
        source: A checkpoint.
        target: The file to write; `name.pth` becomes `name-<8 digits of its SHA-256>.pth`.

    Returns:
        The file written.

    Raises:
        CheckpointError: If the source holds no named tensors, or the target cannot be written.
    """
    weights, meta = read_checkpoint(source)
    content = {
        'meta': {key: value for key, value in meta.items() if key not in PRIVATE_META},
        'state_dict': {name: weight.clone() for name, weight in weights.items()},
    }
    return write_checkpoint(content, target, hashed=True)
