"""Checks that the frameworks are installed in versions that work together.

The check runs when a framework is first used, so that a wrong installation is reported in one
sentence instead of an assertion deep inside another package.
"""

from __future__ import annotations

import functools
import importlib.util
import sys
import warnings
from importlib import import_module, metadata

from packaging.version import InvalidVersion, Version

from sparsevit_mm.errors import SparseVitError
from sparsevit_mm.versions import FRAMEWORKS, SUPPORTED, TORCH

CHAINS = {
    'mmengine': ('torch', 'mmengine'),
    'mmcv': ('torch', 'mmengine', 'mmcv'),
    'mmdet': ('torch', 'mmengine', 'mmcv', 'mmdet'),
    'mmseg': ('torch', 'mmengine', 'mmcv', 'mmseg'),
    'mmdet3d': ('torch', 'mmengine', 'mmcv', 'mmdet', 'mmseg', 'mmdet3d'),
}
"""Packages that each framework imports, including itself; segmentors of mmdet3d need mmseg."""


class FrameworkError(SparseVitError, ImportError):
    """A framework is missing or in a version that does not work with the others."""


def check_framework(name: str) -> None:
    """Checks a framework and everything it imports.

    Args:
        name: Import name: mmdet, mmseg, mmdet3d, mmcv or mmengine.

    Raises:
        FrameworkError: If a package is missing or outside its range; the message says what to
            install.
    """
    for package in CHAINS[name]:
        _check_package(package)


def warn_of_imported_frameworks() -> None:
    """Warns of imported frameworks whose version is outside the supported range.

    They could be imported and may work, so this is not an error.
    """
    for package in SUPPORTED:
        if package in sys.modules:
            try:
                _check_package(package)
            except FrameworkError as error:
                warnings.warn(str(error), stacklevel=2)


@functools.cache
def _check_package(package: str) -> None:
    distribution, lowest, first_bad = SUPPORTED[package]
    pinned = FRAMEWORKS.get(distribution, TORCH)
    options = '--no-build-isolation ' if package == 'mmcv' else ''
    remedy = f'install it with: pip install {options}{distribution}=={pinned}'
    if package not in sys.modules and importlib.util.find_spec(package) is None:
        raise FrameworkError(f'{package} is not installed; {remedy}')
    if _is_fork(package):
        return
    found = _version(package, distribution)
    if found is not None and not Version(lowest) <= found < Version(first_bad):
        raise FrameworkError(
            f'{package} is {found}, but sparsevit_mm works with {lowest} up to, not including, '
            f'{first_bad}; {remedy}'
        )
    if package == 'mmcv' and importlib.util.find_spec('mmcv.ops') is None:
        raise FrameworkError(
            'mmcv has no operators (mmcv-lite is installed), but mmdet imports them; run '
            f'pip uninstall mmcv-lite and then {remedy}'
        )


def _is_fork(package: str) -> bool:
    """Whether a OneDL fork provides the package; those keep their own version numbers."""
    owners = metadata.packages_distributions().get(package, ())
    return any(owner.lower().startswith('onedl') for owner in owners)


def _version(package: str, distribution: str) -> Version | None:
    try:
        text = metadata.version(distribution)
    except metadata.PackageNotFoundError:
        text = getattr(import_module(package), '__version__', '')
    try:
        return Version(Version(text).base_version)
    except InvalidVersion:
        return None
