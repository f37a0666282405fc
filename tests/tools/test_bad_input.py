"""Wrong input: one sentence, exit code not 0, no traceback, nothing written."""

from __future__ import annotations

import json
import re

import pytest
import torch

from sparsevit_mm import SparseViT
from tests.helpers.tiny_data import DETECTOR, PLAIN_DETECTOR, write_config
from tests.tools.conftest import call_tool, files_below, load_tool, run_tool


@pytest.fixture
def folder(tiny, tmp_path, monkeypatch):
    """An otherwise empty current folder with good and bad files to name."""
    write_config(tmp_path / 'detector.py', DETECTOR, tiny.data)
    write_config(tmp_path / 'plain.py', PLAIN_DETECTOR, tiny.data)
    write_config(tmp_path / 'no_data.py', DETECTOR, tmp_path / 'nowhere')
    (tmp_path / 'syntax.py').write_text('model = dict(\n')
    (tmp_path / 'orphan.py').write_text("_base_ = './missing_base.py'\n")
    (tmp_path / 'package.py').write_text("_base_ = 'mmrotate::some/config.py'\n")
    (tmp_path / 'garbage.pth').write_bytes(b'no checkpoint')
    torch.save({}, tmp_path / 'nothing.pth')
    (tmp_path / 'empty.png').touch()
    (tmp_path / 'broken.png').write_bytes(b'\x89PNG\r\n\x1a\n and then nothing of the kind')
    (tmp_path / 'no_pictures').mkdir()
    (tmp_path / 'no.json').write_text('{')
    (tmp_path / 'short.json').write_text(json.dumps({'ratios': [[0.5, 0.5]]}))
    sizes = dict(embed_dims=24, depths=(2, 2), num_heads=(1, 2), out_indices=(0, 1), window_size=4)
    wider = SparseViT(**sizes)
    torch.save(wider.state_dict(), tmp_path / 'wider.pth')
    detector = {f'backbone.{name}': weight for name, weight in wider.state_dict().items()}
    torch.save({'state_dict': detector, 'meta': {}}, tmp_path / 'wider_detector.pth')
    monkeypatch.chdir(tmp_path)
    return tmp_path


BACKBONE = 'model.backbone'


def option(*texts):
    return ['detector.py', '--cfg-options', *texts]


def pretrained(file):
    init_cfg = f'{BACKBONE}.init_cfg'
    return option(f'{init_cfg}.type=Pretrained', f'{init_cfg}.checkpoint={file}')


