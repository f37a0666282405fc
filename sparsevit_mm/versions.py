"""Versions of Python, torch and the frameworks that work together, as plain data.

`setup.py` and the Makefile read this file without importing the package, so it must contain nothing
but literals.
"""

__version__ = '0.2.0'

PYTHON = ((3, 10), (3, 12))
"""First and last Python that all the frameworks run on."""

TORCH = '2.13.0'
"""Installed where the interpreter has no torch yet."""

FRAMEWORKS = {
    'mmengine': '0.10.7',
    'mmcv': '2.1.0',
    'mmdet': '3.3.0',
    'mmsegmentation': '1.2.2',
    'mmdet3d': '1.4.0',
}
"""OpenMMLab packages; installed with `NEEDS_BY_FRAMEWORK` instead of their own dependencies."""

SUPPORTED = {
    # import name: (distribution, lowest, first that does not work)
    'torch': ('torch', '2.1', '3'),
    'mmengine': ('mmengine', '0.10', '1'),
    'mmcv': ('mmcv', '2.0.0', '2.2.0'),
    'mmdet': ('mmdet', '3.0', '4'),
    'mmseg': ('mmsegmentation', '1.0', '2'),
    'mmdet3d': ('mmdet3d', '1.1', '2'),
}
"""Versions that the package accepts at run time."""

BUILD_TOOLS = ('setuptools>=77,<82', 'wheel', 'ninja')
"""mmcv builds with these, and mmengine needs setuptools' pkg_resources at run time."""

NUMPY = 'numpy==1.26.4'
"""nuscenes-devkit, which mmdet3d imports, needs NumPy 1."""

OWN_NEEDS = ('matplotlib', 'numpy', 'rich', BUILD_TOOLS[0])
"""Dependencies of the package besides torch and mmengine."""

NEEDS_BY_FRAMEWORK = {
    # Headless OpenCV needs no libGL, unlike the opencv-python in the metadata of mmengine and mmcv.
    'mmengine': (
        'addict',
        'matplotlib',
        'opencv-python-headless<4.12',
        'packaging',
        'pillow',
        'pyyaml',
        'rich',
        'termcolor',
        'yapf',
    ),
    'mmdet': ('pycocotools', 'scipy', 'shapely~=2.0.3', 'six', 'terminaltables', 'tqdm'),
    'mmseg': ('ftfy', 'prettytable', 'regex', 'scipy'),
    # Without open3d (400 MB, only for its viewer, and guarded at import).
    'mmdet3d': (
        'cachetools',
        'descartes',
        'fire',
        'networkx',
        'numba',
        'pandas',
        'parameterized',
        'plyfile',
        'pyquaternion',
        'scikit-image',
        'scikit-learn',
        'tensorboard',
        'trimesh',
    ),
}
"""Dependencies of the frameworks, by import name."""

DEVKITS = ('nuscenes-devkit==1.2.0', 'lyft-dataset-sdk==0.0.8')
"""Imported by mmdet3d; installed without dependencies, which include a second OpenCV."""

ONNX = (
    'onnx==1.23.2',
    'onnxscript==0.7.2',
    'onnxruntime==1.32.0; python_version >= "3.11"',
    'onnxruntime==1.23.2; python_version < "3.11"',
)
"""Writing and running ONNX files; optional."""

OPENVINO = ('openvino==2026.4.1', 'nncf==3.4.0')
"""Running exported files on OpenVINO, and quantizing them for it; optional."""

TRITON = 'triton==3.6.0'
"""Runs the GPU kernels in its interpreter in tests; torch for CPUs does not include it."""

DEV_TOOLS = (
    'hypothesis',
    'import-linter>=2,<3',
    'mkdocs-material>=9.5,<10',
    'mkdocstrings[python]>=1,<2',
    'mypy',
    'pylint',
    'pytest',
    'pytest-timeout',
    'pytest-xdist',
    'ruff==0.17.6',
    'types-PyYAML',
)
"""Tests, lint and documentation."""
