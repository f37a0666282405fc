"""Commands printed in the documentation name tools and flags that exist."""

from __future__ import annotations

import re
import shlex

import pytest

from tests.tools.conftest import ROOT, load_tool

PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md'))]
PAGES += sorted((ROOT / 'configs').rglob('README.md'))
SCRIPT_OF = {
    'dist_train': 'train',
    'slurm_train': 'train',
    'dist_test': 'test',
    'slurm_test': 'test',
}


def commands():
    for page in PAGES:
        for block in re.findall(r'```(?:bash|shell)\n(.*?)```', page.read_text(), re.S):
            for line in block.replace('\\\n', ' ').splitlines():
                words = shlex.split(line, comments=True)
                tools = [n for n, word in enumerate(words) if re.match(r'(\./)?tools/\S+\.', word)]
                if tools:
                    place = tools[0]
                    yield pytest.param(words[place], words[place + 1 :], id=f'{page.name}: {line}')


@pytest.mark.parametrize('tool, args', commands())
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
