"""Packaging. Versions come from sparsevit_mm/versions.py, which is read without being imported."""

import runpy
from pathlib import Path

from setuptools import find_packages, setup

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
    'dev': list(VERSIONS['DEV_TOOLS']),
}

setup(
    name='sparsevit_mm',
    version=VERSIONS['__version__'],
    description='SparseViT and FasterViT backbones and window pruning for OpenMMLab',
    long_description=(HERE / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    author='The sparsevit_mm authors',
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
