"""Drawings and plots: kept windows, attention, searches."""

from sparsevit_mm.visualization.kept_windows import (
    StageUse,
    draw_kept_windows,
    draw_shared_windows,
    record_kept_windows,
    stage_use,
)

__all__ = [
    'StageUse',
    'draw_kept_windows',
    'draw_shared_windows',
    'record_kept_windows',
    'stage_use',
]
