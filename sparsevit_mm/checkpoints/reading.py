"""Reads checkpoints and pickles from outside without running anything in them.

Everything that this package loads goes through here: a file, an address, a pickle of annotations.
A file may name the classes in `_HARMLESS` and those that torch's safe loader knows; a file that
names another one is refused, because rebuilding it could run code.
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import io
import pathlib
import pickle
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlparse

import numpy as np
import torch
from mmengine import fileio
from mmengine.dist import barrier, get_rank
from mmengine.logging.history_buffer import HistoryBuffer
from mmengine.runner import checkpoint as mmengine_checkpoints
from torch import _weights_only_unpickler

from sparsevit_mm.errors import CheckpointError

_RUNS_CODE = 'which is not loaded because it could run code'


def _statistics_method(owner: Any, name: str) -> Any:
    """Stands in for the `getattr` by which a pickle names a method of `HistoryBuffer`.

    The real `getattr` would open every attribute of every object to a file; this one knows the
    four statistics that each buffer registers.
    """
    if owner is HistoryBuffer and name in ('min', 'max', 'current', 'mean'):
        return getattr(HistoryBuffer, name)
    raise pickle.UnpicklingError(f'the attribute {name!r} may not be read from a checkpoint.')


def _dictionary(*given: Any) -> dict[Any, Any]:
    """Stands in for dictionaries with behavior: a default factory, or attributes for keys."""
    return dict(given[0]) if given and isinstance(given[0], Mapping) else {}


def _harmless() -> dict[str, Any]:
    """What a file may name, and what is made of it."""
    multiarray = (np.core if np.__version__ < '2' else getattr(np, '_core')).multiarray  # noqa: B009
    numeric = (np.core if np.__version__ < '2' else getattr(np, '_core')).numeric  # noqa: B009
    known: dict[str, Any] = {
        'mmengine.logging.history_buffer.HistoryBuffer': HistoryBuffer,
        'builtins.getattr': _statistics_method,
        '__builtin__.getattr': _statistics_method,
        'argparse.Namespace': argparse.Namespace,
        'collections.OrderedDict': collections.OrderedDict,
        'collections.Counter': collections.Counter,
        'collections.defaultdict': _dictionary,
        'mmengine.config.config.ConfigDict': _dictionary,
        'mmcv.utils.config.ConfigDict': _dictionary,
        'numpy.ndarray': np.ndarray,
        'numpy.dtype': np.dtype,
    }
    for kind in (bool, int, float, str, list, tuple, dict, set, frozenset):
        known[f'builtins.{kind.__name__}'] = known[f'__builtin__.{kind.__name__}'] = kind
    # A path is only a name, whatever system it comes from; Python 3.13 moved the classes.
    for system in ('Posix', 'Windows'):
        pure = getattr(pathlib, f'Pure{system}Path')
        for module in ('pathlib', 'pathlib._local'):
            known[f'{module}.{system}Path'] = known[f'{module}.Pure{system}Path'] = pure
    # NumPy 2 renamed the module, and files outlive versions: both names are known.
    for core in ('core', '_core'):
        for function in (multiarray._reconstruct, multiarray.scalar):
            known[f'numpy.{core}.multiarray.{function.__name__}'] = function
        known[f'numpy.{core}.numeric._frombuffer'] = numeric._frombuffer
    return known


_HARMLESS = _harmless()


def allow_harmless_classes() -> None:
    """Adds what a checkpoint may name to torch's allow-list, for the whole process.

    Training checkpoints of mmengine need it: since torch 2.6 `torch.load` refuses classes it does
    not know, and they hold mmengine's `HistoryBuffer` and NumPy's arrays and scalars.
    """
    if tuple(int(part) for part in torch.__version__.split('.')[:2]) < (2, 6):
        # Older safe readers cannot be told of names: one that knows them takes their place.
        own: Any = torch.serialization
        own._weights_only_unpickler = SimpleNamespace(
            Unpickler=_TensorUnpickler, load=_read_tensors
        )
    else:
        codes = (*'?bhilqBHILQefd', 'U1', 'S1')
        dtypes = {type(np.dtype(code)) for code in codes}
        named = [(value, name) for name, value in _HARMLESS.items()]
        torch.serialization.add_safe_globals([*named, *dtypes])


def read_content(path: str | Path, map_location: Any = 'cpu') -> Any:
    """Reads a checkpoint without running anything in it.

    Args:
        path: A file; an address that begins with http:// or https://, which is fetched into torch's
            cache; or a name that mmengine knows, such as torchvision://resnet50.
        map_location: Where tensors go, as for `torch.load`.

    Returns:
        The saved object.

    Raises:
        CheckpointError: If the file is missing, broken, or holds more than plain data.
    """
    path = str(path)
    try:
        source = _fetched(path)
        content = torch.load(source, map_location=map_location, weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f'the checkpoint {path} does not exist.') from None
    except CheckpointError:
        raise
    except ImportError as error:  # of the package that knows the addresses, such as torchvision
        raise CheckpointError(f'the checkpoint {path} cannot be read: {_line(error)}.') from None
    except pickle.UnpicklingError as error:
        raise CheckpointError(f'the checkpoint {path} {_refusal(error)}.') from error
    except OSError as error:
        reason = getattr(error, 'reason', None) or error.strerror or error
        raise CheckpointError(f'the checkpoint {path} cannot be read: {_line(reason)}.') from error
    except Exception as error:  # a broken file may fail anywhere in the reader
        raise CheckpointError(
            f'the checkpoint {path} is no checkpoint, or is broken: {_line(error)}.'
        ) from error
    if path.startswith('mmcls://'):
        content = mmengine_checkpoints._process_mmcls_checkpoint(content)
    return content


def read_pickle(content: bytes) -> Any:
    """Reads a pickle of numbers, text, containers and arrays.

    Args:
        content: The pickle.

    Raises:
        pickle.UnpicklingError: If it is broken, or names a class that is not harmless.
    """
    try:
        return _PlainUnpickler(io.BytesIO(content)).load()
    except pickle.UnpicklingError:
        raise
    except Exception as error:  # a broken pickle may fail anywhere in the reader
        raise pickle.UnpicklingError(f'it is no pickle, or is broken: {_line(error)}') from error


class _PlainUnpickler(pickle.Unpickler):
    """Knows the harmless classes alone."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ('_codecs', 'encode'):  # bytes, in old protocols
            return lambda text, encoding: text.encode('latin1')
        known = _HARMLESS.get(f'{module}.{name}')
        if known is None:
            raise pickle.UnpicklingError(f'it holds a {module}.{name}, {_RUNS_CODE}')
        return known


