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


def arguments_of(name, words):
    """What a tool reads from a command line."""
    return load_tool(name).parse_args(list(map(str, words)))


def test_weights_are_a_positional_or_a_flag():
    for words in (
        ['a.jpg', 'c.py', 'w.pth'],
        ['a.jpg', 'c.py', '--weights', 'w.pth'],
        ['--weights', 'w.pth', 'a.jpg', 'c.py'],
        ['a.jpg', '--ratios', '0.5', 'c.py', '--weights=w.pth'],
    ):
        assert arguments_of('image_demo', words).checkpoint == 'w.pth', words
    assert arguments_of('image_demo', ['a.jpg', 'c.py']).checkpoint is None
    for words in (
        ['c.py', '--tta', 'w.pth'],
        ['c.py', '--weights', 'w.pth'],
        ['--weights', 'w.pth', 'c.py'],
    ):
        assert arguments_of('test', words).checkpoint == 'w.pth', words


@pytest.mark.parametrize(
    'name, words, error',
    [
        ('test', ['c.py'], 'the following arguments are required: checkpoint'),
        ('test', ['c.py', 'a.pth', '--weights', 'b.pth'], 'the checkpoint is given twice'),
        ('test', ['--weights', 'b.pth', 'c.py', 'a.pth'], 'the checkpoint is given twice'),
    ],
)
def test_weights_are_given_once(name, words, error, capsys):
    with pytest.raises(SystemExit):
        arguments_of(name, words)
    assert error in capsys.readouterr().err


@pytest.mark.parametrize('name', TOOLS)
def test_help_offers_weights_beside_a_checkpoint(name, monkeypatch, capsys):
    with pytest.raises(SystemExit):
        load_tool(name).main(['--help'])
    words = [word.strip('[]') for word in capsys.readouterr().out.split('\n\n')[0].split()]
    assert ('checkpoint' in words) == ('--weights' in words)


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
