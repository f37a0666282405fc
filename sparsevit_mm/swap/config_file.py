"""Writes a swap as a config file that inherits from the original and says what changes, and why."""

from __future__ import annotations

import keyword
import os
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from mmengine.config import Config
from yapf.yapflib.yapf_api import FormatCode  # type: ignore[import-untyped]

from sparsevit_mm.errors import ConfigError
from sparsevit_mm.files import replace_text
from sparsevit_mm.swap.swap import Change, Swap

_WIDTH = 100
_INDENT = 4
_STYLE = dict(
    based_on_style='pep8',
    column_limit=_WIDTH,
    indent_width=_INDENT,
    split_before_expression_after_opening_paren=True,
    split_before_first_argument=True,
    allow_split_before_default_or_named_assigns=False,
)


def write_config(swap: Swap, original: Config, name: str, out: str | Path, title: str) -> None:
    """Writes a config file that loads to exactly the swapped config.

    Args:
        swap: What changes.
        original: The config that was swapped.
        name: The original's path or installed name.
        out: The new file.
        title: The comment that opens the file.

    Raises:
        ConfigError: If `out` is the original itself or cannot be written.
    """
    out = Path(out)
    base = name
    if '::' not in name:
        if out.resolve() == Path(name).resolve():
            raise ConfigError(f'out is {out}, but that is the original: name another file.')
        base = os.path.relpath(Path(name).resolve(), out.resolve().parent)
        if Config._is_lazy_import(name):
            text = config_text(swap, original, _imported_module(base), title, pure_python=True)
            replace_text(out, text)
            return
    replace_text(out, config_text(swap, original, base, title))


def _imported_module(path: str) -> str:
    """Names a file as `from … import *` does, by its path from the folder of what imports it.

    Raises:
        ConfigError: If Python cannot name it.
    """
    *folders, name = Path(path).with_suffix('').parts
    ups = folders.count('..')
    inner = [*folders[ups:], name]
    if not all(_is_argument(part) for part in inner):
        raise ConfigError(
            f'config is {path}, which a config in pure Python cannot import: give its file and '
            'folders names of letters, digits and underscores.'
        )
    return '.' * (ups + 1) + '.'.join(inner)


def config_text(
    swap: Swap, original: Config, base: str, title: str, pure_python: bool = False
) -> str:
    """Writes the text of a config file.

    Args:
        swap: What changes.
        original: The config that was swapped.
        base: What the file inherits from, as `_base_` names it.
        title: The comment that opens the file.
        pure_python: Whether the file imports what it inherits from, as the original does; `base`
            is then a module.

    Returns:
        Formatted Python code; only lines that hold one long string exceed 100 characters.
    """
    tree: _Tree = {}
    for change in swap.changes:
        _add(tree, change, swap, original)
    text = _comment(title)
    if pure_python:
        text += 'from mmengine.config import read_base\n\n'
        text += f'with read_base():\n    from {base} import *  # noqa: F403\n\n'
    else:
        text += f'_base_ = {base!r}\n\n'
    for path, reason in swap.kept:
        text += _comment(f'{".".join(map(str, path))}: {reason}')
    for name, node in tree.items():
        blank = '\n' if isinstance(node, dict) else ''
        if pure_python and isinstance(original.get(name), Mapping) and isinstance(node, dict):
            fields = _field('fields', node, depth=0).partition('=')[2]
            text += f'{blank}{name}.merge({fields})  # noqa: F405\n'
        else:
            text += f'{blank}{_field(name, node, depth=0)}\n'
    text, _ = FormatCode(text, style_config=_STYLE)
    lines = (f'{s}  # noqa: E501' if len(s) > _WIDTH else s for s in text.splitlines())
    return '\n'.join(lines).rstrip() + '\n'


@dataclass(frozen=True)
class _Leaf:
    """A value and the comment above it."""

    value: Any
    comment: str


_Tree: TypeAlias = 'dict[str, _Tree | _Leaf]'


def _add(tree: _Tree, change: Change, swap: Swap, original: Config) -> None:
    """Adds a change to a tree of fields.

    mmengine does not merge lists, so a change inside a list states the whole list.
    """
    path, value = list(change.path), change.value
    index = next((depth for depth, key in enumerate(path) if isinstance(key, int)), None)
    if index is not None:
        path = path[:index]
        value = _get(swap.cfg._cfg_dict, path)
    old = _get(original._cfg_dict, path)
    if change.replaces and isinstance(value, Mapping) and isinstance(old, Mapping):
        value = {'_delete_': True, **value}
    *parents, last = map(str, path)
    for name in parents:
        child = tree.setdefault(name, {})
        assert isinstance(child, dict)
        tree = child
    previous = tree.get(last)
    if isinstance(previous, _Leaf):
        comment = previous.comment
    else:
        # Neighboring fields that change for one reason share one comment.
        given = [leaf.comment for leaf in tree.values() if isinstance(leaf, _Leaf)]
        comment = '' if change.reason in given else change.reason
    tree[last] = _Leaf(value, comment)


def _get(value: Any, path: list[Any]) -> Any:
    """The value at a path; None if there is none."""
    for key in path:
        if not isinstance(value, Mapping) or key not in value:
            return None
        value = value[key]
    return value


def _field(name: str, node: _Tree | _Leaf, depth: int) -> str:
    """Code that sets a field, not yet formatted."""
    if isinstance(node, _Leaf):
        return f'{_comment(node.comment, depth)}{name}={_code(node.value)}'
    fields = ',\n'.join(_field(key, child, depth + 1) for key, child in node.items())
    return f'{name}=dict(\n{fields})'


def _code(value: Any) -> str:
    """Code of a plain value, not yet formatted."""
    if isinstance(value, Mapping):
        if all(_is_argument(key) for key in value):
            return f'dict({", ".join(f"{key}={_code(child)}" for key, child in value.items())})'
        return f'{{{", ".join(f"{key!r}: {_code(child)}" for key, child in value.items())}}}'
    if isinstance(value, list):
        return f'[{", ".join(map(_code, value))}]'
    if isinstance(value, tuple):
        return f'({", ".join(map(_code, value))}{"," * (len(value) == 1)})'
    return repr(value)


def _is_argument(key: Any) -> bool:
    return isinstance(key, str) and key.isidentifier() and not keyword.iskeyword(key)


def _comment(text: str, depth: int = 0) -> str:
    """The text as comment lines, each with its line break."""
    lines = textwrap.wrap(text, _WIDTH - len('# ') - _INDENT * depth)
    return ''.join(f'# {line}\n' for line in lines)
