"""Errors that the user can fix.

Every message is one sentence that names the field, the value and what is allowed. The command-line
tools print these errors without a traceback, and all others with one.
"""

from __future__ import annotations


class SparseVitError(Exception):
    """Base of all errors that a change of a config, file or command fixes."""


class ConfigError(SparseVitError, ValueError):
    """A value in a config or an argument is outside what is allowed."""


class CheckpointError(SparseVitError, ValueError):
    """A checkpoint cannot be read or written, or is of another architecture."""


class DataError(SparseVitError, ValueError):
    """A file or sample of a data set is incomplete, or does not match the others."""


class DeployedModelError(SparseVitError, RuntimeError):
    """A model in its inference form is used in a way that needs its training form."""
