"""`--help` of every tool tells the default of every option that has one."""

from __future__ import annotations

import argparse

import pytest

from tests.tools.conftest import ROOT, load_tool

TOOLS = [
    path.relative_to(ROOT / 'tools').with_suffix('').as_posix()
    for path in sorted((ROOT / 'tools').rglob('*.py'))
    if not path.name.startswith('_')
]


def parsers_below(parser):
    """A parser and those of its subcommands."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from parsers_below(inner)


@pytest.mark.parametrize('name', TOOLS)
def test_help_tells_defaults(name, monkeypatch, capsys):
    shown = []
    print_help = argparse.ArgumentParser.print_help

    def spy(parser, file=None):
        shown.append(parser)
        print_help(parser, file)

    monkeypatch.setattr(argparse.ArgumentParser, 'print_help', spy)
    monkeypatch.setenv('COLUMNS', '1000')
    with pytest.raises(SystemExit) as end:
        load_tool(name).main(['--help'])
    assert end.value.code == 0
    assert capsys.readouterr().out == shown[0].format_help()
    for parser in parsers_below(shown[0]):
        lines = parser.format_help().splitlines()
        for action in parser._actions:
            default = action.default
            nothing = default in (None, argparse.SUPPRESS, {}, [], ()) or isinstance(default, bool)
            if nothing or not action.option_strings:
                continue
            start = next(
                n for n, line in enumerate(lines)
                if line.startswith('  ') and action.option_strings[0] in line.split('  ')[1]
            )  # fmt: skip
            text = ' '.join(lines[start : start + 2])  # long flags have a line of their own
            assert 'default' in text, action.option_strings
