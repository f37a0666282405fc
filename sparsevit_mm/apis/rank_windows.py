"""Compares what windows are ranked by, for a trained network on images of its validation set.

For each importance the metric is measured at some uniform ratios, beside the share of object pixels
that was computed. An image is seen once for each, so that about a minute tells which to take.
"""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import DefaultScope
from mmengine.runner import Runner, load_checkpoint
from rich.table import Table

from sparsevit_mm.apis.configs import load_config, register_framework
from sparsevit_mm.checks.classes import check_classes
from sparsevit_mm.checks.coco import check_coco_annotations
from sparsevit_mm.checks.configs import (
    build_model,
    check_checkpoint_exists,
    check_datasets,
    check_weights_fit,
    check_writable_folder,
)
from sparsevit_mm.checks.images import use_checked_loading
from sparsevit_mm.engine.importance_comparison import ImportanceComparison, Row, compared_images
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.files import replace_text
from sparsevit_mm.profiling.inputs import check_device
from sparsevit_mm.pruning.importance import IMPORTANCES, check_importance_name
from sparsevit_mm.pruning.prunable import check_learned, find_prunable_backbone

SECONDS = 60
"""How long a comparison takes, about, if the number of images is not given."""

_TIMED_IMAGES, _FEWEST = 3, 8


@dataclass(frozen=True)
class Ranking:
    """The comparison, and which importance to take.

    Attributes:
        metric: Key of the metric.
        images: Names of the images.
        rows: The dense network and every importance at every ratio.
        take: Name of the importance to take.
        why: The reason, as a sentence.
    """

    metric: str
    images: tuple[str, ...]
    rows: tuple[Row, ...]
    take: str
    why: str


def rank_windows(
    config: str,
    checkpoint: str,
    *,
    ratios: Sequence[float] = (0.5, 0.7),
    importances: Sequence[str] | None = None,
    num_images: int | None = None,
    metric: str | None = None,
    objects: Sequence[str] | None = None,
    device: str | None = None,
    out: str | None = None,
    cfg_options: Mapping[str, Any] | None = None,
    say: Callable[[str], None] = print,
) -> Ranking:
    """Compares importances on images of the config's validation set.

    Args:
        config: Path of the config.
        checkpoint: Path or address of the weights.
        ratios: Uniform pruning ratios to compare at, each above 0 and below 1.
        importances: Names of what to compare with the backbone's own; None for those of this
            package.
        num_images: How many images; None for as many as take about `SECONDS`.
        metric: Key of the metric; None for the usual one of the config's evaluator.
        objects: Classes that count as objects, see `object_pixels`; None for all but background.
        device: Such as 'cpu' or 'cuda:0'; by default a GPU if there is one.
        out: JSON file for the result.
        cfg_options: Fields of the config to replace.
        say: Takes a line of progress.

    Returns:
        The comparison.

    Raises:
        SparseVitError: If something given is wrong; nothing was written then.
    """
    ratios = _checked_ratios(ratios)
    for name in importances or ():
        check_importance_name(name)
    if num_images is not None and num_images < 1:
        raise ConfigError(f'num_images is {num_images}, but must be positive.')
    if out is not None:
        check_writable_folder(Path(out).parent, 'out')
    check_checkpoint_exists(checkpoint, 'checkpoint')
    place = check_device(device)
    cfg = load_config(config, cfg_options)
    for part in ('val_dataloader', 'val_evaluator'):
        if cfg.get(part) is None:
            raise ConfigError(
                f'{part} is not in the config, but importances are compared on its validation set.'
            )
    check_datasets(cfg, ['val_dataloader'], ['val_evaluator'])
    register_framework(cfg)
    check_coco_annotations(cfg, ['val_dataloader'])
    check_classes(cfg, ['val_dataloader'])
    model = build_model(cfg)
    backbone = find_prunable_backbone(model)
    check_weights_fit(model, checkpoint)
    load_checkpoint(model, checkpoint, map_location='cpu')
    check_learned(backbone, importances or ())
    model = revert_sync_batchnorm(model).to(place).eval()
    use_checked_loading(cfg)
    own = backbone.importance.name or type(backbone.importance).__name__
    others = _own_importances() if importances is None else importances
    named = {own: backbone.importance, **{name: name for name in others if name != own}}
    scope = DefaultScope.overwrite_default_scope(cfg.get('default_scope'))
    with tempfile.TemporaryDirectory() as folder, scope, torch.no_grad():
        runs = 1 + len(named) * len(ratios)
        if num_images is None:
            num_images = _affordable(cfg, model, runs, Path(folder), say)
        comparison = ImportanceComparison(
            cfg, model, backbone, num_images, Path(folder), metric, objects
        )
        say(f'{len(comparison.data.names)} images of the validation set, {runs} times')
        rows = list(comparison.rows(named, ratios, say))
    take, why = _advice(rows, own, comparison.metric)
    ranking = Ranking(comparison.metric, comparison.data.names, tuple(rows), take, why)
    if out is not None:
        data = {'config': config, 'checkpoint': checkpoint, **asdict(ranking)}
        replace_text(out, json.dumps(data, indent=2) + '\n')
    return ranking


