"""Commands printed in the documentation run as they are printed.

What readers fill in has a stand-in: a tiny detector of four stages for CONFIG, its trained weights
for CHECKPOINT, and so on. `make`, `pip` and `source` are the set-up that these tests run in. Python
that begins with its imports runs after the commands of its page.
"""

from __future__ import annotations

import json
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

from sparsevit_mm.apis.configs import load_config, register_framework
from sparsevit_mm.checks.configs import build_model
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.ops.compat import can_export
from sparsevit_mm.profiling.inputs import computing_in
from tests.helpers.pages import PAGES, ROOT, commands
from tests.helpers.tiny_data import (
    DETECTOR,
    PLAIN_DETECTOR,
    SEGMENTOR,
    write_config,
    write_tiny_data,
)
from tests.tools.conftest import call_tool, load_tool

FOUR_STAGES = """
_base_ = 'tiny.py'
model = dict(
    backbone=dict(depths=(2, 2, 6, 2), num_heads=(1, 2, 4, 8), pruning_ratios=[0.2, 0.4, 0.0, 0.0]))
auto_scale_lr = dict(base_batch_size=1)
custom_hooks = []
"""
FASTERVIT = """
_base_ = 'segmentor.py'
model = dict(
    backbone=dict(
        _delete_=True, type='sparsevit_mm.FasterViT', arch='0', dim=16, in_dim=16,
        depths=(1, 1, 1, 1)),
    decode_head=dict(in_channels=32))
"""

VENV = ROOT / '.venv'
BEVDET_DEMO = 'bevdet_sparsevit-mini_adaptation_demo6-112x336'
HEAVY = re.compile(
    r'benchmark_onnx\.py|export_onnx\.py configs/fastervit|paper_tables\.py run'
    r'|six.cameras|demo6'
)
"""Large networks, and BEVDet: `make test-all`."""

STAND_INS = {
    'CONFIG': 'dial.py',
    'CHECKPOINT': 'work_dirs/dial/epoch_3.pth',
    'DIR': 'work_dirs/dial',
    'PICTURE': 'data/images/0.png',
    'PICTURE_OR_FOLDER': 'data/images',
    'work_dirs/NAME/epoch_36.pth': 'work_dirs/dial/epoch_3.pth',
    'ANY_SWIN.pth': 'plain.pth',
    'SPARSEVIT.pth': 'plain.pth',
    'coco/segm_mAP': 'coco/bbox_mAP',
    '35ms': '3500ms',
    'my_checkpoint.pth': 'plain.pth',
    'work_dirs/my_detector/iter_300.pth': 'work_dirs/my_detector/iter_2.pth',
    f'work_dirs/{BEVDET_DEMO}/iter_400.pth': f'work_dirs/{BEVDET_DEMO}/iter_2.pth',
}
FEW = '--share 0.5 --population 6 --parents 2 --evaluations 7'
SHORTENED = {
    '--latency 0.7x --dtype': f'--shape 448 448 {FEW}',
    'search.py': FEW,
    '--six-cameras': '--training 2 --validation 1 --width 128 --height 64',
    'train.py projects/street_scenes/configs/bevdet': '--cfg-options train_cfg.max_iters=2 '
    'train_cfg.val_interval=2 '
    'default_hooks.checkpoint.interval=2',
    'sparsify.py': '--shape 64 96 --pictures 1',
    'train.py my_detector.py': '--cfg-options train_cfg.max_iters=2 train_cfg.val_interval=2 '
    'default_hooks.checkpoint.interval=2',
}
"""Flags added where the printed command takes minutes."""


def save_weights(config, path=None):
    """Random weights of a config's model, in a file of its name if no other is given."""
    cfg = load_config(str(config))
    register_framework(cfg)
    torch.manual_seed(0)
    path = path or config.with_suffix('.pth').name
    torch.save({'state_dict': build_model(cfg).state_dict()}, path)
    return path


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    """A folder like the project's, with the files that the stand-ins name."""
    folder = tmp_path_factory.mktemp('project')
    for name in ('configs', 'projects', 'tools'):
        (folder / name).symlink_to(ROOT / name)
    data = write_tiny_data(folder / 'data')
    for name, text in dict(
        tiny=DETECTOR,
        dial=FOUR_STAGES,
        plain=PLAIN_DETECTOR,
        segmentor=SEGMENTOR,
        fastervit=FASTERVIT,
    ).items():
        write_config(folder / f'{name}.py', text, data)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for kind in ([], ['--wide']):
            few = ('--training', 2, '--validation', 2, '--workers', 1)
            call_tool('make_demo_data', *kind, *few)
        call_tool('train', 'dial.py')
        for name in ('plain.py', 'segmentor.py'):
            save_weights(Path(name))
        (folder / 'work_dirs' / 'demo').mkdir()
        save_weights(
            load_tool('demo').CONFIG, 'work_dirs/demo/iter_640.pth'
        )  # `make demo` is not run here
    write_own_data(folder)
    return folder


