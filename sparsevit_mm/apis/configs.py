"""Loads configs and registers the framework that they are for."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

from sparsevit_mm.checks.names import check_names
from sparsevit_mm.engine.safe_reading import use_safe_reading
from sparsevit_mm.engine.whole_files import use_whole_files
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.requirements_check import check_framework

FRAMEWORKS = ('mmdet', 'mmseg', 'mmdet3d')


def load_config(
    path: str, cfg_options: Mapping[str, Any] | None = None, work_dir: str | None = None
) -> Config:
    """Reads a config file.

    Args:
        path: The file.
        cfg_options: Fields to replace.
        work_dir: Work dir in place of the config's own and of work_dirs/<name of the config>.

    Raises:
        ConfigError: If the file or one it inherits from is missing or cannot be parsed.
    """
    if not Path(path).is_file():
        raise ConfigError(
            f'the config {path} does not exist (looked for at {Path(path).absolute()}).'
        )
    try:
        cfg = Config.fromfile(path)
    except (OSError, ModuleNotFoundError, SyntaxError) as error:
        reason = ' '.join(str(error).split()).rstrip('.')
        if isinstance(error, OSError) and error.filename:
            reason = f'{error.strerror}: {error.filename}'
        raise ConfigError(f'the config {path} cannot be read: {reason}.') from error
    if cfg_options:
        cfg.merge_from_dict(dict(cfg_options))
    if work_dir is not None:
        cfg.work_dir = work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs') / Path(path).stem)
    return cfg


def load_local_or_installed(name: str) -> Config:
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


def register_framework(cfg: Config) -> None:
    """Checks the framework that a config is for, registers what is in it, and checks our names.

    From now on mmengine reads checkpoints and pickles without running what is in them, and writes
    files that are whole or not there.

    Raises:
        ConfigError: If `default_scope` names no framework, or a `type` is nearly a name of this
            package.
        FrameworkError: If the framework is missing or of a version that does not work.
    """
    use_safe_reading()
    use_whole_files()
    scope = cfg.get('default_scope')
    if scope not in (None, 'mmengine', *FRAMEWORKS):
        raise ConfigError(
            f'default_scope is {scope!r}, but must be one of {", ".join(FRAMEWORKS)}.'
        )
    if scope in FRAMEWORKS:
        check_framework(scope)
        import_module(f'{scope}.utils').register_all_modules(init_default_scope=False)
    check_names(cfg)


def innermost_dataset(dataloader: ConfigDict) -> ConfigDict:
    """The data set itself, inside wrappers such as RepeatDataset."""
    dataset = dataloader.dataset
    while 'dataset' in dataset:
        dataset = dataset.dataset
    return dataset
