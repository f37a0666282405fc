"""What the command-line tools call: one way to train and to test for all frameworks.

A config's `default_scope` names the framework. Whatever can be wrong with a run is looked for
before anything is built or written, see `sparsevit_mm.checks.configs`.
"""

from __future__ import annotations

import ast
import contextlib
import itertools
import sys
import warnings
from collections.abc import Iterator, Mapping
from copy import deepcopy
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log
from mmengine.registry import RUNNERS
from mmengine.runner import Runner, find_latest_checkpoint

from sparsevit_mm.checks.coco import check_coco_annotations
from sparsevit_mm.checks.configs import (
    build_model,
    check_checkpoint_exists,
    check_datasets,
    check_mixed_precision,
    check_pretrained,
    check_schedules,
    check_weights_fit,
    check_writable_folder,
)
from sparsevit_mm.checks.images import use_checked_loading
from sparsevit_mm.errors import ConfigError, SparseVitError
from sparsevit_mm.pruning.schedule import PruningSchedule
from sparsevit_mm.requirements_check import check_framework

FRAMEWORKS = ('mmdet', 'mmseg', 'mmdet3d')

_PRUNING_HOOK = 'WindowPruningHook'

_runs = itertools.count()


@contextlib.contextmanager
def user_errors_exit() -> Iterator[None]:
    """Ends the process with one sentence and exit code 1 on an error that is the user's to mend.

    Every other error keeps its traceback.
    """
    warnings.filterwarnings('ignore', message='pkg_resources is deprecated')
    try:
        yield
    except SparseVitError as error:
        # From a worker of a data loader it comes with the worker's traceback before it.
        sentence = str(error).rpartition(f'{type(error).__name__}: ')[2].strip()
        print(f'error: {sentence}', file=sys.stderr)
        raise SystemExit(1) from None


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
    check_writable_folder(cfg.work_dir, 'work_dir')
    check_datasets(cfg, ['train_dataloader', 'val_dataloader'], ['val_evaluator'])
    check_mixed_precision(cfg)
    start = _start_of(cfg)
    check_checkpoint_exists(start, 'load_from')

    register_framework(cfg)
    check_coco_annotations(cfg, ['train_dataloader', 'val_dataloader'])
    model = build_model(cfg)
    check_schedules(model, cfg)
    check_pretrained(model)
    if start is not None:
        # A detector may be finetuned from one for other classes, but not from another backbone.
        check_weights_fit(model, start, part='' if cfg.get('resume') else 'backbone.')
    del model
    runner = build_runner(cfg, launcher)
    runner.train()
    return runner


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
        show_dir: Folder in the log folder for pictures of predictions.
        wait_time: Seconds a shown picture stays.
        tta: Whether to average over flipped images.
        ratios: Pruning ratios in place of the config's, as text, see `parse_ratios`.
        schedule: JSON file with the schedule, instead of `ratios`.
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
    if show or show_dir:
        _draw_predictions(cfg, show, show_dir, wait_time)
    if out is not None:
        _keep_predictions(cfg, out)
    check_writable_folder(cfg.work_dir, 'work_dir')
    check_checkpoint_exists(checkpoint, 'checkpoint')
    check_datasets(cfg, ['test_dataloader'], ['test_evaluator'])

    register_framework(cfg)
    check_coco_annotations(cfg, ['test_dataloader'])
    model = build_model(cfg)
    check_schedules(model, cfg)
    check_weights_fit(model, checkpoint)
    del model
    if tta:
        _average_over_flips(cfg)
    return build_runner(cfg, launcher).test()


def load_config(
    path: str, cfg_options: Mapping[str, Any] | None = None, work_dir: str | None = None
) -> Config:
    """Reads a config file.

    Args:
        path: The file.
        cfg_options: Fields to replace.
        work_dir: Work dir in place of the config's own and of work_dirs/<name of the config>.

    Raises:
        ConfigError: If the file or one it inherits from is missing or cannot be parsed.
    """
    if not Path(path).is_file():
        raise ConfigError(
            f'the config {path} does not exist (looked for at {Path(path).absolute()}).'
        )
    try:
        cfg = Config.fromfile(path)
    except (OSError, ModuleNotFoundError, SyntaxError) as error:
        reason = ' '.join(str(error).split()).rstrip('.')
        if isinstance(error, OSError) and error.filename:
            reason = f'{error.strerror}: {error.filename}'
        raise ConfigError(f'the config {path} cannot be read: {reason}.') from error
    if cfg_options:
        cfg.merge_from_dict(dict(cfg_options))
    if work_dir is not None:
        cfg.work_dir = work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs') / Path(path).stem)
    return cfg


