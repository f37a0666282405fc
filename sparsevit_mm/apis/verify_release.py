"""Loads a released checkpoint and compares its metrics with the published ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml
from rich.table import Table
from torch import nn

from sparsevit_mm.apis.configs import load_config, register_framework
from sparsevit_mm.apis.test import test
from sparsevit_mm.checkpoints.layouts import DERIVED_BUFFERS
from sparsevit_mm.checkpoints.loading import read_weights
from sparsevit_mm.checks.configs import (
    build_model,
    check_checkpoint_exists,
    check_datasets,
    check_weights_fit,
    check_writable_folder,
)
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.files import replace_text

METRICS = {
    # name in a metafile, without what its source is: name in the evaluator's report, percent of it.
    'box AP': ('coco/bbox_mAP', 100),
    'mask AP': ('coco/segm_mAP', 100),
    'mIoU': ('mIoU', 1),
}
"""Published figures that can be measured again."""


@dataclass
class ReleaseReport:
    """How a checkpoint loads and what it scores.

    Attributes:
        config: The config it was tested with.
        checkpoint: The file.
        loaded: Parameters and buffers of the model that were set.
        missing: Those the file does not have.
        left_over: Tensors of the file that the model has no place for.
        published: Figures of the config's metafile, by name, with their source in brackets.
        measured: What was measured of them; empty if the checkpoint was only loaded.
    """

    config: str
    checkpoint: str
    loaded: int
    missing: list[str]
    left_over: list[str]
    published: dict[str, float]
    measured: dict[str, float] = field(default_factory=dict)

    def load_sentence(self) -> str:
        """How the checkpoint loads."""
        parts = [f'{self.loaded} tensors loaded']
        for names, what in ((self.missing, 'missing'), (self.left_over, 'left over')):
            examples = f' ({", ".join(names[:3])}{", …" * (len(names) > 3)})' if names else ''
            parts.append(f'{len(names)} {what}{examples}')
        return f'{self.checkpoint}: {", ".join(parts)}.'

    def table(self) -> Table:
        """Published and measured figures side by side."""
        table = Table(title=Path(self.config).stem)
        table.add_column('figure')
        for column in ('published', 'measured', 'difference'):
            table.add_column(column, justify='right')
        for name, published in self.published.items():
            measured = self.measured.get(name)
            row = (
                ('–', '–')
                if measured is None
                else (f'{measured:.1f}', f'{measured - published:+.1f}')
            )
            table.add_row(name, f'{published:.1f}', *row)
        return table


def verify_release(
    config: str,
    checkpoint: str,
    *,
    load_only: bool = False,
    work_dir: str | None = None,
    out: str | None = None,
    cfg_options: Mapping[str, Any] | None = None,
) -> ReleaseReport:
    """Loads a released checkpoint, evaluates it, and sets its published figures beside.

    Args:
        config: Path of the config; the `metafile.yml` beside it has the published figures.
        checkpoint: Path of the weights.
        load_only: Whether to leave the evaluation out; no data are needed then.
        work_dir: Where the log of the evaluation goes, as for testing.
        out: JSON file for the report.
        cfg_options: Fields of the config to replace.

    Returns:
        The report.

    Raises:
        SparseVitError: If the checkpoint does not fit the config, the metafile does not know the
            config, or the data are missing.
    """
    check_checkpoint_exists(checkpoint, 'checkpoint')
    if out is not None:
        check_writable_folder(Path(out).parent, 'out')
    cfg = load_config(config, cfg_options, work_dir)
    published = published_figures(config)
    if not load_only:
        check_datasets(cfg, ['test_dataloader'], ['test_evaluator'])
    register_framework(cfg)
    model = build_model(cfg)
    check_weights_fit(model, checkpoint)
    report = ReleaseReport(config, checkpoint, *_compare_names(model, checkpoint), published)
    if not load_only:
        scores = test(config, checkpoint, work_dir=work_dir, cfg_options=cfg_options)
        for name in published:
            key, percent = METRICS.get(name.partition(' (')[0], (None, 1))
            if key in scores:
                report.measured[name] = scores[key] * percent
    if out is not None:
        replace_text(out, json.dumps(asdict(report), indent=2) + '\n')
    return report


def published_figures(config: str | Path) -> dict[str, float]:
    """The figures that the metafile beside a config has for it.

    Args:
        config: Path of the config.

    Returns:
        Figures by name, with their source in brackets.

    Raises:
        ConfigError: If there is no metafile, or it does not know the config.
    """
    metafile = Path(config).parent / 'metafile.yml'
    if not metafile.is_file():
        raise ConfigError(
            f'{metafile} is missing, but must hold the published figures of {Path(config).name}.'
        )
    for model in yaml.safe_load(metafile.read_text()).get('Models', []):
        if Path(model['Config']).name == Path(config).name:
            return {
                name: float(value)
                for result in model.get('Results', [])
                for name, value in (result.get('Metrics') or {}).items()
            }
    raise ConfigError(f'{metafile} has no model whose Config is {Path(config).name}.')


def _compare_names(model: nn.Module, checkpoint: str) -> tuple[int, list[str], list[str]]:
    """How many tensors fit, which are missing and which are left over; derived ones aside."""
    wanted = {name for name in model.state_dict() if not DERIVED_BUFFERS.search(name)}
    given = {name for name in read_weights(checkpoint) if not DERIVED_BUFFERS.search(name)}
    return len(wanted & given), sorted(wanted - given), sorted(given - wanted)
