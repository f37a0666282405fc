"""What every test starts from, whichever tests ran before it."""

from __future__ import annotations

import gc
import os
import random

if 'PYTEST_XDIST_WORKER_COUNT' in os.environ:
    # The processes share the cores; OpenMP reads this when torch is imported, here and in commands.
    processes = int(os.environ['PYTEST_XDIST_WORKER_COUNT'])
    threads = max(1, (os.cpu_count() or 1) // processes)
    os.environ.setdefault('OMP_NUM_THREADS', str(threads))

import numpy as np
import pytest
import torch

if not torch.cuda.is_available():
    # Triton reads this when it is imported, and torch's compiler may be the first to do so.
    os.environ.setdefault('TRITON_INTERPRET', '1')

from sparsevit_mm import SparseViT
from sparsevit_mm.ops import backend
from sparsevit_mm.ops.compat import can_compile, can_export

TOOLS = (
    'projects',
    'tests/apis',
    'tests/benchmarks',
    'tests/checkpoints/test_earlier_version.py',
    'tests/configs',
    'tests/deployment',
    'tests/det3d',
    'tests/engine',
    'tests/models/test_compile.py',
    'tests/models/test_current_weights.py',
    'tests/models/test_distributed.py',
    'tests/models/test_kernels.py',
    'tests/ops/triton',
    'tests/search/test_measure.py',
    'tests/swap',
    'tests/test_fuzzed_files.py',
    'tests/test_wheel.py',
    'tests/tools',
)
DOCS = ('tests/docs', 'tests/benchmarks/test_performance_page.py')


def pytest_collection_modifyitems(config, items):
    """Marks what `make check` leaves out, by where it lies."""
    for item in items:
        path = item.path.relative_to(config.rootpath).as_posix()
        for marker, places in (('tools', TOOLS), ('docs', DOCS)):
            if any(path == place or path.startswith(f'{place}/') for place in places):
                item.add_marker(marker)


@pytest.fixture(autouse=True, scope='module')
def small_heap():
    """Garbage is not looked for in what earlier modules left: each data set built looks for it."""
    gc.collect()
    gc.freeze()


THREADS = torch.get_num_threads()


@pytest.fixture(autouse=True)
def as_many_threads_as_at_first():
    """Numba, in MMDetection3D's metrics, sets OpenMP's threads anew: last bits depend on them."""
    if torch.get_num_threads() != THREADS:
        torch.set_num_threads(THREADS)


@pytest.fixture(autouse=True)
def seeded():
    """The same random numbers for a test alone and for the same test in the whole suite."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 -- the transforms of the frameworks use it
    torch.manual_seed(0)


@pytest.fixture
def clock_of_windows(monkeypatch):
    """A clock that only forward passes of SparseViT move, by the share of windows they compute."""
    now, forward = [0.0], SparseViT.forward

    def timed_forward(self, images):
        kept = [1 - ratio for stage in self.pruning_schedule.ratios for ratio in stage]
        now[0] += sum(kept) / len(kept)
        return forward(self, images)

    monkeypatch.setattr(SparseViT, 'forward', timed_forward)
    monkeypatch.setattr('time.perf_counter', lambda: now[0])


@pytest.fixture
def triton_device():
    """Where Triton's kernels run in a test: on a GPU, else on the CPU in Triton's interpreter."""
    if not backend.HAS_TRITON:
        pytest.skip('needs Triton and torch 2.4')
    with backend.use('triton'):
        yield torch.device('cuda' if torch.cuda.is_available() else 'cpu')


@pytest.fixture(scope='session')
def compiler():
    """Leaves out a test that this torch cannot compile the backbones for."""
    if not can_compile():
        pytest.skip(f'the compiler of torch {torch.__version__} does not take the backbones')


@pytest.fixture(scope='session')
def export():
    """Leaves out a test that this torch cannot export graphs for."""
    if not can_export():
        pytest.skip(f'torch {torch.__version__} cannot export the backbones')


@pytest.fixture(scope='session')
def onnx(export):
    """The package, where ONNX files can be written and run."""
    for package in ('onnxscript', 'onnxruntime'):
        pytest.importorskip(package, reason=f'{package} is not installed')
    return pytest.importorskip('onnx', reason='onnx is not installed')


def with_larger_weights(net):
    """A network in evaluation whose biases and positions matter."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return net.eval()
