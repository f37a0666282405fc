"""Loads configs and registers the framework that they are for."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.config.utils import ConfigParsingError

from sparsevit_mm.checks.configs import typed_configs
from sparsevit_mm.checks.names import check_names
from sparsevit_mm.engine.safe_reading import use_safe_reading
from sparsevit_mm.engine.whole_files import use_whole_files
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.files import NO_ROOM
from sparsevit_mm.requirements_check import check_framework

FRAMEWORKS = ('mmdet', 'mmseg', 'mmdet3d')


def load_config(
    path: str, cfg_options: Mapping[str, Any] | None = None, work_dir: str | None = None
) -> Config:
    """Reads a config for a run, see `read_config`; it has a work dir.

    Args:
        path: The file, or an installed one.
        cfg_options: Fields to replace.
        work_dir: Work dir in place of the config's own and of work_dirs/<name of the config>.

    Raises:
        ConfigError: If the file or one it inherits from is missing or cannot be parsed.
    """
    cfg = read_config(path)
    if cfg_options:
        cfg.merge_from_dict(dict(cfg_options))
    if work_dir is not None:
        cfg.work_dir = work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs') / Path(path).stem)
    return cfg


def read_config(path: str) -> Config:
    """Reads a config, in text style or in pure Python with `read_base` and classes as types.

    Args:
        path: The file, or an installed one such as 'mmdet::retinanet/….py', which is read as what
            inherits from it would see it.

    Returns:
        The config. Classes and functions are named by strings such as 'mmdet.models.RetinaNet'.

    Raises:
        ConfigError: If the file or one it inherits from is missing or cannot be parsed.
    """
    if '::' not in path and not Path(path).is_file():
        raise ConfigError(
            f'the config {path} does not exist (looked for at {Path(path).absolute()}).'
        )
    try:
        cfg = _read_installed(path) if '::' in path else Config.fromfile(path)
    except (OSError, ImportError, SyntaxError, KeyError, NameError, ConfigParsingError) as error:
        reason = ' '.join(str(error).split()).rstrip('.')
        if isinstance(error, OSError) and error.errno in NO_ROOM:
            # mmengine reads a copy of the file.
            folder = tempfile.gettempdir()
            reason = (
                f'its copy in the temporary folder {folder} cannot be written: {error.strerror}'
            )
        elif isinstance(error, OSError) and error.filename:
            reason = f'{error.strerror}: {error.filename}'
        raise ConfigError(f'the config {path} cannot be read: {reason}.') from error
    return _named_by_strings(cfg)


def _read_installed(name: str) -> Config:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, Path(name).name)
        file.write_text(f'_base_ = {name!r}\n')
        return Config.fromfile(file)


def _named_by_strings(cfg: Config) -> Config:
    """The config in text style, with strings in place of what pure-Python configs import."""
    if not cfg._imported_names:
        return cfg
    plain = Config(cfg.to_dict(), cfg_text=cfg.text, filename=cfg.filename)
    if plain.get('default_scope') is None:
        # Such configs need no scope to find their classes, but what they are for must be known.
        packages = {str(kind).partition('.')[0] for kind in _model_types(plain)}
        plain.default_scope = next(
            (name for name in reversed(FRAMEWORKS) if name in packages), None
        )
    return plain


def _model_types(cfg: Config) -> list[Any]:
    return [part['type'] for _, part in typed_configs(cfg.get('model'))]


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
    """The data set itself, inside wrappers such as RepeatDataset; the first one of several."""
    return innermost_datasets(dataloader)[0]


def innermost_datasets(dataloader: ConfigDict) -> list[ConfigDict]:
    """The data sets themselves, inside wrappers such as RepeatDataset and ConcatDataset."""
    found, waiting = [], [dataloader.dataset]
    while waiting:
        dataset = waiting.pop(0)
        inner = [dataset['dataset']] if 'dataset' in dataset else dataset.get('datasets') or []
        waiting = [*inner, *waiting]
        if not inner:
            found.append(dataset)
    return found