CASES = {
    'missing config': ('train', ['nope.py'], 'the config nope.py does not exist'),
    'config with a syntax error': ('train', ['syntax.py'], 'syntax.py cannot be read'),
    'base config missing': ('train', ['orphan.py'], 'orphan.py cannot be read: .*missing_base'),
    'base of an absent package': ('train', ['package.py'], 'mmrotate is not installed'),
    'unknown framework': ('train', option('default_scope=mmpose'), "default_scope is 'mmpose'"),
    'missing data': (
        'train',
        ['no_data.py'],
        r'train_dataloader.dataset.data_root is missing: looked for \S+/nowhere; get the tiny set',
    ),
    'missing annotations': (
        'train',
        option('train_dataloader.dataset.ann_file=other.json'),
        'train_dataloader.dataset.ann_file is missing: looked for .*/data/other.json',
    ),
    'missing annotations of the metric': (
        'train', option('val_evaluator.ann_file=other.json'), 'val_evaluator.ann_file is missing',
    ),
    'unwritable work dir': (
        'train',
        ['detector.py', '--work-dir', 'garbage.pth/work'],
        'work_dir is garbage.pth/work, but nothing can be written there .*Not a directory',
    ),
    'mixed precision without a GPU': ('train', ['detector.py', '--amp'], 'needs a GPU'),
    'no base batch size': (
        'train', ['detector.py', '--auto-scale-lr'], 'auto_scale_lr.base_batch_size is not in',
    ),
    'resume from nothing': (
        'train', ['detector.py', '--resume', 'nope.pth'], 'resume is nope.pth, but there is no',
    ),
    'resume from another architecture': (
        'train',
        ['detector.py', '--resume', 'wider_detector.pth'],
        r'wider_detector.pth is of another architecture .*: backbone\.\S+ is \(24.*instead of',
    ),
    'start from another architecture': (
        'train', option('load_from=wider_detector.pth'), 'is of another architecture',
    ),
    'start from no weights': ('train', option('load_from=nothing.pth'), 'backbone.* is missing'),
    'pre-trained backbone missing': (
        'train',
        pretrained('nope.pth'),
        'init_cfg of SparseViT is nope.pth',
    ),
    'pre-trained backbone of another architecture': (
        'train',
        pretrained('wider.pth'),
        'wider.pth is of another architecture',
    ),
    'ratio out of range': ('train', option(f'{BACKBONE}.pruning_ratios=1.5'), 'hold 1.5, but'),
    'ratios that decrease': (
        'train', option(f'{BACKBONE}.pruning_ratios=[[0.5,0.2],[0.0]]'), 'must not decrease',
    ),
    'wrong number of ratios': (
        'train', option(f'{BACKBONE}.pruning_ratios=[[0.5]]'), 'one number a stage',
    ),
    'misspelled class': (
        'train', option(f'{BACKBONE}.type=sparsevit_mm.SparseVit'), "nearest is '\\S+.SparseViT'",
    ),
    'misspelled argument of a backbone': (
        'train',
        option(f'{BACKBONE}.pruning_ratio=0.5'),
        'model.backbone.pruning_ratio is 0.5, but must be an argument of SparseViT; the nearest is '
        'pruning_ratios.$',
    ),
    'misspelled argument of a parent class': (
        'train',
        option(f'{BACKBONE}.archh=tiny'),
        "model.backbone.archh is 'tiny', but must be an argument of SparseViT; the nearest is arch",
    ),
    'misspelled argument of a hook': (
        'train',
        option('custom_hooks.0.schedules=0.5'),
        'custom_hooks.0.schedules is 0.5, but must be an argument of WindowPruningHook; the '
        'nearest is schedule',
    ),
    'misspelled argument of the training loop': (
        'train',
        option('train_cfg.max_epoch=9'),
        'train_cfg.max_epoch is 9, but must be an argument of EpochBasedTrainLoop; the nearest is '
        'max_epochs',
    ),
    'misspelled argument of a training loop by iterations': (
        'train',
        option('train_cfg.by_epoch=False', 'train_cfg.maxiters=9'),
        'train_cfg.m.* must be an argument of IterBasedTrainLoop; the nearest is max_iters',
    ),
    'neck for other channels': (
        'train',
        option('model.neck.in_channels=[12,48]'),
        r'model.neck.in_channels is \[12, 48\], but must be \[12, 24\], the channels of the maps '
        'of SparseViT',
    ),
    'unknown arch': ('train', option(f'{BACKBONE}.arch=huge'), "arch is 'huge', but must be"),
    'heads that do not divide': (
        'train', option(f'{BACKBONE}.num_heads=[5,2]'), 'num_heads of stage 0 is 5',
    ),
    'hook for a backbone without schedule': (
        'train', ['plain.py'], 'the backbone SwinTransformer has no pruning schedule',
    ),
    'hook with wrong ratios': (
        'train', option('custom_hooks.0.schedule=[0.1,0.2,0.3]'), 'pruning_ratios is',
    ),
    'hook with a missing schedule': (
        'train', option('custom_hooks.0.schedule=nope.json'), 'nope.json cannot be read',
    ),
    'checkpoint missing': (
        'test', ['detector.py', 'nope.pth'], 'checkpoint is nope.pth, but there is no such file',
    ),
    'checkpoint broken': ('test', ['detector.py', 'garbage.pth'], 'garbage.pth is no checkpoint'),
    'checkpoint of another architecture': (
        'test', ['detector.py', 'wider_detector.pth'], 'is of another architecture',
    ),
    'ratios that are none': (
        'test', ['detector.py', 'nothing.pth', '--ratios', 'half'], "ratios is 'half'",
    ),
    'ratios out of range': (
        'test', ['detector.py', 'nothing.pth', '--ratios', '-0.5'], 'hold -0.5',
    ),
    'schedule that is no JSON': (
        'test', ['detector.py', 'nothing.pth', '--schedule', 'no.json'], 'is not valid JSON',
    ),
    'schedule of another network': (
        'test',
        ['detector.py', 'nothing.pth', '--schedule', 'short.json'],
        r'the pruning schedule is for stages of \(2,\) blocks, but the network has \(2, 2\)',
    ),
    'predictions in an unknown format': (
        'test', ['detector.py', 'nothing.pth', '--out', 'predictions.txt'], 'ends in .pkl',
    ),
    'picture missing': (
        'image_demo', ['nope.png', 'detector.py'], 'the image nope.png does not exist',
    ),
    'picture empty': ('image_demo', ['empty.png', 'detector.py'], 'empty.png .*it is empty'),
    'picture broken': ('image_demo', ['broken.png', 'detector.py'], 'broken.png cannot be read'),
    'folder without pictures': (
        'image_demo', ['no_pictures', 'detector.py'], 'the folder no_pictures holds no image',
    ),
    'config as picture': ('image_demo', ['detector.py', 'detector.py'], 'is not an image'),
    'device unknown': (
        'image_demo', ['data.png', 'detector.py', '--device', 'abacus'], 'device is abacus',
    ),
    'ratios for a backbone without schedule': (
        'get_flops',
        ['plain.py', '--shape', '64', '64', '--ratios', '0.5'],
        'SwinTransformer has no pruning schedule',
    ),
    'shape not positive': (
        'get_flops', ['detector.py', '--shape', '0', '64'], 'must be positive',
    ),
    'figures where nothing can be written': (
        'get_flops',
        ['detector.py', '--shape', '64', '64', '--out', 'garbage.pth/cost.json'],
        'out is garbage.pth, but nothing can be written there',
    ),
}  # fmt: skip


