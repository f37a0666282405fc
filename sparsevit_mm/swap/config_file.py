"""A swap as a config file: it inherits from the original and says what changes, and why."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config

from sparsevit_mm.errors import ConfigError
from sparsevit_mm.files import replace_text
from sparsevit_mm.swap.swap import Change, Swap

WIDTH = 100
INDENT = '    '


def config_text(swap: Swap, original: Config, base: str, title: str) -> str:
    """The text of a config file.

    Args:
        swap: What changes.
        original: The config that was swapped.
        base: What the file inherits from, as `_base_` names it.
        title: The comment that opens the file.
    """
    lines = [*_comment(title, ''), f'_base_ = {base!r}', '']
    tree: dict[str, Any] = {}
    for change in swap.changes:
        _plant(tree, change, swap, original)
    for key, node in tree.items():
        lines += ['', *_statement(key, node)] if isinstance(node, dict) else _statement(key, node)
    while '' in lines and lines[-1] == '':
        lines.pop()
    return '\n'.join(_single_blanks(lines)) + '\n'


def write_config(swap: Swap, original: Config, name: str, out: str | Path, title: str) -> None:
    """Writes a swap beside or away from its original.

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
    replace_text(out, config_text(swap, original, base, title))


class _Leaf:
    """A value and the comment that stands before it."""

    def __init__(self, value: Any, comment: str) -> None:
        self.value = value
        self.comment = comment


def _plant(tree: dict[str, Any], change: Change, swap: Swap, original: Config) -> None:
    """Puts a change into a tree of fields; lists, which are not merged, are stated as a whole."""
    path = list(change.path)
    value: Any = change.value
    for depth, key in enumerate(path):
        if isinstance(key, int):
            path = path[:depth]
            value = _at(swap.cfg._cfg_dict, path)
            break
    names = [str(key) for key in path]
    if change.replaces and isinstance(value, dict) and _has(original._cfg_dict, path):
        value = {'_delete_': True, **value}
    place = tree
    for name in names[:-1]:
        place = place.setdefault(name, {})
    previous = place.get(names[-1])
    comment = change.reason
    if isinstance(previous, _Leaf):
        comment = previous.comment
    siblings = [leaf.comment for leaf in place.values() if isinstance(leaf, _Leaf)]
    place[names[-1]] = _Leaf(value, '' if comment in siblings and previous is None else comment)


def _statement(key: str, node: Any) -> list[str]:
    if isinstance(node, _Leaf):
        return [*_comment(node.comment, ''), *_render(f'{key} = ', node.value, '', '')]
    return _branch(f'{key} = ', node, '', '')


def _branch(head: str, node: Mapping[str, Any], indent: str, tail: str) -> list[str]:
    """dict(…) with comments inside."""
    lines = [f'{indent}{head}dict(']
    inner = indent + INDENT
    entries = list(node.items())
    for number, (key, child) in enumerate(entries):
        end = '' if number == len(entries) - 1 else ','
        if isinstance(child, _Leaf):
            lines += _comment(child.comment, inner)
            lines += _render(f'{key}=', child.value, inner, end)
        else:
            lines += _branch(f'{key}=', child, inner, end)
    lines[-1] += f'){tail}'
    return lines


def _render(head: str, value: Any, indent: str, tail: str) -> list[str]:
    """A value in the style of the frameworks' configs, broken where it is too long."""
    flat = f'{indent}{head}{_flat(value)}{tail}'
    is_open = isinstance(value, (Mapping, list, tuple)) and len(value) > 0
    if len(flat) <= WIDTH or not is_open:
        return [flat if len(flat) <= WIDTH else f'{flat}  # noqa: E501']
    inner = indent + INDENT
    if isinstance(value, Mapping) and all(_is_name(key) for key in value):
        opening, closing = 'dict(', ')'
        entries = [(f'{key}=', child) for key, child in value.items()]
    elif isinstance(value, Mapping):
        opening, closing = '{', '}'
        entries = [(f'{key!r}: ', child) for key, child in value.items()]
    else:
        opening, closing = ('[', ']') if isinstance(value, list) else ('(', ')')
        entries = [('', child) for child in value]
    lines = [f'{indent}{head}{opening}']
    for number, (name, child) in enumerate(entries):
        end = '' if number == len(entries) - 1 else ','
        lines += _render(name, child, inner, end)
    if lines[-1].endswith('  # noqa: E501'):
        lines.append(f'{indent}{closing}{tail}')
    else:
        lines[-1] += f'{closing}{tail}'
    return lines


def _flat(value: Any) -> str:
    if isinstance(value, Mapping) and all(_is_name(key) for key in value):
        return f'dict({", ".join(f"{key}={_flat(child)}" for key, child in value.items())})'
    if isinstance(value, Mapping):
        return f'{{{", ".join(f"{key!r}: {_flat(child)}" for key, child in value.items())}}}'
    if isinstance(value, list):
        return f'[{", ".join(map(_flat, value))}]'
    if isinstance(value, tuple):
        return f'({", ".join(map(_flat, value))}{"," * (len(value) == 1)})'
    return repr(value)


def _is_name(key: Any) -> bool:
    return isinstance(key, str) and key.isidentifier()


def _comment(text: str, indent: str) -> list[str]:
    """The text as comment lines."""
    lines, line = [], f'{indent}#'
    for word in text.split():
        if len(line) + 1 + len(word) > WIDTH:
            lines.append(line)
            line = f'{indent}#'
        line += f' {word}'
    return [*lines, line] if text else []


def _single_blanks(lines: list[str]) -> list[str]:
    return [line for number, line in enumerate(lines) if line or (number and lines[number - 1])]


def _at(place: Any, path: list[Any]) -> Any:
    for key in path:
        place = place[key]
    return _plain(place)


def _has(place: Any, path: list[Any]) -> bool:
    for key in path:
        if not isinstance(place, Mapping) or key not in place:
            return False
        place = place[key]
    return isinstance(place, Mapping)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(child) for key, child in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(child) for child in value)
    return value