def ranking_table(ranking: Ranking) -> Table:
    """The comparison, for a console."""
    table = Table()
    for column in ('ranked by', 'windows skipped', ranking.metric, 'object pixels computed',
                   'all pixels computed'):  # fmt: skip
        table.add_column(column, justify='left' if column == 'ranked by' else 'right')
    for row in ranking.rows:
        table.add_row(
            row.importance or 'dense',
            f'{row.ratio:.0%}',
            f'{row.metric:.4g}',
            '-' if row.objects is None else f'{row.objects:.1%}',
            f'{row.pixels:.1%}',
        )
    return table


def _checked_ratios(ratios: Sequence[float]) -> tuple[float, ...]:
    for ratio in ratios:
        if not 0 < ratio < 1:
            raise ConfigError(f'ratios has {ratio}, but every ratio must be above 0 and below 1.')
    if not ratios:
        raise ConfigError('ratios is empty, but must hold at least one ratio.')
    return tuple(dict.fromkeys(ratios))


def _affordable(
    cfg: Config, model: Any, runs: int, folder: Path, say: Callable[[str], None]
) -> int:
    """How many images can be seen so many times in about `SECONDS`, by the time that a few take."""
    loader = Runner.build_dataloader(compared_images(cfg, _TIMED_IMAGES, folder).dataloader, seed=0)
    times = []
    for batch in loader:
        start = time.monotonic()
        model.test_step(batch)
        times.append(time.monotonic() - start)
    number = max(_FEWEST, round(SECONDS / (runs * min(times))))
    say(f'an image takes {min(times):.2f} s: at most {number} images are looked at')
    return number


def _advice(rows: Sequence[Row], own: str, metric: str) -> tuple[str, str]:
    """Which importance to take, and why.

    Another one than the backbone's own must be better by more than the noise: twice the standard
    error of its mean gain over the ratios, from the gains on parts of the images.
    """
    by_name: dict[str, list[Row]] = {}
    for row in rows:
        if row.importance is not None:
            by_name.setdefault(row.importance, []).append(row)
    found = {}
    for name in by_name:
        if name not in (own, 'random'):  # chance is a yardstick
            pairs = list(zip(by_name[name], by_name[own]))
            gains = [mean(each) for each in zip(*(_gains(pair) for pair in pairs))]
            noise = 2 * stdev(gains) / math.sqrt(len(gains)) if len(gains) > 1 else math.inf
            found[name] = mean(row.metric - base.metric for row, base in pairs), noise
    if not found:
        return own, 'nothing else was compared.'
    sure = [name for name, (gain, noise) in found.items() if gain > noise]
    best = max(sure or found, key=lambda name: found[name][0])
    gain, noise = found[best]
    shown = f'{metric} {gain:+.3g} with {best} on average over the ratios, noise {noise:.2g}'
    if sure:
        return best, f'it is better than {own} by more than the noise ({shown}).'
    return (
        own,
        f"it is the backbone's own, and no other is better by more than the noise ({shown}).",
    )


def _gains(pair: tuple[Row, Row]) -> list[float]:
    """By how much the first row is better on every part of the images."""
    parts = [(one, other) for one, other in zip(pair[0].parts, pair[1].parts)]
    # COCO's metrics are -1 where a part of the images has no objects.
    return [one - other for one, other in parts if min(one, other) >= 0]


def _own_importances() -> list[str]:
    """Names of the importances of this package, but those that weights must have learned."""
    known = IMPORTANCES.module_dict.items()
    own = {name: kind for name, kind in known if kind.__module__.startswith('sparsevit_mm.')}
    return sorted(name for name, kind in own.items() if not kind.is_learned)
