"""Markdown tables, and pages with tables that a command renews."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from sparsevit_mm.errors import ConfigError
from sparsevit_mm.files import replace_text


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose first column is text and whose other columns are figures."""
    lines = [head, ['---', *['---:'] * (len(head) - 1)], *rows]
    return '\n'.join('| ' + ' | '.join(line) + ' |' for line in lines)


def fill_in(page: str, made: Mapping[str, str]) -> str:
    """Returns a page with new text between every `<!-- NAME -->` and `<!-- end -->`.

    Args:
        page: Text of the page.
        made: New text by name.

    Raises:
        ConfigError: If the page has another name.
    """

    def renewed(match: re.Match[str]) -> str:
        if match[1] not in made:
            raise ConfigError(
                f'the page has a table {match[1]!r}, but must be one of {", ".join(made)}.'
            )
        return f'<!-- {match[1]} -->\n\n{made[match[1]]}\n\n<!-- end -->'

    return re.sub(r'<!-- ([\w ]+) -->\n.*?<!-- end -->', renewed, page, flags=re.S)


def publish(made: Mapping[str, str], page: Path | None) -> None:
    """Prints tables and renews those of a page.

    Args:
        made: Tables by name.
        page: The page; None for none.

    Raises:
        ConfigError: If the page has another name.
    """
    for name, text in made.items():
        print(f'\n{name}\n\n{text}')
    if page is not None:
        replace_text(page, fill_in(page.read_text(), made))
