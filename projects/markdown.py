"""Markdown tables, and pages with tables that a command renews."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from sparsevit_mm.errors import ConfigError


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
