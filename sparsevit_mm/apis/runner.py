"""Builds mmengine's runner for a config, for one process or several, on GPUs or the CPU."""

from __future__ import annotations

import itertools
from pathlib import Path

import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from sparsevit_mm.checks.configs import type_name, typed_configs
from sparsevit_mm.checks.images import use_checked_loading
from sparsevit_mm.engine.resuming import one_sentence_on_resuming
from sparsevit_mm.registry import SCOPE

_runs = itertools.count()


def build_runner(cfg: Config, launcher: str) -> Runner:
    """Builds the runner of a config, on a CPU without a GPU's process group.

    Its checkpoints are written whole, and an old one is removed after the new one is on the disk.

    Args:
        cfg: The whole config; its framework must be registered.
        launcher: 'none', 'pytorch', 'slurm' or 'mpi'.
    """
    cfg.launcher = launcher
    use_checked_loading(cfg)
    _keep_checkpoints_whole(cfg)
    if launcher != 'none' and _leaves_maps_out(cfg):
        cfg.setdefault('find_unused_parameters', True)
    if launcher == 'pytorch' and not torch.cuda.is_available():
        # mmengine would pick a GPU; a group that is there already is left alone.
        torch.distributed.init_process_group('gloo')
        cfg.model_wrapper_cfg = dict(
            type='MMDistributedDataParallel',
            device_ids=None,
            broadcast_buffers=False,
            find_unused_parameters=cfg.get('find_unused_parameters', False),
        )
    number = next(_runs)
    if number:
        # mmengine keeps loggers, scopes and files by the name of a run and the second it starts in,
        # and visualizers by the name alone: without a name of their own, later runs of a process
        # would share those of earlier ones.
        if cfg.get('experiment_name') is None:
            cfg.experiment_name = f'{Path(cfg.filename or "run").stem}-{number + 1}'
        if cfg.get('visualizer') is not None:
            cfg.visualizer.name = cfg.experiment_name
    runner = RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)
    one_sentence_on_resuming(runner)
    return runner


def _keep_checkpoints_whole(cfg: Config) -> None:
    """Takes `WholeCheckpointHook` where mmengine's own checkpoint hook would be."""
    if cfg.get('default_hooks') is None:
        cfg.default_hooks = ConfigDict()
    hook = cfg.default_hooks.get('checkpoint', ConfigDict(type='CheckpointHook', interval=1))
    if hook is not None and type_name(hook).rstrip("'>") == 'CheckpointHook':
        cfg.default_hooks.checkpoint = ConfigDict(
            {**hook, 'type': 'sparsevit_mm.WholeCheckpointHook'}
        )


def _leaves_maps_out(cfg: Config) -> bool:
    """Whether a neck takes none of the first maps of one of our backbones.

    The norms of these maps then get no gradient, for which processes that train together would
    wait.
    """
    parts = [part for _, part in typed_configs(cfg.get('model'))]
    ours = any(str(part['type']).startswith(f'{SCOPE}.') for part in parts)
    return ours and any((part.get('start_level') or 0) > 0 for part in parts)
