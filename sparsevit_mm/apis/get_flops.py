"""Counts MACs and parameters of the model of a config."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from sparsevit_mm.apis.configs import load_config, register_framework
from sparsevit_mm.apis.schedules import read_schedule
from sparsevit_mm.checks.configs import build_model, check_writable_folder
from sparsevit_mm.checks.schedules import check_importance
from sparsevit_mm.engine.input_scale import apply_to_config, required_resized_shape
from sparsevit_mm.files import replace_text
from sparsevit_mm.profiling.cost_report import CostReport, cost_report, cost_table
from sparsevit_mm.pruning.prunable import find_prunable_backbone, prunable_or_none
from sparsevit_mm.pruning.schedule import PruningSchedule


def count_config(
    config: str,
    height: int | None = None,
    width: int | None = None,
    *,
    batch: int = 1,
    ratios: str | None = None,
    schedule: str | None = None,
    out: str | None = None,
    cfg_options: Mapping[str, Any] | None = None,
) -> CostReport:
    """Counts MACs and parameters, prints them as a table, and writes them if asked.

    The first line says which share of the model the dial reaches.

    Args:
        config: Path of the config.
        height: Height of the network's input in pixels; by default, that and the width are what the
            test pipeline resizes to at most.
        width: Width of the network's input in pixels.
        batch: Images.
        ratios: Pruning ratios in place of the config's, as text.
        schedule: JSON file with the schedule, instead of `ratios`.
        out: JSON file for the figures.
        cfg_options: Fields of the config to replace.

    Returns:
        The figures.

    Raises:
        SparseVitError: If an argument is wrong.
    """
    wanted = read_schedule(ratios, schedule)
    if out is not None:
        check_writable_folder(Path(out).parent, 'out')
    cfg = load_config(config, cfg_options)
    register_framework(cfg)
    if height is None or width is None:
        height, width = required_resized_shape(cfg)
    if isinstance(wanted, PruningSchedule):
        apply_to_config(cfg, replace(wanted, scale=1.0))  # the size is given
    model = build_model(cfg)
    if wanted is not None:
        check_importance(wanted, cfg)
        find_prunable_backbone(model).pruning_schedule = wanted
    report = cost_report(model, cfg, height, width, batch, prunable_or_none(model))
    if report.dial is not None:
        print(report.dial)
    Console().print(cost_table(report))
    if out is not None:
        data = {'config': config, **report.to_dict()}
        replace_text(out, json.dumps(data, indent=2) + '\n')
    return report
