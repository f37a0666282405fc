"""Commands printed in the documentation name tools and flags that exist."""

from __future__ import annotations

import re
import shlex

import pytest

from tests.helpers.pages import PAGES, ROOT, commands
from tests.tools.conftest import load_tool

SCRIPT_OF = {
    'dist_train': 'train',
    'slurm_train': 'train',
    'dist_test': 'test',
    'slurm_test': 'test',
}


def tools_and_arguments():
    for page in PAGES:
        for command in commands(page, 'bash|shell'):
            words = shlex.split(command)
            tools = [n for n, word in enumerate(words) if re.match(r'(\./)?tools/\S+\.', word)]
            if tools:
                place = tools[0]
                yield pytest.param(words[place], words[place + 1 :], id=f'{page.name}: {command}')


@pytest.mark.parametrize('tool, args', tools_and_arguments())
def test_command_names_a_tool_and_its_flags(tool, args, capsys):
    path = ROOT / tool
    assert path.is_file()
    name = str(path.relative_to(ROOT / 'tools').with_suffix(''))
    with pytest.raises(SystemExit):
        # After the first word, which may be an action with flags of its own.
        first = [word for word in args[:1] if not word.startswith('-')]
        load_tool(SCRIPT_OF.get(name, name)).main([*first, '--help'])
    usage = capsys.readouterr().out
    for flag in (word.partition('=')[0] for word in args if word.startswith('--')):
        assert re.search(rf'{flag}\b', usage), flag
