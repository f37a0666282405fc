"""What an installation holds: the package, and configs, tools and the model index for mim."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest
import yaml
from mmengine.config import Config

from sparsevit_mm import versions

ROOT = Path(__file__).parents[1]
SHIPPED = ('sparsevit_mm', 'configs', 'projects', 'tools')
LEFT_OUT = {'tools/set_up.py'}

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def sources(tmp_path_factory):
    """A copy of the source tree, for building leaves files behind."""
    folder = tmp_path_factory.mktemp('sources')
    unwanted = shutil.ignore_patterns('__pycache__', '.mim', '*.egg-info', 'tests')
    for name in SHIPPED:
        shutil.copytree(ROOT / name, folder / name, ignore=unwanted)
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy2(path, folder / path.name)
    return folder


def pip(*args):
    run = subprocess.run(
        [sys.executable, '-m', 'pip', *map(str, args)], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr


@pytest.fixture(scope='module')
def wheel(sources, tmp_path_factory):
    out = tmp_path_factory.mktemp('wheel')
    pip('wheel', '--no-deps', '--no-build-isolation', '--no-index', '--wheel-dir', out, sources)
    (path,) = out.iterdir()
    return path


def files_for_mim(sources):
    found = {'model-index.yml'}
    for name in ('configs', 'projects', 'tools'):
        found |= {str(p.relative_to(sources)) for p in (sources / name).rglob('*') if p.is_file()}
    return found - LEFT_OUT


def test_wheel_holds_what_mim_needs_and_nothing_else(sources, wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        prefix = 'sparsevit_mm/.mim/'
        assert {n.removeprefix(prefix) for n in names if n.startswith(prefix)} == files_for_mim(
            sources
        )
        for name in files_for_mim(sources):
            assert archive.read(prefix + name) == (sources / name).read_bytes()
        record = archive.read(next(n for n in names if n.endswith('RECORD'))).decode()
        assert all(name in record for name in names)
    package = sources / 'sparsevit_mm'
    modules = {
        str(path.relative_to(sources))
        for kind in ('py', 'yml', 'typed')
        for path in package.rglob(f'*.{kind}')
    }
    rest = {n for n in names if not n.startswith(prefix) and '.dist-info/' not in n}
    assert rest == modules


def test_metadata_say_what_it_is_and_needs(wheel):
    with zipfile.ZipFile(wheel) as archive:
        name = next(n for n in archive.namelist() if n.endswith('.dist-info/METADATA'))
        metadata = message_from_bytes(archive.read(name))
    assert metadata['Name'] == 'sparsevit_mm' and metadata['Version'] == versions.__version__
    assert metadata['Requires-Python'] == f'>={versions.PYTHON[0][0]}.{versions.PYTHON[0][1]}'
    assert metadata['Summary'] and 'latency dial' in metadata.get_payload()
    needs = metadata.get_all('Requires-Dist')
    assert f'mmengine=={versions.FRAMEWORKS["mmengine"]}' in needs
    assert any(need.startswith('onnxruntime') and 'extra == "onnx"' in need for need in needs)
    pythons = [c.rpartition(' ')[2] for c in metadata.get_all('Classifier') if ':: 3.' in c]
    first, last = versions.PYTHON
    assert pythons == [f'3.{minor}' for minor in range(first[1], last[1] + 1)]


def test_installed_configs_tools_and_index_work(wheel, tmp_path):
    """Away from the source tree, through the paths that mim uses."""
    site = tmp_path / 'site'
    pip('install', '--no-deps', '--no-index', '--target', site, wheel)
    mim = site / 'sparsevit_mm' / '.mim'
    for metafile in yaml.safe_load((mim / 'model-index.yml').read_text())['Import']:
        for model in yaml.safe_load((mim / metafile).read_text()).get('Models', []):
            assert (mim / model['Config']).is_file()
    config = next((mim / 'configs').rglob('mask-rcnn_sparsevit-t-cfg2_fpn*.py'))
    assert Config.fromfile(config).model.backbone.type == 'sparsevit_mm.SparseViT'
    run = subprocess.run(
        [sys.executable, str(mim / 'tools' / 'get_flops.py'), str(config), '--shape', '64', '64'],
        env={**os.environ, 'PYTHONPATH': str(site)}, cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert 'backbone' in run.stdout
    assert os.access(mim / 'tools' / 'dist_train.sh', os.X_OK)


def test_wheel_from_the_source_distribution_is_the_same(sources, wheel, tmp_path):
    run = subprocess.run(
        [sys.executable, 'setup.py', '-q', 'sdist', '--dist-dir', str(tmp_path)],
        cwd=sources, capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    (archive,) = tmp_path.glob('*.tar.gz')
    with tarfile.open(archive) as file:
        file.extractall(tmp_path / 'unpacked', filter='data')
    (unpacked,) = (tmp_path / 'unpacked').iterdir()
    out = tmp_path / 'wheel'
    pip('wheel', '--no-deps', '--no-build-isolation', '--no-index', '--wheel-dir', out, unpacked)
    (again,) = out.iterdir()
    contents = []
    for path in (wheel, again):
        with zipfile.ZipFile(path) as file:
            contents.append({n for n in file.namelist() if '.dist-info/' not in n})
    assert contents[0] == contents[1]


def test_editable_installation_follows_the_sources(sources, tmp_path):
    pip(
        'install', '--no-deps', '--no-build-isolation', '--no-index', '--prefix', tmp_path,
        '--editable', sources,
    )  # fmt: skip
    mim = sources / 'sparsevit_mm' / '.mim'
    assert sorted(path.name for path in mim.iterdir()) == [
        'configs',
        'model-index.yml',
        'projects',
        'tools',
    ]
    assert (mim / 'configs' / 'new.py').resolve() == sources / 'configs' / 'new.py'
    assert (mim / 'model-index.yml').read_text() == (ROOT / 'model-index.yml').read_text()
