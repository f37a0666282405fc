"""One JSON file a machine: sections that were each measured by one command, kept as they come."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def load(path: Path) -> dict[str, Any]:
    """The sections of a file, none if there is no file yet."""
    return json.loads(path.read_text()) if path.exists() else {}


def save_section(path: Path, name: str, section: dict[str, Any]) -> None:
    """Adds or replaces a section; the others stay, so an interrupted run goes on where it was."""
    sections = load(path) | {name: section}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(dict(sorted(sections.items())), indent=1) + '\n')


def row_of(section: dict[str, Any], network: str, **case: Any) -> dict[str, Any] | None:
    """The measured row of a network under these circumstances, or None."""
    for row in section.get('rows', ()):
        wanted = dict(network=network, **case)
        if 'skipped' not in row and all(row.get(key) == wanted[key] for key in wanted):
            return row
    return None
