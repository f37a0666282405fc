"""Prints a config with everything it inherits, and writes it to a file if asked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from sparsevit_mm.apis.configs import load_config
from sparsevit_mm.checks.configs import check_writable_folder
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.files import written_whole


def print_config(
    config: str, out: str | None = None, cfg_options: Mapping[str, Any] | None = None
) -> None:
    """Prints a config, everything it inherits filled in, and writes it to a file if asked.

    Args:
        config: Path of the config.
        out: A file that ends in .py, .json, .yml or .yaml; None writes none.
        cfg_options: Fields of the config to replace.

    Raises:
        ConfigError: If the config cannot be read, or the file not be written.
    """
    cfg = load_config(config, cfg_options)
    if out is not None:
        _dump(cfg, out)
    print(cfg.pretty_text)


def _dump(cfg: Config, path: str) -> None:
    if not path.endswith(('.py', '.json', '.yml', '.yaml')):
        raise ConfigError(f'out is {path}, but must end in .py, .json, .yml or .yaml.')
    check_writable_folder(Path(path).parent, 'out')
    with written_whole(path) as file:
        cfg.dump(file)
