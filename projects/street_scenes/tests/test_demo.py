"""The whole demo, small: interrupted, taken up again, and repeated."""

from __future__ import annotations

import json

import pytest

from projects import runs
from projects.street_scenes import demo as module
from projects.street_scenes.dataset import WideSettings
from projects.street_scenes.demo import Demo, run_demo
from projects.street_scenes.tests.test_comparison import CONFIG, TINY_IMAGES
from sparsevit_mm.errors import ConfigError

TINY = {
    **TINY_IMAGES,
    'train_cfg.max_iters': 4,
    'train_cfg.val_interval': 4,
    'default_hooks.checkpoint.interval': 2,
    'train_dataloader.batch_size': 1,
    'train_dataloader.num_workers': 0,
    'train_dataloader.persistent_workers': False,
    'val_dataloader.num_workers': 0,
    'val_dataloader.persistent_workers': False,
    'test_dataloader.num_workers': 0,
    'test_dataloader.persistent_workers': False,
}


def tiny_demo(folder, **changes):
    settings = dict(
        config=CONFIG,
        seed=1,
        work_dir=folder / 'run',
        data_root=folder / 'data',
        settings=WideSettings(2, 1, width=224, height=112, seed=1, shorter=1),
        cfg_options=TINY,
    )
    return Demo(**{**settings, **changes})


@pytest.fixture
def quick(monkeypatch):
    names = ('dense', 'dense, 0.5×', 'backbone, FPN, RPN 70%')
    few = {name: module.CANDIDATES[name] for name in names}
    monkeypatch.setattr(module, 'CANDIDATES', few)
    monkeypatch.setattr(module, 'LATENCY_RUNS', 1)


def test_interrupted_demo_goes_on_and_a_finished_one_is_not_repeated(
    tmp_path, quick, monkeypatch, capsys
):
    demo, train_iter = tiny_demo(tmp_path), runs.TrainingProgressHook.after_train_iter

    def interrupted(self, runner, *args, **kwargs):
        if runner.iter == 2:
            raise KeyboardInterrupt
        train_iter(self, runner, *args, **kwargs)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(runs.TrainingProgressHook, 'after_train_iter', interrupted)
        run_demo(demo)
    images = {path: path.stat().st_mtime_ns for path in (tmp_path / 'data').rglob('*.jpg')}
    assert (demo.work_dir / 'iter_2.pth').exists()

    capsys.readouterr()
    run_demo(demo)
    said = capsys.readouterr()
    assert 'resumed epoch: 0, iter: 2' in (demo.work_dir / 'libraries.log').read_text()
    assert images == {path: path.stat().st_mtime_ns for path in (tmp_path / 'data').rglob('*.jpg')}
    assert 'box AP' in said.out
    assert 'Skipped windows' in said.out
    assert '4/4' in said.out
    assert 'mmengine' not in said.out + said.err, 'libraries write to their log'
    results = json.loads((demo.work_dir / 'results.json').read_text())
    assert len(results) == 3
    assert all(
        'coco/bbox_mAP' in scores and 'coco/segm_mAP' in scores for scores in results.values()
    )
    names = {path.name.split('-', 1)[1] for path in (demo.work_dir / 'pictures').iterdir()}
    assert names == {'dense.png', 'sparse.png', 'sparse-windows.png'}

    checkpoint = (demo.work_dir / 'iter_4.pth').stat().st_mtime_ns
    monkeypatch.setattr(module, 'test', lambda *args, **kwargs: pytest.fail('evaluated again'))
    run_demo(demo)
    assert (demo.work_dir / 'iter_4.pth').stat().st_mtime_ns == checkpoint
    assert 'box AP' in capsys.readouterr().out

    with pytest.raises(ConfigError, match='holds a demo with other settings'):
        run_demo(tiny_demo(tmp_path, seed=2))


def test_folders_that_cannot_be_written(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(ConfigError, match='work_dir is'):
        run_demo(tiny_demo(tmp_path, work_dir=tmp_path / 'file' / 'run'))
    with pytest.raises(ConfigError, match='the data folder'):
        run_demo(tiny_demo(tmp_path, data_root=tmp_path / 'file' / 'data'))
