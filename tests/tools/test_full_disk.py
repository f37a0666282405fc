"""A full disk under every tool that writes: one sentence, and no half file under a final name."""

from __future__ import annotations

import os
import resource
import signal
import sys
import traceback

import pytest

from tests.tools.conftest import call_tool

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


def fill(folder):
    """From the first file or folder that is made in a folder on, files may have 10 bytes."""

    def full(event, args):
        if event not in ('open', 'os.mkdir') or not str(args[0]).startswith(str(folder)):
            return
        if event == 'os.mkdir' or args[2] & (os.O_WRONLY | os.O_RDWR):
            hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
            resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    sys.addaudithook(full)


def on_a_full_disk(folder, name, args):
    """Calls a tool in a forked process; its status and what it wrote to stderr."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 3
        try:
            os.dup2(writing, 2)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            sys.stderr = os.fdopen(2, 'w', buffering=1, closefd=False)
            fill(folder)
            call_tool(name, *args)
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as errors:
        said = errors.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said


SLOW = ('train', 'test', 'search')


@pytest.mark.parametrize(
    'name',
    [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in WRITES],
)
def test_a_full_disk(name, tiny, trained, tmp_path):
    if not hasattr(os, 'fork'):
        pytest.skip('the limit is set in a forked process')
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
