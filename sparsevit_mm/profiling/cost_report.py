"""Reports MACs and parameters of a model at an input size, by part, dense and pruned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from rich.table import Table
from torch import Tensor, nn

from sparsevit_mm.errors import ConfigError
from sparsevit_mm.profiling.dial import DialShare, window_macs
from sparsevit_mm.profiling.head_windows import HeadConvolution, head_convolutions
from sparsevit_mm.profiling.inputs import check_shape, input_channels
from sparsevit_mm.profiling.macs import backbone_macs, ranking_operations
from sparsevit_mm.profiling.model_macs import model_macs
from sparsevit_mm.pruning.prunable import PrunableBackbone, prunable_or_none
from sparsevit_mm.pruning.schedule import PruningSchedule

_NOT_ON_NOISE = (
    AssertionError, AttributeError, LookupError, NotImplementedError, RuntimeError, TypeError,
    ValueError,
)  # fmt: skip
"""What models raise that need more than images, such as text or the boxes of another model."""


@dataclass(frozen=True)
class StageCost:
    """Cost of the blocks of one stage.

    Attributes:
        kept: Number of windows that each block computes in each image.
        total: Number of windows in the grid of the stage.
        dense_macs: MACs with all windows, summed over the batch.
        macs: MACs with the schedule, summed over the batch.
    """

    kept: tuple[int, ...]
    total: int
    dense_macs: int
    macs: int


@dataclass(frozen=True)
class BackboneCost:
    """Cost of a backbone with a schedule.

    Attributes:
        ratios: The schedule, one ratio per block.
        patch_embed: MACs of the patch embedding, summed over the batch.
        merging: MACs of all merging or down-sampling, summed over the batch.
        stages: Cost of the blocks of each stage.
        dense_macs: MACs with all windows, summed over the batch.
        macs: MACs with the schedule, summed over the batch.
        ranking: Element-wise operations that rank the windows, which are no MACs, summed over the
            batch; None if the backbone's importance does not tell.
    """

    ratios: tuple[tuple[float, ...], ...]
    patch_embed: int
    merging: int
    stages: tuple[StageCost, ...]
    dense_macs: int
    macs: int
    ranking: int | None


@dataclass(frozen=True)
class CostReport:
    """Cost of a model on a batch.

    Attributes:
        height: Height of the network's input in pixels.
        width: Width of the network's input in pixels.
        batch: Number of images.
        macs: MACs with the schedule of the backbone, summed over the batch.
        parts: MACs of backbone, neck and heads.
        parameters: Number of parameters.
        part_parameters: Parameters of backbone, neck and heads.
        dense_parts: MACs of backbone, neck and heads if neck and head compute all windows.
        head: The convolutions of a sparse neck and head; empty for others.
        backbone: Details of a backbone with a schedule; None for others.
        dial: What ratios can reach; None without a schedule.
    """

    height: int
    width: int
    batch: int
    macs: int
    parts: dict[str, int]
    parameters: int
    part_parameters: dict[str, int]
    dense_parts: dict[str, int]
    head: tuple[HeadConvolution, ...]
    backbone: BackboneCost | None
    dial: DialShare | None

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-ready data."""
        return asdict(self)


def backbone_cost(
    backbone: PrunableBackbone, height: int, width: int, batch: int = 1
) -> BackboneCost:
    """Counts the MACs of a backbone, dense and with its schedule.

    Args:
        backbone: The backbone.
        height: Input height in pixels.
        width: Input width in pixels.
        batch: Number of images.
    """
    arch, schedule = backbone.arch, backbone.pruning_schedule
    pruned = backbone_macs(arch, schedule, height, width, batch)
    dense = backbone_macs(arch, PruningSchedule.dense(arch.depths), height, width, batch)
    stages = tuple(
        StageCost(
            kept=tuple(block.kept for block in blocks),
            total=blocks[0].total,
            dense_macs=dense_macs,
            macs=macs,
        )
        for blocks, dense_macs, macs in zip(pruned.blocks, dense.stages, pruned.stages)
    )
    return BackboneCost(
        ratios=schedule.ratios,
        patch_embed=pruned.patch_embed,
        merging=sum(pruned.merging),
        stages=stages,
        dense_macs=dense.total,
        macs=pruned.total,
        ranking=ranking_operations(arch, schedule, backbone.importance, height, width, batch),
    )


def cost_report(
    model: nn.Module,
    cfg: Config,
    height: int,
    width: int,
    batch: int = 1,
    backbone: PrunableBackbone | None = None,
) -> CostReport:
    """Counts the MACs of a detector or segmentor by running it once on noise.

    Two-stage detectors run their heads on as many proposals as the test settings keep, so the MACs
    of these parts are an upper limit.

    Args:
        model: The model.
        cfg: Its config.
        height: Height of the network's input in pixels.
        width: Width of the network's input in pixels.
        batch: Number of images; for a BEVDet the number of cameras of one frame.
        backbone: The backbone of the model, if it has a schedule.

    Returns:
        The report.

    Raises:
        ConfigError: If a number is not positive, or the framework is not supported.
    """
    check_shape(height, width, batch)
    model.eval()
    run = _run_on_noise(model, cfg, height, width, batch)
    macs = model_macs(model, run)
    dense_parts = macs.parts
    if backbone is not None and backbone.pruning_schedule.head_ratios:
        own = backbone.pruning_schedule
        backbone.pruning_schedule = replace(own, head_ratios=())
        try:
            dense_parts = model_macs(model, run).parts
        finally:
            backbone.pruning_schedule = own
    detail = None if backbone is None else backbone_cost(backbone, height, width, batch)
    dial = None
    if backbone is not None and detail is not None:
        saved = detail.dense_macs - detail.macs
        saved += sum(dense_parts.values()) - sum(macs.parts.values())
        windows = window_macs(model, backbone, height, width, batch)
        dial = DialShare(macs.total + saved, windows, macs.total)
    part_parameters = {name: _num_parameters(child) for name, child in model.named_children()}
    return CostReport(
        height=height,
        width=width,
        batch=batch,
        macs=macs.total,
        parts=macs.parts,
        parameters=_num_parameters(model),
        part_parameters={name: number for name, number in part_parameters.items() if number},
        dense_parts=dense_parts,
        head=head_convolutions(model, height, width),
        backbone=detail,
        dial=dial,
    )


