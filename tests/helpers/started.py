"""Starts a shipped config as a user does: tools/train.py, tools/test.py and tools/search.py.

Nothing of a config is replaced but

- where its data lie, and what would be downloaded;
- sizes: images, widths, batches, the number of iterations;
- scores below which an untrained detector would report nothing to evaluate;
- mixed precision, because the tools refuse it without a GPU, naming the option that is given here;
- how the text of a config is laid out, which takes mmengine seconds;
- without a GPU, `Tensor.cuda`: nuScenes' metric for single cameras moves its boxes to a GPU.
"""

from __future__ import annotations

import ast
import contextlib
import json
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.config import Config, DictAction, config
from mmengine.runner import Runner

from sparsevit_mm.apis.configs import innermost_dataset, load_config, register_framework
from sparsevit_mm.checks.configs import build_model
from sparsevit_mm.pruning import PruningSchedule
from tests.helpers.generated_data import write_data
from tests.helpers.small_configs import (
    LOADERS,
    changed_options,
    with_data_at,
    with_every_detection,
    with_few_boxes,
    with_few_layers,
    with_small_backbone,
    with_small_heads,
    with_small_images,
    with_small_loaders,
    with_small_map,
    without_downloads,
)
from tests.tools.conftest import call_tool

HELD_OUT_IMAGES = 12  # as many as it takes for both parts of a split to have some
FOLDERS = 5  # of a classifier, one image in each: accuracy counts the best five


@dataclass(frozen=True)
class Start:
    """A config beside what is needed to start it.

    Attributes:
        path: The shipped config.
        options: What `--cfg-options` is given.
        folder: Where data and work dirs are.
    """

    path: Path
    options: list[str]
    folder: Path

    def train(self) -> SimpleNamespace:
        """Calls tools/train.py.

        Returns:
            The `loss` of the last iteration, the names of parameters that `moved`, the `metrics` of
            the validation and the `checkpoint`.
        """
        work_dir = self.folder / 'work'
        with watched_training() as seen, quick_tools():
            call_tool('train', self.path, '--work-dir', work_dir, '--cfg-options', *self.options)
        scalars = seen.runner.message_hub.log_scalars
        after = dict(seen.runner.model.named_parameters())
        return SimpleNamespace(
            loss=scalars['train/loss'].current(),
            moved=[name for name, old in seen.before.items() if not torch.equal(old, after[name])],
            metrics=seen.metrics,
            checkpoint=Path((work_dir / 'last_checkpoint').read_text()),
        )

    def test(self, checkpoint: Path) -> dict[str, Any]:
        """Calls tools/test.py; returns the metrics."""
        work_dir = self.folder / 'tested'
        options = ['--cfg-options', *self.options]
        with quick_tools():
            call_tool('test', self.path, checkpoint, '--work-dir', work_dir, *options)
        (log,) = work_dir.glob('*/*.json')
        return json.loads(log.read_text())

    def search(self) -> dict[str, Any]:
        """Calls tools/search.py with untrained weights; returns the schedule it leaves."""
        cfg = load_config(str(self.path), _as_dict(self.options))
        register_framework(cfg)
        checkpoint, work_dir = self.folder / 'weights.pth', self.folder / 'searched'
        torch.save({'state_dict': build_model(cfg).state_dict()}, checkpoint)
        options = ['--cfg-options', *self.options]
        with quick_tools():
            call_tool('search', self.path, checkpoint, '--work-dir', work_dir, *options)
        return json.loads((work_dir / 'schedule.json').read_text())


