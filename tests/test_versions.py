"""The pinned versions and the check that uses them."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import types
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from sparsevit_mm import requirements_check as check
from sparsevit_mm import versions
from tests.helpers.commands import output_of

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def fresh_check():
    check._check_package.cache_clear()
    yield
    check._check_package.cache_clear()


@pytest.mark.parametrize('framework', check.CHAINS)
def test_this_environment_passes(framework):
    for package in check.CHAINS[framework]:
        pytest.importorskip(package)
    check.check_framework(framework)
    check.warn_of_imported_frameworks()


def test_pinned_versions_lie_in_the_supported_ranges():
    pins = {**versions.FRAMEWORKS, 'torch': versions.TORCH}
    for distribution, lowest, first_bad in versions.SUPPORTED.values():
        assert Version(lowest) <= Version(pins[distribution]) < Version(first_bad)


def test_every_need_is_a_valid_requirement():
    needs = [need for group in versions.NEEDS_BY_FRAMEWORK.values() for need in group]
    for need in [*needs, *versions.DEVKITS, *versions.DEV_TOOLS, *versions.BUILD_TOOLS]:
        Requirement(need)


def pretend(monkeypatch, package, version, owners=()):
    monkeypatch.setitem(sys.modules, package, types.ModuleType(package))
    monkeypatch.setattr(metadata, 'packages_distributions', lambda: {package: list(owners)})
    monkeypatch.setattr(metadata, 'version', lambda name: version)


@pytest.mark.parametrize(
    'package, version', [('mmcv', '2.2.0'), ('mmdet', '2.28.2'), ('torch', '1.13.1')]
)
def test_wrong_version_is_one_sentence_with_a_command(monkeypatch, package, version):
    pretend(monkeypatch, package, version)
    with pytest.raises(check.FrameworkError, match=f'{package} is {re.escape(version)}') as error:
        check._check_package(package)
    distribution = versions.SUPPORTED[package][0]
    assert re.search(rf'pip install .*{distribution}==', str(error.value))
    assert '\n' not in str(error.value)


def test_frameworks_imported_already_are_warned_about(monkeypatch):
    pretend(monkeypatch, 'mmcv', '2.2.0')
    with pytest.warns(UserWarning, match='mmcv is 2.2.0'):
        check.warn_of_imported_frameworks()


def test_local_and_pre_release_parts_do_not_matter(monkeypatch):
    pretend(monkeypatch, 'torch', '2.13.0a0+cu130')
    check._check_package('torch')


def test_forks_keep_their_own_numbers(monkeypatch):
    pretend(monkeypatch, 'mmcv', '9.0', owners=['onedl-mmcv'])
    check._check_package('mmcv')


def test_missing_framework_is_one_sentence(monkeypatch):
    monkeypatch.delitem(sys.modules, 'mmdet3d', raising=False)
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(check.FrameworkError, match=r'mmdet3d is not installed; .*mmdet3d==1\.4\.0'):
        check._check_package('mmdet3d')


def test_lite_mmcv_is_its_own_sentence(monkeypatch):
    pretend(monkeypatch, 'mmcv', '2.1.0')
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(check.FrameworkError, match='mmcv-lite'):
        check._check_package('mmcv')


def test_importing_the_package_needs_torch_and_mmengine_only():
    code = (
        'import sys, sparsevit_mm; '
        "print([m for m in ('mmcv', 'mmdet', 'mmseg', 'mmdet3d', 'torchvision', 'timm') "
        'if m in sys.modules])'
    )
    assert output_of([sys.executable, '-c', code], cwd=ROOT).strip() == '[]'


def test_versions_are_plain_data():
    """The set-up reads the file before anything is installed."""
    code = f"import runpy; print(runpy.run_path('{versions.__file__}')['TORCH'])"
    result = subprocess.run([sys.executable, '-S', '-c', code], capture_output=True, text=True)
    assert result.stdout.strip() == versions.TORCH
