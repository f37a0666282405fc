"""Trains the model of a config, whichever framework its `default_scope` names.

Everything that can be wrong with a run is checked before anything is built or written, see
`sparsevit_mm.checks.configs`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner

from sparsevit_mm.apis.configs import load_config, register_framework
from sparsevit_mm.apis.runner import build_runner
from sparsevit_mm.checks.classes import check_classes, check_classes_of_checkpoint
from sparsevit_mm.checks.coco import check_coco_annotations
from sparsevit_mm.checks.configs import (
    build_model,
    check_checkpoint_exists,
    check_datasets,
    check_mixed_precision,
    check_pretrained,
    check_weights_fit,
    check_writable_folder,
)
from sparsevit_mm.checks.schedules import check_schedules
from sparsevit_mm.det3d.datasets.infos import check_infos
from sparsevit_mm.engine.resuming import check_resumable, latest_checkpoint
from sparsevit_mm.errors import ConfigError


def train(
    config: str,
    *,
    work_dir: str | None = None,
    amp: bool = False,
    auto_scale_lr: bool = False,
    resume: str | None = None,
    cfg_options: Mapping[str, Any] | None = None,
    launcher: str = 'none',
) -> Runner:
    """Trains the model of a config.

    Args:
        config: Path of the config.
        work_dir: Where logs and checkpoints go; by default the config's, else
            work_dirs/<name of the config>.
        amp: Whether to train in mixed precision.
        auto_scale_lr: Whether to scale the learning rate by the batch size.
        resume: 'auto' goes on from the last checkpoint in the work dir, if there is one; a path
            goes on from that file.
        cfg_options: Fields of the config to replace.
        launcher: 'none', 'pytorch', 'slurm' or 'mpi'.

    Returns:
        The runner after training.

    Raises:
        SparseVitError: If something about the run is wrong; nothing was written then.
    """
    cfg = load_config(config, cfg_options, work_dir)
    if amp:
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.loss_scale = 'dynamic'
    if auto_scale_lr:
        _enable_auto_scale_lr(cfg)
    if resume is not None:
        cfg.resume = True
        cfg.load_from = None if resume == 'auto' else resume
    resumed = resume not in (None, 'auto')
    check_writable_folder(cfg.work_dir, 'work_dir')
    check_datasets(cfg, ['train_dataloader', 'val_dataloader'], ['val_evaluator'])
    check_mixed_precision(cfg)
    start = _start_of(cfg)
    check_checkpoint_exists(start, 'resume' if resumed else 'load_from')

    register_framework(cfg)
    check_coco_annotations(cfg, ['train_dataloader', 'val_dataloader'])
    check_infos(cfg, ['train_dataloader', 'val_dataloader'])
    check_classes(cfg, ['train_dataloader', 'val_dataloader'])
    model = build_model(cfg)
    check_schedules(model, cfg)
    check_pretrained(model)
    if start is not None:
        # A detector may be finetuned from one for other classes, but not from another backbone.
        check_weights_fit(model, start, part='' if cfg.get('resume') else 'backbone.')
        if cfg.get('resume'):
            check_resumable(start, cfg)
            check_classes_of_checkpoint(cfg, start, 'train_dataloader')
            cfg.load_from = start
    del model
    runner = build_runner(cfg, launcher)
    runner.train()
    return runner


def _start_of(cfg: Config) -> str | None:
    """The checkpoint that training starts from."""
    if cfg.get('resume') and cfg.get('load_from') is None:
        return latest_checkpoint(cfg.work_dir)
    return cfg.get('load_from')


def _enable_auto_scale_lr(cfg: Config) -> None:
    if 'base_batch_size' not in cfg.get('auto_scale_lr', {}):
        raise ConfigError(
            'auto_scale_lr.base_batch_size is not in the config, but --auto-scale-lr needs it: the '
            'batch size, over all GPUs, that the learning rate is meant for.'
        )
    cfg.auto_scale_lr.enable = True
