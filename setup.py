"""Packaging: what pyproject.toml cannot say. It reads versions.py without importing the package."""

import runpy
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).parent
VERSIONS = runpy.run_path(str(HERE / 'sparsevit_mm' / 'versions.py'))
PINNED = {name: f'{name}=={version}' for name, version in VERSIONS['FRAMEWORKS'].items()}
NEEDS = VERSIONS['NEEDS_BY_FRAMEWORK']
(FIRST, LAST) = VERSIONS['PYTHON']

# mmcv is in no list: it must be built against the torch at hand, which pip's isolated build cannot.
EXTRAS = {
    'mmdet': [PINNED['mmdet'], *NEEDS['mmdet']],
    'mmseg': [PINNED['mmsegmentation'], *NEEDS['mmseg']],
    'mmdet3d': [PINNED['mmdet3d'], VERSIONS['NUMPY'], *NEEDS['mmdet3d']],
    'onnx': list(VERSIONS['ONNX']),
    'openvino': list(VERSIONS['OPENVINO']),
    'dev': list(VERSIONS['DEV_TOOLS']),
}

FOR_MIM = ('configs', 'projects', 'tools', 'model-index.yml')
NOT_FOR_MIM = ('set_up.py', 'tests', '__pycache__', '*.pyc')  # of the source tree alone


class BuildWithMim(build_py):
    """Puts configs, tools and the model index into sparsevit_mm/.mim, where `mim` looks for them.

    A wheel gets copies; an editable installation gets links, so that it follows the sources.
    """

    def run(self) -> None:
        """Builds, and adds what is for mim."""
        super().run()
        if self.editable_mode:
            self._link(HERE / 'sparsevit_mm' / '.mim')
        else:
            self._copy(Path(self.build_lib) / 'sparsevit_mm' / '.mim')

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """Every file built, those for mim too."""
        outputs: list[str] = super().get_outputs(include_bytecode)
        if not self.editable_mode:
            folder = Path(self.build_lib) / 'sparsevit_mm' / '.mim'
            outputs += [str(path) for path in folder.rglob('*') if path.is_file()]
        return outputs

    def _copy(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name in FOR_MIM:
            if (HERE / name).is_dir():
                unwanted = shutil.ignore_patterns(*NOT_FOR_MIM)
                shutil.copytree(HERE / name, folder / name, ignore=unwanted)
            else:
                shutil.copy2(HERE / name, folder / name)

    def _link(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        for name in FOR_MIM:
            if not (folder / name).exists():
                (folder / name).symlink_to(Path('..', '..', name))


setup(
    version=VERSIONS['__version__'],
    cmdclass={'build_py': BuildWithMim},
    package_data={'sparsevit_mm': ['py.typed']},
    packages=find_packages(include=['sparsevit_mm', 'sparsevit_mm.*']),
    python_requires=f'>={FIRST[0]}.{FIRST[1]}',
    install_requires=[
        f'torch>={VERSIONS["SUPPORTED"]["torch"][1]}',
        PINNED['mmengine'],
        'packaging',
        *VERSIONS['OWN_NEEDS'],
    ],
    extras_require=EXTRAS,
)
