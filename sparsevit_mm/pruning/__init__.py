"""Window activation pruning: schedules, importance of windows, and selection of windows."""

from sparsevit_mm.pruning.schedule import DEFAULT_CHOICES, KeptCount, PruningSchedule

__all__ = ['DEFAULT_CHOICES', 'KeptCount', 'PruningSchedule']
