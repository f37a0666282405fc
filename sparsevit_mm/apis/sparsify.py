"""Makes a trained model with a Swin skip windows, and compares it with the dense one.

The comparison has the metrics, MACs and latency of both; kept windows are drawn. Nothing is
trained: sparsity-aware adaptation and a searched schedule win back what the sparse model loses.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.device import get_device
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import DATASETS, DefaultScope
from rich.table import Table
from torch import nn

from sparsevit_mm.apis.configs import read_config, register_framework
from sparsevit_mm.apis.inference import ImagePredictor
from sparsevit_mm.apis.test import test
from sparsevit_mm.checkpoints.files import write_checkpoint
from sparsevit_mm.checkpoints.loading import read_weights
from sparsevit_mm.checks.configs import (
    build_model,
    check_checkpoint_exists,
    check_datasets,
    check_weights_fit,
    check_writable_folder,
)
from sparsevit_mm.checks.schedules import check_importance
from sparsevit_mm.deployment.inference_form import optimize_for_inference
from sparsevit_mm.engine.input_scale import required_resized_shape
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.files import replace_text, written_whole
from sparsevit_mm.profiling.cost_report import count_dial
from sparsevit_mm.profiling.dial import DialShare
from sparsevit_mm.profiling.inputs import backbone_input_shape, conditions, input_channels
from sparsevit_mm.profiling.latency import measure_latency
from sparsevit_mm.profiling.macs import backbone_macs
from sparsevit_mm.pruning.importance import check_importance_name
from sparsevit_mm.pruning.prunable import find_prunable_backbone
from sparsevit_mm.pruning.schedule import PruningSchedule
from sparsevit_mm.search.cost import BACKBONE, MODEL, PARTS
from sparsevit_mm.swap.config_file import write_config
from sparsevit_mm.swap.swap import sparsify
from sparsevit_mm.visualization.images import write_image

HIGHEST_RATIO = 0.9
_BISECTIONS = 6


@dataclass(frozen=True)
class Column:
    """Metrics and costs of the dense or of the sparse model.

    Attributes:
        ratios: Pruning ratio of every block, by stage.
        metrics: Metrics of the config's evaluator; empty if nothing was evaluated.
        macs: MACs of the backbone for one image.
        latency: Median milliseconds of the model or its backbone on one image, measured in turns
            with the other.
    """

    ratios: tuple[tuple[float, ...], ...]
    metrics: dict[str, float]
    macs: int
    latency: float


@dataclass(frozen=True)
class Comparison:
    """The dense and the sparse model, and the files that were written.

    Attributes:
        dense: The model as it was trained.
        sparse: The model with its schedule.
        config: The new config.
        checkpoint: Its weights.
        images: Images of the windows that were kept.
        shape: Height and width of the input that MACs and latency are for.
        test_shape: Height and width of the first test image as the backbone sees it; None if there
            is no test set on disk.
        of: What was timed, the 'model' or the 'backbone'.
        dial: Which share of the model ratios can reach; None where it cannot be counted.
        dtype: What both models were tested and timed in.
    """

    dense: Column
    sparse: Column
    config: Path
    checkpoint: Path
    images: tuple[Path, ...]
    shape: tuple[int, int]
    test_shape: tuple[int, int] | None
    dtype: str = 'float32'
    of: str = BACKBONE
    dial: DialShare | None = None

    @property
    def timed_on(self) -> str:
        """What the latencies hold for."""
        return conditions(*self.shape, dtype=self.dtype)

    @property
    def tested_on(self) -> str:
        """What the metrics hold for."""
        assert self.test_shape is not None, 'what was tested has test images'
        return conditions(*self.test_shape, dtype=self.dtype, device=get_device())


def sparsify_model(
    config: str,
    checkpoint: str,
    out_dir: str | Path,
    *,
    ratios: Any = None,
    latency: float | None = None,
    of: str | None = None,
    importance: str | None = None,
    shape: tuple[int, int] | None = None,
    evaluate: bool = True,
    num_images: int = 3,
    optimize: str | None = None,
    cfg_options: Mapping[str, Any] | None = None,
) -> Comparison:
    """Writes the sparse form of a trained model and compares it with the dense one.

    Args:
        config: Path of the config, or an installed one such as 'mmdet::…'.
        checkpoint: The trained weights.
        out_dir: Gets config, checkpoint, comparison and images.
        ratios: Pruning ratios in any form `pruning_ratios` takes.
        latency: Instead of ratios: the latency over the dense one, in (0, 1); the uniform ratio
            that comes closest on this machine is taken.
        of: What is timed: the whole 'model' on the first test image, from the batch to the
            predictions, or the 'backbone' on noise. By default the model, but the backbone if there
            is no test set or a shape is given.
        importance: Name of what windows are ranked by; None takes that of the schedule or the
            config, if one names it, else the default.
        shape: Height and width of the input that MACs and latency are for; by default what the
            backbone sees of the first test image.
        evaluate: Whether to test both forms on the config's test set.
        num_images: How many images of the test set are drawn.
        optimize: Dtype of the inference form in which both models are tested and timed, see
            `optimize_for_inference`; None for the plain models.
        cfg_options: Fields of the original config to replace.

    Returns:
        The comparison.

    Raises:
        SparseVitError: If something given is wrong.
    """
    if (ratios is None) == (latency is None):
        raise ConfigError('exactly one of ratios and latency must be given.')
    if latency is not None and not 0 < latency < 1:
        raise ConfigError(f'latency is {latency}, but must lie between 0 and 1 times dense.')
    if of not in (None, *PARTS):
        raise ConfigError(f"of is {of!r}, but must be 'model' or 'backbone'.")
    if importance is not None:
        check_importance_name(importance)
    out_dir = Path(out_dir)
    check_writable_folder(out_dir, 'out_dir')
    check_checkpoint_exists(checkpoint, 'checkpoint')
    weights = read_weights(checkpoint)
    original = read_config(config)
    if cfg_options:
        original.merge_from_dict(dict(cfg_options))
    register_framework(original)
    if isinstance(ratios, PruningSchedule):
        if ratios.scale != 1 or ratios.proposals is not None:
            raise ConfigError(
                f'the schedule is for{ratios.beside_ratios}, but must be one of ratios alone: take '
                'the config that the search wrote beside it.'
            )
        if importance is None:
            check_importance(ratios, original)
            importance = ratios.importance
        ratios = replace(ratios, importance=None)
    dense_ratios: Any = 0.0
    dense_cfg = sparsify(original, dense_ratios, importance).cfg
    model = build_model(dense_cfg)
    backbone = find_prunable_backbone(model)
    batch = _first_test_image(dense_cfg)
    test_shape = None
    if batch is not None:
        test_shape = backbone_input_shape(revert_sync_batchnorm(model).eval(), batch)
    can_be_model = batch is not None and shape is None
    if of == MODEL and not can_be_model:
        raise ConfigError(
            "of is 'model', but must be 'backbone' where a shape is given or the test set is "
            'not on disk: the whole model is timed on the first test image.'
        )
    of = of or (MODEL if can_be_model else BACKBONE)
    if shape is None:
        shape = test_shape or required_resized_shape(dense_cfg)
    backbone.pruning_schedule = dense_ratios
    dense = backbone.pruning_schedule
    dial = count_dial(model, dense_cfg, *shape)
    if of == MODEL:
        check_weights_fit(model, checkpoint)
        run = _runner(model, batch, optimize)
    else:
        assert isinstance(backbone, nn.Module)
        run = _runner(backbone, torch.randn(1, input_channels(backbone), *shape), optimize)
    sparse = (
        _uniform_for(latency, run, backbone.arch)
        if latency is not None
        else PruningSchedule.parse(ratios, backbone.arch.depths, backbone.arch.has_windows)
    )
    times = measure_latency({'dense': run(dense), 'sparse': run(sparse)}, runs=15)

    out_dir.mkdir(parents=True, exist_ok=True)
    name = Path(config).stem
    base = out_dir / f'{name}_original.py'
    with written_whole(base) as file:
        original.dump(file)
    path = out_dir / f'{name}_sparse.py'
    plain = [list(stage) for stage in sparse.ratios]
    swap = sparsify(Config.fromfile(base), plain, importance)
    write_config(swap, Config.fromfile(base), str(base), path, f'{name} that skips windows.')
    sparse_weights = out_dir / f'{name}_sparse.pth'
    write_checkpoint({'state_dict': weights}, sparse_weights)

    # Without ratios the new network is the old one.
    metrics = [
        test(
            str(path),
            str(sparse_weights),
            work_dir=str(out_dir / 'test'),
            ratios=str(of_blocks),
            optimize=optimize,
        )
        if evaluate
        else {}
        for of_blocks in (0.0, plain)
    ]
    arch = backbone.arch
    columns = [
        Column(schedule.ratios, dict(found), backbone_macs(arch, schedule, *shape).total, time)
        for schedule, found, time in zip(
            (dense, sparse), metrics, (times['dense'].median, times['sparse'].median)
        )
    ]
    images = _draw(path, sparse_weights, out_dir / 'pictures', num_images)
    comparison = Comparison(
        columns[0],
        columns[1],
        path,
        sparse_weights,
        tuple(images),
        shape,
        test_shape,
        optimize or 'float32',
        of,
        None if dial is None else replace(dial, now=dial.dense - columns[0].macs + columns[1].macs),
    )
    report = dict(
        dense=asdict(columns[0]),
        sparse=asdict(columns[1]),
        shape=shape,
        of=of,
        dial=None if comparison.dial is None else asdict(comparison.dial),
        timed_on=comparison.timed_on,
        tested_on=comparison.tested_on if evaluate else None,
    )
    replace_text(out_dir / f'{name}_comparison.json', json.dumps(report, indent=2) + '\n')
    return comparison


def comparison_table(comparison: Comparison) -> Table:
    """The two columns, for a console."""
    table = Table(title='The same weights, without training')
    for name in ('', 'dense', 'sparse'):
        table.add_column(name, no_wrap=True)
    table.add_column('on (images x height x width)', overflow='fold')
    dense, sparse = comparison.dense, comparison.sparse
    for metric in dense.metrics:
        table.add_row(
            metric,
            f'{dense.metrics[metric]:.4g}',
            f'{sparse.metrics[metric]:.4g}',
            f'the test set, such as {comparison.tested_on}',
        )
    table.add_row(
        'backbone GMACs, counted',
        f'{dense.macs / 1e9:.2f}',
        f'{sparse.macs / 1e9:.2f} ({sparse.macs / dense.macs:.2f}x)',
        f'1 x {comparison.shape[0]} x {comparison.shape[1]}',
    )
    table.add_row(
        f'{comparison.of} ms, measured here',
        f'{dense.latency:.1f}',
        f'{sparse.latency:.1f} ({sparse.latency / dense.latency:.2f}x)',
        comparison.timed_on,
    )
    return table


def _first_test_image(cfg: Config) -> Any:
    """A batch of the first test image; None without a test set."""
    try:
        check_datasets(cfg, ['test_dataloader'], [])
    except ConfigError:
        return None
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope')):
        item = DATASETS.build(deepcopy(cfg.test_dataloader.dataset))[0]
    return pseudo_collate([item])


def _runner(
    network: nn.Module, batch: Any, optimize: str | None
) -> Callable[[PruningSchedule], Callable[[], None]]:
    """Makes runs of a model on a batch, or of a backbone on images, for each schedule."""
    network.eval()
    if optimize is not None:
        optimize_for_inference(network, optimize)
    backbone = find_prunable_backbone(network)
    compute: Any = network if backbone is network else network.test_step

    def of(schedule: PruningSchedule) -> Callable[[], None]:
        @torch.inference_mode()
        def run() -> None:
            backbone.pruning_schedule = schedule
            compute(batch)

        return run

    return of


def _uniform_for(
    latency: float,
    run: Callable[[PruningSchedule], Callable[[], None]],
    arch: Any,
) -> PruningSchedule:
    """The uniform schedule whose measured latency over dense comes closest to the wanted one."""
    low, high, reached = 0.0, HIGHEST_RATIO, 0.0
    for _ in range(_BISECTIONS):
        ratio = (low + high) / 2
        times = measure_latency(
            {
                'dense': run(PruningSchedule.dense(arch.depths)),
                'sparse': run(PruningSchedule.parse(ratio, arch.depths, arch.has_windows)),
            },
            runs=7,
        )
        reached = times['sparse'].median / times['dense'].median
        low, high = (low, ratio) if reached < latency else (ratio, high)
    if reached > latency * 1.1:
        raise ConfigError(
            f'latency is {latency}x of dense, but skipping {HIGHEST_RATIO:.0%} of the windows '
            f'reaches {reached:.2f}x on this machine.'
        )
    return PruningSchedule.parse(round((low + high) / 2, 3), arch.depths, arch.has_windows)


def _draw(config: Path, checkpoint: Path, folder: Path, count: int) -> list[Path]:
    """Draws the kept windows of the first images of the test set."""
    if count < 1:
        return []
    predictor = ImagePredictor(str(config), str(checkpoint), 'cpu')
    with DefaultScope.overwrite_default_scope(predictor.scope):
        dataset = DATASETS.build(predictor.cfg.test_dataloader.dataset)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for number in range(min(count, len(dataset))):
        source = Path(dataset.get_data_info(number)['img_path'])
        windows = predictor.draw_windows(predictor.predict(predictor.read(source), str(source)))
        if windows is not None:
            written.append(folder / f'{source.stem}-windows.png')
            write_image(written[-1], windows)
    return written
