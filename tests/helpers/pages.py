"""The commands that the documentation prints.

A block marked `bash` is run by the tests, with stand-ins for what its reader would fill in. A block
marked `shell` needs data, released weights, a GPU or a cluster, and its text says so; of those only
the tools and flags are checked.
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / 'README.md', ROOT / 'README_zh-CN.md', ROOT / 'CONTRIBUTING.md']
PAGES += sorted((ROOT / 'docs').glob('*.md'))
PAGES += sorted((ROOT / 'configs').rglob('README.md'))
PAGES += sorted((ROOT / 'projects').rglob('README.md'))


def commands(page: Path, language: str) -> list[str]:
    """The commands of a page's blocks in a language, continued lines joined."""
    found = []
    for block in re.findall(rf'```(?:{language})\n(.*?)```', page.read_text(), re.S):
        for line in block.replace('\\\n', ' ').splitlines():
            command = re.sub(r'(^|\s)#.*', '', line).strip()
            if command:
                found.append(' '.join(command.split()))
    return found
