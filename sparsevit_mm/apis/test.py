"""Evaluates a checkpoint on the test set of a config, whichever framework the config is for.

Everything that can be wrong with a run is checked before anything is built or written, see
`sparsevit_mm.checks.configs`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log
from torch import nn

from sparsevit_mm.apis.configs import (
    innermost_dataset,
    innermost_datasets,
    load_config,
    register_framework,
)
from sparsevit_mm.apis.runner import build_runner
from sparsevit_mm.apis.schedules import parse_ratios, read_schedule
from sparsevit_mm.checks.classes import check_classes, check_classes_of_checkpoint
from sparsevit_mm.checks.coco import check_coco_annotations
from sparsevit_mm.checks.configs import (
    build_model,
    check_checkpoint_exists,
    check_datasets,
    check_weights_fit,
    check_writable_folder,
    type_name,
)
from sparsevit_mm.checks.schedules import check_schedules
from sparsevit_mm.det3d.datasets.infos import check_infos
from sparsevit_mm.engine.input_scale import apply_to_config, resized_shape
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.profiling.cost_report import count_dial
from sparsevit_mm.pruning.schedule import PruningSchedule

_PROCESS_NUMBERS = ('RANK', 'SLURM_PROCID', 'OMPI_COMM_WORLD_RANK')
_PRUNING_HOOK = 'WindowPruningHook'


def test(
    config: str,
    checkpoint: str,
    *,
    work_dir: str | None = None,
    out: str | None = None,
    show: bool = False,
    show_dir: str | None = None,
    wait_time: float = 2,
    tta: bool = False,
    ratios: str | None = None,
    schedule: str | None = None,
    optimize: str | None = None,
    cfg_options: Mapping[str, Any] | None = None,
    launcher: str = 'none',
) -> dict[str, float]:
    """Evaluates a checkpoint on the config's test set.

    Args:
        config: Path of the config.
        checkpoint: Path or address of the weights.
        work_dir: Where the log goes, as in `train`.
        out: A .pkl file for all predictions, or with MMSegmentation a folder for label maps.
        show: Whether to show predictions in a window.
        show_dir: Folder in the log folder for images of predictions.
        wait_time: Seconds a shown image stays.
        tta: Whether to average over flipped images.
        ratios: Pruning ratios in place of the config's, as text, see `parse_ratios`.
        schedule: JSON file with the schedule, instead of `ratios`; its input scale and its number
            of proposals count, too.
        optimize: Dtype of the inference form to test, see `optimize_for_inference`; None for the
            plain model.
        cfg_options: Fields of the config to replace.
        launcher: 'none', 'pytorch', 'slurm' or 'mpi'.

    Returns:
        The metrics.

    Raises:
        SparseVitError: If something about the run is wrong; nothing was written then.
    """
    cfg = load_config(config, cfg_options, work_dir)
    cfg.load_from, cfg.resume = checkpoint, False
    read_schedule(ratios, schedule)
    _set_schedule(cfg, schedule if ratios is None else parse_ratios(ratios))
    if optimize is not None:
        cfg.custom_hooks = [
            *(cfg.get('custom_hooks') or []),
            dict(type='sparsevit_mm.InferenceFormHook', dtype=optimize),
        ]
    if show or show_dir:
        _draw_predictions(cfg, show, show_dir, wait_time)
    if out is not None:
        _keep_predictions(cfg, out)
    check_writable_folder(cfg.work_dir, 'work_dir')
    check_checkpoint_exists(checkpoint, 'checkpoint')
    check_datasets(cfg, ['test_dataloader'], ['test_evaluator'])

    register_framework(cfg)
    check_coco_annotations(cfg, ['test_dataloader'])
    check_infos(cfg, ['test_dataloader'])
    check_classes(cfg, ['test_dataloader'])
    model = build_model(cfg)
    check_schedules(model, cfg)
    check_weights_fit(model, checkpoint)
    check_classes_of_checkpoint(cfg, checkpoint, 'test_dataloader')
    _say_share(model, cfg)
    del model
    if tta:
        _average_over_flips(cfg)
    return build_runner(cfg, launcher).test()


def _say_share(model: nn.Module, cfg: Config) -> None:
    """Prints which share of the model the dial reaches, at a size of the test pipeline.

    Bounds that no image fills are taken as those of an image of 2:1.
    """
    numbers = (os.environ.get(name, '0') for name in _PROCESS_NUMBERS)
    size = resized_shape(cfg)
    if size is not None and all(number == '0' for number in numbers):
        share = count_dial(model, cfg, *(min(side, 2 * min(size)) for side in size))
        if share is not None:
            print(share)


def _set_schedule(cfg: Config, schedule: Any) -> None:
    """Hands a schedule to the config's pruning hook, which is added if there is none."""
    if schedule is None:
        return
    if isinstance(schedule, str):
        apply_to_config(cfg, PruningSchedule.load(schedule))
    hooks = list(cfg.get('custom_hooks') or [])
    ours = [hook for hook in hooks if type_name(hook) == _PRUNING_HOOK]
    for hook in ours:
        hook['schedule'] = schedule
    if not ours:
        hooks.append(dict(type=f'sparsevit_mm.{_PRUNING_HOOK}', schedule=schedule))
    cfg.custom_hooks = hooks