def count_dial(model: nn.Module, cfg: Config, height: int, width: int) -> DialShare | None:
    """Counts what the ratios of a model reach, on one image of noise.

    Args:
        model: The model; it is in evaluation mode afterwards.
        cfg: Its config.
        height: Height of the network's input in pixels.
        width: Width of the network's input in pixels.

    Returns:
        The share; None if the backbone has no schedule, models of this framework are not counted,
        or the model does not run on noise alone.
    """
    backbone = prunable_or_none(model)
    if backbone is None or cfg.get('default_scope') not in (*_SAMPLES, 'mmdet3d'):
        return None
    try:
        return cost_report(model, cfg, height, width, backbone=backbone).dial
    except _NOT_ON_NOISE:
        return None


def cost_table(report: CostReport) -> Table:
    """Formats a report as a table for the terminal."""
    images = '1 image' if report.batch == 1 else f'{report.batch} images'
    table = Table(title=f'{images}, {report.height} x {report.width}')
    detail = report.backbone
    table.add_column('part')
    if detail is not None:
        table.add_column('kept windows', justify='right')
        table.add_column('dense GMACs', justify='right')
    table.add_column('GMACs', justify='right')
    table.add_column('parameters', justify='right')

    def add(part: str, macs: int, dense: int | None = None, kept: str = '', count: int = 0) -> None:
        middle = [] if detail is None else [kept, _giga(macs if dense is None else dense)]
        millions = f'{count / 1e6:.2f} M' if count else ''
        table.add_row(part, *middle, _giga(macs), millions)

    saved = 0
    if detail is not None:
        saved = detail.dense_macs - detail.macs
        add('  patch embedding', detail.patch_embed)
        for index, stage in enumerate(detail.stages):
            kept = f'{_range(stage.kept)} of {stage.total}' if stage.total else 'convolutional'
            add(f'  stage {index}', stage.macs, stage.dense_macs, kept)
        add('  between stages', detail.merging)
    for name in {**report.part_parameters, **report.parts}:
        macs = report.parts.get(name, 0)
        dense = report.dense_parts.get(name, 0) + (saved if name == 'backbone' else 0)
        add(name, macs, dense, count=report.part_parameters.get(name, 0))
    sparse = {c.stage: f'{c.kept} of {c.total}' for c in report.head if c.kept < c.total}
    for number, windows in sorted(sparse.items()):
        add(f'  neck and head at stage {number}', 0, 0, windows)
    if detail is not None and detail.ranking:
        table.caption = (
            f'Ranking the windows takes {_giga(detail.ranking)} G element-wise operations, '
            'which are no MACs.'
        )
    table.add_section()
    saved_by_heads = sum(report.dense_parts.values()) - sum(report.parts.values())
    add('model', report.macs, report.macs + saved + saved_by_heads, count=report.parameters)
    return table


def _run_on_noise(
    model: nn.Module, cfg: Config, height: int, width: int, batch: int
) -> Callable[[], Any]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch, input_channels(model), height, width, generator=generator)
    images = images.to(next(model.parameters()).device)
    scope = str(cfg.get('default_scope'))
    if scope == 'mmdet3d':
        inputs, samples = _inputs_in_3d(model, images)
        return lambda: model(inputs, samples, mode='tensor')
    make_samples = _SAMPLES.get(scope)
    if make_samples is None:
        raise ConfigError(
            f'default_scope is {cfg.get("default_scope")!r}, but must be one of '
            f'{", ".join(_SAMPLES)}, mmdet3d to count a whole model.'
        )
    return lambda: model(images, make_samples(height, width, batch), mode='tensor')


def _inputs_in_3d(model: nn.Module, images: Tensor) -> tuple[dict[str, Tensor], Any]:
    """Makes inputs of the images: for a BEVDet the cameras of a frame, else a batch of images."""
    if not hasattr(model, 'view_transform'):
        return {'imgs': images}, None
    # The MACs do not depend on the calibration.
    each = {name: np.tile(np.eye(3), (len(images), 1, 1)) for name in ('cam2img', 'img_aug')}
    meta = dict(each, cam2bev=np.tile(np.eye(4), (len(images), 1, 1)), bev_aug=np.eye(3))
    sample = import_module('mmdet3d.structures').Det3DDataSample(metainfo=meta)
    return {'imgs': images[None]}, [sample]


def _detection_samples(height: int, width: int, batch: int) -> list[Any]:
    side = (height, width)
    meta = dict(
        img_shape=side, pad_shape=side, batch_input_shape=side, ori_shape=side, scale_factor=(1, 1)
    )
    sample = import_module('mmdet.structures').DetDataSample
    return [sample(metainfo=meta) for _ in range(batch)]


_SAMPLES: Mapping[str, Callable[[int, int, int], Any]] = {
    'mmdet': _detection_samples,
    'mmseg': lambda height, width, batch: None,
}


def _num_parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _giga(macs: int) -> str:
    return f'{macs / 1e9:.2f}'


def _range(kept: tuple[int, ...]) -> str:
    return f'{max(kept)}' if len(set(kept)) == 1 else f'{max(kept)} to {min(kept)}'