def dump_config(cfg: Config, path: str) -> None:
    """Writes a config with everything it inherits.

    Args:
        cfg: The config.
        path: A file that ends in .py, .json, .yml or .yaml.

    Raises:
        ConfigError: If it ends in anything else, or cannot be written.
    """
    if not path.endswith(('.py', '.json', '.yml', '.yaml')):
        raise ConfigError(f'out is {path}, but it must end in .py, .json, .yml or .yaml.')
    check_writable_folder(Path(path).parent, 'out')
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    cfg.dump(path)


def register_framework(cfg: Config) -> None:
    """Checks the framework that a config is for, and registers what is in it.

    Raises:
        ConfigError: If `default_scope` names no framework.
        FrameworkError: If the framework is missing or of a version that does not work.
    """
    scope = cfg.get('default_scope')
    if scope in (None, 'mmengine'):
        return
    if scope not in FRAMEWORKS:
        raise ConfigError(
            f'default_scope is {scope!r}, but it must be one of {", ".join(FRAMEWORKS)}.'
        )
    check_framework(scope)
    import_module(f'{scope}.utils').register_all_modules(init_default_scope=False)


def parse_ratios(text: str) -> Any:
    """Reads pruning ratios from a command line.

    Args:
        text: A number or a list in Python's or JSON's notation, such as '0.5' or
            '[[0.6], [0], [0.2, 0.4, 0.5], [0]]'.

    Raises:
        ConfigError: If it is neither.
    """
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        value = None
    if isinstance(value, (int, float, list, tuple)):
        return value
    raise ConfigError(
        f'ratios is {text!r}, but it must be a number such as 0.5, or a list such as '
        '"[[0.6], [0], [0.2, 0.4, 0.5], [0]]".'
    )


def read_schedule(ratios: str | None, schedule: str | None) -> Any:
    """The schedule that a command line names: by ratios, by a JSON file, or not at all.

    Returns:
        Any form that `pruning_ratios` takes, or None.

    Raises:
        ConfigError: If both are given, or the one given cannot be read.
    """
    if ratios is not None and schedule is not None:
        raise ConfigError('ratios and schedule are both given, but one of them must be left out.')
    if schedule is not None:
        return PruningSchedule.load(schedule)
    return None if ratios is None else parse_ratios(ratios)


def innermost_dataset(dataloader: ConfigDict) -> ConfigDict:
    """The data set itself, inside wrappers such as RepeatDataset."""
    dataset = dataloader.dataset
    while 'dataset' in dataset:
        dataset = dataset.dataset
    return dataset


def _start_of(cfg: Config) -> str | None:
    """The checkpoint that training starts from."""
    if cfg.get('resume') and cfg.get('load_from') is None:
        return find_latest_checkpoint(cfg.work_dir) if Path(cfg.work_dir).is_dir() else None
    return cfg.get('load_from')


def build_runner(cfg: Config, launcher: str) -> Runner:
    """Builds the runner of a config, on a CPU without a GPU's process group.

    Args:
        cfg: The whole config; its framework must be registered.
        launcher: 'none', 'pytorch', 'slurm' or 'mpi'.
    """
    cfg.launcher = launcher
    use_checked_loading(cfg)
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
        # By name and second of its start a runner finds its logger, scope and files, and by name
        # alone its visualizer; later runs of one process would share those of earlier ones.
        if cfg.get('experiment_name') is None:
            cfg.experiment_name = f'{Path(cfg.filename or "run").stem}-{number + 1}'
        if cfg.get('visualizer') is not None:
            cfg.visualizer.name = cfg.experiment_name
    return RUNNERS.build(cfg) if 'runner_type' in cfg else Runner.from_cfg(cfg)


def _enable_auto_scale_lr(cfg: Config) -> None:
    if 'base_batch_size' not in cfg.get('auto_scale_lr', {}):
        raise ConfigError(
            'auto_scale_lr.base_batch_size is not in the config, but --auto-scale-lr needs it: the '
            'batch size, over all GPUs, that the learning rate is meant for.'
        )
    cfg.auto_scale_lr.enable = True


def _set_schedule(cfg: Config, schedule: Any) -> None:
    """Hands a schedule to the config's pruning hook, which is added if there is none."""
    if schedule is None:
        return
    hooks = list(cfg.get('custom_hooks') or [])
    ours = [hook for hook in hooks if str(hook['type']).rpartition('.')[2] == _PRUNING_HOOK]
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
        raise ConfigError(f'out is {out}, but it must be a file that ends in .pkl or .pickle.')


def _average_over_flips(cfg: Config) -> None:
    """Wraps the model for test-time augmentation, for detectors with flips unless it says else."""
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
    innermost_dataset(cfg.test_dataloader).pipeline = cfg.tta_pipeline
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
