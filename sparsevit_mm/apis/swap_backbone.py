"""Writes a config like an existing one, with one of our backbones in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sparsevit_mm.apis.configs import read_config, register_framework
from sparsevit_mm.checks.configs import build_model, check_writable_folder
from sparsevit_mm.pruning.schedule import PruningSchedule
from sparsevit_mm.swap.config_file import write_config
from sparsevit_mm.swap.spec import BackboneSpec
from sparsevit_mm.swap.swap import Swap, swap_backbone


def swap_to_file(
    config: str,
    backbone: str,
    out: str | Path,
    *,
    ratios: Any = None,
    checkpoint: str | None = None,
    channels: str | None = None,
    importance: str | None = None,
) -> Swap:
    """Swaps the backbone of a config, builds the new model, and writes the new config.

    Args:
        config: Path of the config, or an installed one such as 'mmdet::…'.
        backbone: Name of the backbone, see `BackboneSpec`.
        out: The new config file.
        ratios: Pruning ratios in any form `pruning_ratios` takes, or a `PruningSchedule`.
        checkpoint: Weights to start from, see `BackboneSpec`.
        channels: How weights for three channels are taken in for others, see `BackboneSpec`.
        importance: Name of what windows are ranked by; None takes that of the schedule, if it
            names one, else the backbone's default.

    Returns:
        What was changed.

    Raises:
        SparseVitError: If something given is wrong; nothing was written then.
    """
    if isinstance(ratios, PruningSchedule):
        importance = importance or ratios.importance
        ratios = [list(stage) for stage in ratios.ratios]
    spec = BackboneSpec(backbone, ratios, checkpoint, channels, importance)
    check_writable_folder(Path(out).parent, 'out')
    original = read_config(config)
    register_framework(original)
    swap = swap_backbone(original, spec)
    build_model(swap.cfg)
    what = f'{backbone}, {_words(ratios)}' if ratios is not None else backbone
    write_config(swap, original, config, out, f'{Path(config).stem} with {what}.')
    return swap


def _words(ratios: Any) -> str:
    return f'pruning ratios {ratios}'