def write_own_data(folder):
    """What the page about a reader's own data asks for: five images, and the page's own config."""
    data = write_tiny_data(folder / 'my_data', images=5)
    coco = json.loads((data / 'instances.json').read_text())
    for category, name in zip(coco['categories'], ('screw', 'nut')):
        category['name'] = name
    for name in ('train.json', 'val.json'):
        (data / name).write_text(json.dumps(coco))
    page = (ROOT / 'docs' / 'own_data.md').read_text()
    (code,) = re.findall(r'```python\n(# my_detector\.py.*?)```', page, re.S)
    (folder / 'my_detector.py').write_text(code)


def what_torch_lacks(command):
    """What an older torch cannot do that a command asks for; None if it can all."""
    if 'onnx' in command and not can_export():
        return 'export graphs'
    if '--dtype float16' in command:
        try:
            computing_in('float16', 'cpu')
        except ConfigError:
            return 'compute float16 on a CPU'
    return None


def run(command):
    words = shlex.split(command)
    if words[0] == 'make':
        assert re.search(rf'^{words[1]}:', (ROOT / 'Makefile').read_text(), re.M), command
        return
    if words[0] == 'pip':
        assert words[1] == 'install' and words[-1].startswith('.'), command
        return
    if words[0] == 'source':
        assert VENV in (ROOT / words[1]).parents
        return
    assert words[0] == 'python', f'{command}: the tests cannot run this; mark the block `shell`'
    if words[1] == '-m':
        subprocess.run([sys.executable, *words[1:]], check=True)
        return
    named = dict(STAND_INS)
    if 'mIoU' in command:
        named |= {'CONFIG': 'segmentor.py', 'CHECKPOINT': 'segmentor.pth'}
    if 'sparsify' in command:
        named['my_config.py'] = 'plain.py'
    if 'show_attention' in command:
        named |= {'CONFIG': 'fastervit.py', 'CHECKPOINT': save_weights(Path('fastervit.py'))}
    for word in words:
        if word.startswith(('configs/', 'projects/')) and 'CHECKPOINT' in words:
            named['CHECKPOINT'] = save_weights(Path(word))
    added = next((flags for part, flags in SHORTENED.items() if part in command), '')
    tool = words[1].removeprefix('tools/').removesuffix('.py')
    call_tool(tool, *(named.get(word, word) for word in words[2:]), *added.split())


@pytest.mark.parametrize('name', ['README.md', 'README_zh-CN.md'])
def test_the_lines_of_python_use_what_the_demo_makes(name):
    demo = load_tool('demo')
    (code,) = re.findall(r'```python\nfrom mmdet(.*?)```', (ROOT / name).read_text(), re.S)
    assert f"'{demo.CONFIG.relative_to(ROOT)}'" in code
    assert f"'{demo.DATA}/images/validation/" in code
    assert f"'{demo.WORK_DIR}/iter_" in code


TAKES_LONG = ('own_data.md',)


@pytest.mark.parametrize(
    'page',
    [
        pytest.param(page, marks=[pytest.mark.slow] if page.name in TAKES_LONG else [])
        for page in PAGES
        if commands(page, 'bash')
    ],
    ids=str,
)
def test_commands_of_a_page_run(page, place, monkeypatch, request):
    monkeypatch.chdir(place)
    if 'sparsify' in page.read_text():
        request.getfixturevalue('clock_of_windows')
    lacking = list(filter(None, map(what_torch_lacks, commands(page, 'bash'))))
    if lacking:
        pytest.skip(f'torch {torch.__version__} does not {" or ".join(dict.fromkeys(lacking))}')
    for command in commands(page, 'bash'):
        if not HEAVY.search(command):
            print(command)
            run(command)
    for code in re.findall(r'```python\n((?:from|import) .*?)```', page.read_text(), re.S):
        print(code)
        exec(code, {})


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize('command', [c for page in PAGES for c in commands(page, 'bash')])
def test_heavy_commands_run(command, place, monkeypatch):
    monkeypatch.chdir(place)
    if not HEAVY.search(command):
        pytest.skip('run with its page')
    run(command)


def test_mmdetections_tool_reads_the_logs(place, monkeypatch):
    """`analyze_logs.py` needs seaborn for the looks of its plots alone, which stays out of this."""
    import mmdet

    monkeypatch.setitem(sys.modules, 'seaborn', ModuleType('seaborn'))
    tool = Path(mmdet.__file__).parent / '.mim' / 'tools' / 'analysis_tools' / 'analyze_logs.py'
    load_json_logs = runpy.run_path(str(tool))['load_json_logs']
    file = min((place / 'work_dirs' / 'dial').glob('*/vis_data/scalars.json'))
    (epochs,) = load_json_logs([str(file)])
    assert sorted(epochs) == [1, 2, 3]
    for values in epochs.values():
        assert len(values['loss_cls']) == len(values['time']) == len(values['step']) > 0
    assert len(epochs[3]['bbox_mAP']) == 1
