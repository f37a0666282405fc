"""Registers what the study's configs name, for their `custom_imports`."""

from projects.importance_study import bfloat16, importances, object_share

__all__ = ['bfloat16', 'importances', 'object_share']
