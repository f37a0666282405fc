"""The configs that the page on swaps shows are what its commands write, but for line breaks."""

from __future__ import annotations

import re
import shlex
import sys

import pytest

from tests.helpers.commands import output_of
from tests.helpers.pages import ROOT
from tests.tools.conftest import call_tool

EXAMPLE = re.compile(
    r'```bash\n(python tools/swap_backbone\.py [^`]*?)```\n\nBefore: [^`]*`[^`]*`\. After:\n\n'
    r'```python\n(.*?)```',
    re.S,
)
EXAMPLES = EXAMPLE.findall((ROOT / 'docs' / 'swap.md').read_text())


def formatted(text):
    """A config with line breaks as in this project."""
    command = [sys.executable, '-m', 'ruff', 'format', '-q', '--stdin-filename', 'config.py', '-']
    return output_of(command, input=text, cwd=ROOT)


def test_every_example_is_found():
    assert len(EXAMPLES) == (ROOT / 'docs' / 'swap.md').read_text().count(' After:\n')


@pytest.mark.parametrize('command, shown', EXAMPLES)
def test_a_shown_config_is_what_the_tool_writes(command, shown, tmp_path):
    args = shlex.split(command.replace('\\\n', ' '))[2:]
    call_tool('swap_backbone', *args, '--out', tmp_path / 'new.py')
    assert formatted((tmp_path / 'new.py').read_text()) == formatted(shown)