class _TensorUnpickler(_PlainUnpickler):
    """Knows those, and what torch's own safe reader knows: tensors and their parts."""

    def find_class(self, module: str, name: str) -> Any:
        path = f'{module}.{name}'
        of_torch = _weights_only_unpickler._get_allowed_globals()
        if path in of_torch:
            return of_torch[path]
        if path not in _HARMLESS and path != '_codecs.encode':
            raise pickle.UnpicklingError(f'Unsupported global: GLOBAL {path}')
        return super().find_class(module, name)


def _read_tensors(file: Any, *, encoding: str = 'ASCII') -> Any:
    """What `pickle.load` is to `pickle.Unpickler`."""
    return _TensorUnpickler(file, encoding=encoding).load()


def _fetched(path: str) -> str | io.BytesIO:
    """The file that an address stands for; a file stands for itself."""
    scheme, separator, name = path.partition('://')
    if not separator:
        return str(Path(path).expanduser())
    if scheme in ('http', 'https'):
        return _downloaded(path)
    if scheme in _LISTS:
        address = _LISTS[scheme](name)
        if address is None:
            raise CheckpointError(f'the checkpoint {path} is in no list of {scheme}:// models.')
        return _fetched(address)
    if scheme.rpartition(':')[2] in ('s3', 'petrel'):
        return io.BytesIO(fileio.get(path, {'backend': 'petrel'}))
    raise CheckpointError(
        f'the checkpoint {path} begins with {scheme}://, but must be a file, or begin with '
        f'{", ".join(f"{known}://" for known in ("https", "http", *_LISTS, "s3"))}.'
    )


def _downloaded(address: str) -> str:
    """Fetches an address into torch's cache, unless it is there; the first process does so.

    Every address has a folder of its own there: many files of different networks share a name.
    """
    digest = hashlib.sha256(address.encode()).hexdigest()[:16]
    folder = Path(torch.hub.get_dir(), 'checkpoints', digest)
    target = folder / Path(urlparse(address).path).name
    if get_rank() == 0 and not target.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        print(f'Downloading {address} to {target}')
        torch.hub.download_url_to_file(address, str(target), progress=False)
    barrier()
    return str(target)


def _in_openmmlab(name: str) -> str | None:
    current = mmengine_checkpoints.get_deprecated_model_names().get(name, name)
    address = mmengine_checkpoints.get_external_models().get(current)
    if address is None or '://' in address:
        return address
    return str(Path(mmengine_checkpoints._get_mmengine_home(), address))


def _in_torchvision(name: str) -> str | None:
    return mmengine_checkpoints.get_torchvision_models().get(name)


def _in_mmcls(name: str) -> str | None:
    return mmengine_checkpoints.get_mmcls_models().get(name)


_LISTS: dict[str, Callable[[str], str | None]] = {
    'torchvision': _in_torchvision,
    'modelzoo': _in_torchvision,
    'openmmlab': _in_openmmlab,
    'open-mmlab': _in_openmmlab,
    'mmcls': _in_mmcls,
}


def _refusal(error: Exception) -> str:
    """Why torch's safe loader refused a file, without its advice to load it unsafely."""
    named = re.search(r'Unsupported global: GLOBAL (\S+)', str(error)) or re.search(
        r'unsupported GLOBAL (\S+) whose module', str(error)
    )
    if named is None:
        return (
            "is no checkpoint, is broken, or holds more than tensors and mmengine's records, which "
            'is not loaded because it could run code'
        )
    return (
        f"holds more than tensors and mmengine's records: {named.group(1)}, {_RUNS_CODE}; whoever "
        "has the file should save the weights alone, by torch.save({'state_dict': "
        'model.state_dict()}, path)'
    )


def _line(reason: Any) -> str:
    """The first line of a reason, without a dot at its end."""
    lines = str(reason).strip().splitlines()
    return (lines[0][:200] if lines else type(reason).__name__).rstrip('.')
