"""Errors that are the user's to mend.

Every message is one sentence that names the field, the value and what is allowed. The command-line
tools print such an error without a traceback; everything else keeps its traceback.
"""

from __future__ import annotations


class SparseVitError(Exception):
    """Base of every error that a changed config, file or command would mend."""


class ConfigError(SparseVitError, ValueError):
    """A value in a config or an argument is outside what is allowed."""


class CheckpointError(SparseVitError, ValueError):
    """A checkpoint file cannot be read, or holds another architecture."""


class DataError(SparseVitError, ValueError):
    """A file or a sample of a data set lacks something, or does not fit the others."""


class DeployedModelError(SparseVitError, RuntimeError):
    """A model in its inference form is asked for something that only its training form can do."""
