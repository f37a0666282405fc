"""From the name of a config and of a backbone to a new config file."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from mmengine.config import Config

from sparsevit_mm.apis.launch import load_config, register_framework
from sparsevit_mm.checks.configs import build_model, check_writable_folder
from sparsevit_mm.errors import ConfigError
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
) -> Swap:
    """Swaps the backbone of a config, builds the new model, and writes the new config.

    Args:
        config: Path of the config, or an installed one such as 'mmdet::…'.
        backbone: Name of the backbone, see `BackboneSpec`.
        out: The new config file.
        ratios: Pruning ratios in any form `pruning_ratios` takes, or a `PruningSchedule`.
        checkpoint: Weights to start from, see `BackboneSpec`.

    Returns:
        What was changed.

    Raises:
        SparseVitError: If something given is wrong; nothing was written then.
    """
    if isinstance(ratios, PruningSchedule):
        ratios = [list(stage) for stage in ratios.ratios]
    spec = BackboneSpec(backbone, ratios, checkpoint)
    check_writable_folder(Path(out).parent, 'out')
    original = load_original(config)
    register_framework(original)
    swap = swap_backbone(original, spec)
    build_model(swap.cfg)
    what = f'{backbone}, {_words(ratios)}' if ratios is not None else backbone
    write_config(swap, original, config, out, f'{Path(config).stem} with {what}.')
    return swap


def load_original(name: str) -> Config:
    """Loads a config by its path, or an installed one such as 'mmdet::retinanet/….py'.

    An installed config is read as what inherits from it would see it.

    Raises:
        ConfigError: If there is no such config or it cannot be read.
    """
    if '::' not in name:
        return load_config(name)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, 'original.py')
        path.write_text(f'_base_ = {name!r}\n')
        try:
            cfg = Config.fromfile(path)
        except (OSError, ImportError, KeyError) as error:
            reason = ' '.join(str(error).split()).rstrip('.')
            raise ConfigError(f'the config {name} cannot be read: {reason}.') from error
    return cfg


def _words(ratios: Any) -> str:
    return f'pruning ratios {ratios}'
