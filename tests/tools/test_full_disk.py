"""A full disk under every tool that writes: one sentence, and no half file under a final name."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.tools.conftest import ROOT

SHAPE = ['--shape', '64', '96']
WRITES = {
    'train': ['DETECTOR', '--work-dir', 'OUT'],
    'test': ['DETECTOR', 'TRAINED', '--work-dir', 'OUT', '--out', 'OUT/found.pkl'],
    'search': [
        'DETECTOR', 'TRAINED', '--macs', '0.9x', '--metric', 'loss', '--work-dir', 'OUT',
        '--evaluations', '2',
    ],
    'sparsify': ['PLAIN', 'TRAINED', '--ratios', '0.5', '--no-test', '--out-dir', 'OUT', *SHAPE],
    'export_onnx': ['DETECTOR', 'TRAINED', '--out', 'OUT/a.pt2', *SHAPE],
    'publish_model': ['TRAINED', 'OUT/a.pth'],
    'model_converters/to_mmdet': ['TRAINED', 'OUT/a.pth'],
    'swap_backbone': ['PLAIN', '--backbone', 'fastervit-0', '--out', 'OUT/a.py'],
    'get_flops': ['DETECTOR', '--out', 'OUT/a.json', *SHAPE],
    'print_config': ['DETECTOR', '--out', 'OUT/a.py'],
    'browse_dataset': ['DETECTOR', '--out-dir', 'OUT', '--num', '1'],
    'image_demo': ['PICTURES', 'DETECTOR', 'TRAINED', '--out-dir', 'OUT'],
    'make_demo_data': ['--root', 'OUT/data'],
}  # fmt: skip
LOGS = ('.log', '.lock', 'vis_data/config.py', 'vis_data/scalars.json')


@pytest.fixture(scope='module')
def on_a_full_disk():
    """Calls a tool: its status and what it wrote to stderr."""
    if not hasattr(os, 'fork'):
        pytest.skip('the limit is set in a forked process')
    with subprocess.Popen(
        [sys.executable, '-m', 'tests.helpers.full_disk'],
        cwd=ROOT,
        env={**os.environ, 'OMP_NUM_THREADS': '1'},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as forks:

        def call(folder, name, args):
            print(
                json.dumps([str(folder), name, list(map(str, args))]), file=forks.stdin, flush=True
            )
            return json.loads(forks.stdout.readline())

        yield call
        forks.stdin.close()


SLOW = ('train', 'test', 'search')


@pytest.mark.parametrize(
    'name',
    [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in WRITES],
)
def test_a_full_disk(name, tiny, trained, tmp_path, on_a_full_disk, request):
    if name == 'export_onnx':
        request.getfixturevalue('export')
    words = {
        'DETECTOR': tiny.detector,
        'PLAIN': tiny.plain,
        'TRAINED': trained / 'epoch_3.pth',
        'PICTURES': tiny.data / 'images',
        'OUT': tmp_path,
    }
    args = []
    for arg in WRITES[name]:
        word, slash, rest = arg.partition('/')
        args.append(f'{words.get(word, word)}{slash}{rest}')
    code, said = on_a_full_disk(tmp_path, name, args)
    assert code == 1, said
    assert 'Traceback' not in said
    errors = [line for line in said.splitlines() if line.startswith('error: ')]
    assert len(errors) == 1, said
    assert 'cannot be written' in errors[0]
    left = [path for path in tmp_path.rglob('*') if path.is_file()]
    assert not [path for path in left if not str(path).endswith(LOGS)]
