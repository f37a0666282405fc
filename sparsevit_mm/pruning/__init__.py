"""Window activation pruning: schedules, window scores, and the windows that stay."""

from sparsevit_mm.pruning.schedule import DEFAULT_CHOICES, KeptCount, PruningSchedule

__all__ = ['DEFAULT_CHOICES', 'KeptCount', 'PruningSchedule']