def prepare(path: Path, folder: Path) -> Start:
    """Writes data for a config into a folder, and makes it small.

    Args:
        path: The shipped config.
        folder: An empty folder.
    """
    before = load_config(str(path))
    register_framework(before)
    cfg = without_downloads(deepcopy(before))
    searches = _is_search(cfg)
    classifies = cfg.default_scope == 'mmengine'
    if classifies:
        cfg.model.num_classes = FOLDERS
    splits = searches or cfg.train_dataloader.dataset.type.endswith('ExcludeHeldOut')
    for name in LOADERS:
        if cfg.get(name):
            dataset = innermost_dataset(cfg[name])
            images = FOLDERS if classifies else 2
            if splits and name == 'train_dataloader':
                images = HELD_OUT_IMAGES
            if dataset.get('load_type') == 'mv_image_based' and len(dataset.data_prefix) > 1:
                images = 1  # of all six cameras
            write_data(cfg, dataset, folder / 'data', images)
    with_data_at(cfg, folder / 'data')
    with_few_layers(with_small_heads(with_small_backbone(cfg)))
    with_few_boxes(with_small_map(with_small_images(cfg, factor=12)))
    with_every_detection(cfg)
    with_small_loaders(cfg, batch_size=2 if images == 2 else 6)
    if cfg.optim_wrapper.type == 'AmpOptimWrapper':
        cfg.optim_wrapper.type = 'OptimWrapper'
    for hook in cfg.get('custom_hooks', []):
        if str(hook.get('schedule')).startswith('work_dirs/'):
            hook.schedule = str(folder / 'schedule.json')
            _save_schedule(cfg.model.backbone, folder / 'schedule.json')
    if searches:
        settings = cfg.test_cfg
        few = dict(population=2, parents=1, max_evaluations=3)
        settings.evolution = {**settings.get('evolution', {}), **few}
        settings.choices = [0.0, 0.5]
        settings.split.update(images=2)
        settings.budget.update(shape=None, batch=1)
        if 'latency' in settings.budget:
            # One timed run is noise: this budget never binds, on a busy machine either.
            settings.budget.update(latency='50x', runs=1)
        else:
            settings.budget.macs = '1.0x'
        if settings.split.get('part') != 'val':
            settings.split.share = 0.5
        if 'random_evaluations' in settings:
            settings.random_evaluations = 1
    if cfg.model.type == 'FCOSMono3D':
        # nuScenes' evaluation takes no results without boxes, and an untrained head finds none.
        model = build_model(cfg)
        model.init_weights()
        torch.nn.init.zeros_(model.bbox_head.conv_cls.bias)
        cfg.load_from = str(folder / 'start.pth')
        torch.save({'state_dict': model.state_dict()}, cfg.load_from)
    return Start(path, changed_options(before, cfg), folder)


def _is_search(cfg: Config) -> bool:
    return str((cfg.get('test_cfg') or {}).get('type')).endswith('ScheduleSearchLoop')


def _save_schedule(backbone, path: Path) -> None:
    """What a search leaves to the config that finetunes."""
    PruningSchedule.parse(0.5, backbone.get('depths', (2, 2, 6, 2))).save(path)


def _as_dict(options: list[str]) -> dict[str, Any]:
    pairs = (option.split('=', maxsplit=1) for option in options)
    return {key: DictAction._parse_iterable(value) for key, value in pairs}


@contextlib.contextmanager
def watched_training() -> Iterator[SimpleNamespace]:
    """Notes the `runner` that trains, its parameters `before` and the `metrics` of validation."""
    seen, call_hook = SimpleNamespace(), Runner.call_hook

    def watched(runner, name, **kwargs):
        call_hook(runner, name, **kwargs)
        if name == 'after_val_epoch':
            seen.metrics = kwargs['metrics']
        if name == 'before_train':
            seen.runner = runner
            seen.before = {n: p.detach().clone() for n, p in runner.model.named_parameters()}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Runner, 'call_hook', watched)
        yield seen


@contextlib.contextmanager
def quick_tools() -> Iterator[None]:
    """Leaves the text of configs as it is; `.cuda()` does nothing without a GPU."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(config, 'FormatCode', _parsed)
        if not torch.cuda.is_available():
            patch.setattr(torch.Tensor, 'cuda', lambda tensor: tensor)
        yield


def _parsed(text: str, **style: Any) -> tuple[str, bool]:
    """Takes the place of yapf, which also stops at text that Python cannot read."""
    ast.parse(text)
    return text, False
