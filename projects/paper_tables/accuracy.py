"""Evaluates the rows of a table by testing their configs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from projects.paper_tables.results import RowResult
from projects.paper_tables.table import Row
from sparsevit_mm.apis import test
from sparsevit_mm.errors import SparseVitError


def evaluate_row(
    row: Row, result: RowResult, checkpoints: Mapping[str, str], work_dir: Path
) -> None:
    """Tests a row, or records why it cannot be tested.

    Args:
        row: The row.
        result: Gets the numbers; a row with numbers of the same checkpoint is not tested again.
        checkpoints: Paths or addresses of weights by row; they replace the row's own.
        work_dir: Folder for the test's log.
    """
    checkpoint = checkpoints.get(row.name, row.checkpoint)
    config = row.config_path
    if config is None:
        result.reason = row.missing or 'no config of this package describes its training'
        return
    if checkpoint is None:
        result.reason = 'no weights are given for it'
        return
    if result.accuracy and result.checkpoint == checkpoint:
        return
    try:
        metrics = test.test(
            str(config),
            checkpoint,
            work_dir=str(work_dir),
            ratios=None if row.ratios is None else str(row.ratios),
            cfg_options=dict(row.cfg_options),
        )
    except SparseVitError as error:
        result.reason = str(error)
        return
    numbers = {name: float(value) for name, value in metrics.items()}
    result.accuracy, result.checkpoint, result.reason = numbers, checkpoint, None