def _draw_predictions(cfg: Config, show: bool, show_dir: str | None, wait_time: float) -> None:
    hook = cfg.get('default_hooks', {}).get('visualization')
    if hook is None:
        raise ConfigError(
            'default_hooks.visualization is not in the config, but --show and --show-dir need it: '
            "dict(type='DetVisualizationHook'), or the hook of the framework."
        )
    hook.draw = True
    if show:
        hook.show, hook.wait_time = True, wait_time
    if cfg.get('default_scope') == 'mmseg':
        # Its hook leaves images out in testing, too, and the visualizer knows the folder.
        hook.interval = 1
        if show_dir:
            cfg.visualizer.save_dir = show_dir
    elif show_dir:
        hook.test_out_dir = show_dir


def _keep_predictions(cfg: Config, out: str) -> None:
    check_writable_folder(Path(out).parent, 'out')
    evaluator = cfg.test_evaluator
    if out.endswith(('.pkl', '.pickle')):
        kind = 'DumpDetResults' if cfg.get('default_scope') == 'mmdet' else 'DumpResults'
        metrics = list(evaluator) if isinstance(evaluator, (list, tuple)) else [evaluator]
        cfg.test_evaluator = [*metrics, dict(type=kind, out_file_path=out)]
    elif cfg.get('default_scope') == 'mmseg' and not isinstance(evaluator, (list, tuple)):
        evaluator.output_dir, evaluator.keep_results = out, True
    else:
        raise ConfigError(f'out is {out}, but must be a file that ends in .pkl or .pickle.')


def _average_over_flips(cfg: Config) -> None:
    """Wraps the model for test-time augmentation; detectors are flipped by default."""
    if cfg.get('default_scope') == 'mmdet':
        _leave_masks_out(cfg)
        if 'tta_model' not in cfg:
            tta_cfg = dict(nms=dict(type='nms', iou_threshold=0.5), max_per_img=100)
            cfg.tta_model = dict(type='DetTTAModel', tta_cfg=tta_cfg)
        if 'tta_pipeline' not in cfg:
            cfg.tta_pipeline = _with_flips(innermost_dataset(cfg.test_dataloader))
    missing = [key for key in ('tta_model', 'tta_pipeline') if key not in cfg]
    if missing:
        raise ConfigError(f'{missing[0]} is not in the config, but --tta needs it.')
    for dataset in innermost_datasets(cfg.test_dataloader):
        dataset.pipeline = cfg.tta_pipeline
    cfg.model = ConfigDict(**cfg.tta_model, module=cfg.model)


def _leave_masks_out(cfg: Config) -> None:
    """Takes the mask head away, because MMDetection averages boxes alone."""
    roi_head = cfg.model.get('roi_head') or {}
    if roi_head.get('mask_head') is None:
        return
    print_log('Test-time augmentation averages boxes alone: masks are left out.', 'current')
    roi_head.update(mask_head=None, mask_roi_extractor=None)
    metrics = cfg.test_evaluator
    for metric in metrics if isinstance(metrics, (list, tuple)) else [metrics]:
        if 'segm' in metric.get('metric', ()):
            metric['metric'] = 'bbox'


def _with_flips(dataset: ConfigDict) -> list[Any]:
    *steps, pack = deepcopy(list(dataset.pipeline))
    pack['meta_keys'] = (
        'img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'flip', 'flip_direction',
    )  # fmt: skip
    flips = [dict(type='RandomFlip', prob=1.0), dict(type='RandomFlip', prob=0.0)]
    return [*steps, dict(type='TestTimeAug', transforms=[flips, [pack]])]