@pytest.mark.parametrize('case', CASES)
def test_one_sentence_and_nothing_written(case, folder, tiny, capsys):
    tool, args, message = CASES[case]
    (folder / 'data.png').write_bytes((tiny.data / 'images' / '0.png').read_bytes())
    before = files_below(folder)
    with pytest.raises(SystemExit) as end:
        call_tool(tool, *args)
    assert end.value.code == 1
    assert files_below(folder) == before
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith('error: ')
    assert re.search(message, last), last


def test_no_traceback_in_the_terminal(folder):
    for args in (['no_data.py'], ['detector.py', '--cfg-options', f'{BACKBONE}.arch=huge']):
        run = run_tool('train', *args, cwd=folder)
        assert run.code == 1
        assert run.stdout == ''
        assert run.stderr.startswith('error: ')
        assert run.stderr.count('\n') == 1


def test_faults_of_ours_keep_their_traceback(folder, monkeypatch):
    tool = load_tool('train')

    def fail(*args, **kwargs):
        raise ValueError('not the fault of the user')

    monkeypatch.setattr(tool, 'train', fail)
    with pytest.raises(ValueError, match='not the fault'):
        tool.main(['detector.py'])


def test_help_tells_defaults(capsys):
    for tool, told in (
        ('browse_dataset', 'how many images; fewer if there are (default: 20)'),
        ('throughput', '(default: 224 224)'),
        ('train', 'what started the processes (default: none)'),
    ):
        with pytest.raises(SystemExit):
            call_tool(tool, '--help')
        assert told in ' '.join(capsys.readouterr().out.split())
