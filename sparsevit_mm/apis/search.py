"""Searches the best pruning schedule for a trained network under a budget."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.dist import is_main_process
from mmengine.runner import Runner

from sparsevit_mm.apis.configs import load_config, register_framework
from sparsevit_mm.apis.runner import build_runner
from sparsevit_mm.checks.classes import check_classes_of_checkpoint
from sparsevit_mm.checks.coco import check_coco_annotations
from sparsevit_mm.checks.configs import (
    build_model,
    check_checkpoint_exists,
    check_datasets,
    check_weights_fit,
    check_writable_folder,
    type_name,
    typed_configs,
)
from sparsevit_mm.checks.schedules import check_schedules
from sparsevit_mm.det3d.datasets.infos import check_infos
from sparsevit_mm.engine.input_scale import apply_to_config, prunable_configs
from sparsevit_mm.engine.search_loop import SCHEDULE_FILE, ScheduleSearchLoop
from sparsevit_mm.files import written_whole
from sparsevit_mm.pruning.prunable import check_learned, find_prunable_backbone
from sparsevit_mm.pruning.schedule import PruningSchedule
from sparsevit_mm.search.cost import MODEL
from sparsevit_mm.search.settings import SearchSettings

_LOOP = 'ScheduleSearchLoop'
_SCHEDULING = ('WindowPruningHook', 'SparsityAdaptationHook')
CONFIG_FILE = 'searched.py'
"""The config that a search writes into its work dir."""


def search(
    config: str,
    checkpoint: str,
    *,
    settings: Mapping[str, Any],
    work_dir: str | None = None,
    cfg_options: Mapping[str, Any] | None = None,
    launcher: str = 'none',
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, float]:
    """Searches the best schedule for a trained network.

    Args:
        config: Path of the config. Its `test_cfg` may be a `ScheduleSearchLoop` with settings.
        checkpoint: Path or address of the weights, best adapted to random sparsity.
        settings: Settings of the search, nested as in `SearchSettings`, that replace the config's.
        work_dir: Where results go; by default the config's, else work_dirs/<name of the config>.
        cfg_options: Fields of the config to replace.
        launcher: 'none', 'pytorch', 'slurm' or 'mpi'.
        progress: Called with the name of a search, its evaluations so far and in all.

    Returns:
        The metrics of the best schedule.

    Raises:
        SparseVitError: If something about the search is wrong.
    """
    cfg = load_config(config, cfg_options, work_dir)
    own = dict(cfg.get('test_cfg') or {})
    if type_name(own) != _LOOP:
        # Another loop's settings are none of a search, but for the precision it evaluates in.
        own = {'fp16': own['fp16']} if 'fp16' in own else {}
    own = _merged(own, settings)
    read = SearchSettings.read(own)
    cfg.test_cfg = ConfigDict({**own, 'type': f'sparsevit_mm.{_LOOP}'})
    cfg.load_from, cfg.resume = checkpoint, False
    check_writable_folder(cfg.work_dir, 'work_dir')
    check_checkpoint_exists(checkpoint, 'checkpoint')
    seen = ['train_dataloader' if read.split.part == 'held_out' else 'val_dataloader']
    # The whole model is timed on images of the validation set.
    timed = {'val_dataloader'} if read.budget.of == MODEL else set()
    check_datasets(cfg, sorted({*seen, *timed}), [])

    register_framework(cfg)
    check_coco_annotations(cfg, sorted({*seen, *timed}))
    check_infos(cfg, sorted({*seen, *timed}))
    model = build_model(cfg)
    find_prunable_backbone(model)
    check_schedules(model, cfg)
    check_weights_fit(model, checkpoint)
    check_learned(find_prunable_backbone(model), read.importances or ())
    check_classes_of_checkpoint(cfg, checkpoint, seen[0])
    del model
    # mmengine builds a test loop only where there is a test set; this one is never looked at.
    for part in ('dataloader', 'evaluator'):
        if cfg.get(f'test_{part}') is None:
            cfg[f'test_{part}'] = cfg.get(f'val_{part}')
    runner = _build_quietly(cfg, launcher)
    assert isinstance(runner.test_loop, ScheduleSearchLoop)
    runner.test_loop.progress = progress
    metrics = runner.test()
    if is_main_process():
        write_searched_config(
            load_config(config, cfg_options), Path(cfg.work_dir), runner.logger.info
        )
        print(f'schedule, log and plots: {cfg.work_dir}')
    return metrics


def write_searched_config(
    cfg: Config, folder: Path, say: Callable[[str], None] = lambda _: None
) -> Path:
    """Writes the whole config with what a search found: ratios, input scale and proposals.

    Args:
        cfg: The config that was searched for.
        folder: Work dir of the search, whose schedule is read.
        say: Takes a line for the log.

    Returns:
        The file.
    """
    schedule = PruningSchedule.load(folder / SCHEDULE_FILE)
    apply_to_config(cfg, schedule)
    beside: dict[str, Any] = {'importance': schedule.importance}
    if schedule.allocation is not None:
        beside['allocation'] = schedule.allocation.to_config()
    for part in prunable_configs(cfg):
        part.pruning_ratios = [list(stage) for stage in schedule.ratios]
        part.update({key: value for key, value in beside.items() if value is not None})
    for _, part in typed_configs(cfg.model):
        if type_name(part) == 'SparseHeads':
            part.head_ratios = list(schedule.head_ratios)
    hooks = [hook for hook in cfg.get('custom_hooks') or [] if type_name(hook) not in _SCHEDULING]
    cfg.custom_hooks = hooks
    own = cfg.get('test_cfg') or {}
    if type_name(own) in (_LOOP, 'TestLoop', 'None'):
        cfg.test_cfg = ConfigDict(type='TestLoop', fp16=own.get('fp16', False))
    path = folder / CONFIG_FILE
    with written_whole(path) as file:
        cfg.dump(file)
    say(f'the config that runs it is {path}')
    return path


def _build_quietly(cfg: Config, launcher: str) -> Runner:
    """Builds the runner without its hundreds of lines on hooks, environment and config."""
    level = cfg.get('log_level', 'INFO')
    cfg.log_level = 'WARNING'
    runner = build_runner(cfg, launcher)
    runner.cfg.log_level = level
    runner.logger.setLevel(level)
    for handler in runner.logger.handlers:
        if handler.level == logging.WARNING:
            handler.setLevel(level)
    return runner


def _merged(own: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with those given in place of the config's own; None gives none."""
    merged = dict(own)
    for key, value in given.items():
        if isinstance(value, Mapping):
            inner = _merged(merged.get(key) or {}, value)
            if key == 'budget':
                # One kind of budget replaces the other, and what the other was of.
                for kind, other in (('macs', 'latency'), ('latency', 'macs')):
                    if value.get(kind) is not None:
                        inner.pop(other, None)
                        if value.get('of') is None and inner.pop('of', MODEL) != MODEL:
                            inner['shape'] = value.get('shape')
            merged[key] = inner
        elif value is not None:
            merged[key] = value
    return merged
