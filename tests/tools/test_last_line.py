"""The last line of a tool says what it wrote, and where."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tools.conftest import call_tool

TOOLS = {
    'browse_dataset': ('{detector}', '--out-dir', '{out}/drawn', '--num', '1'),
    'get_flops': ('{detector}', '--out', '{out}/counts.json'),
    'image_demo': ('{picture}', '{detector}', '{weights}', '--out-dir', '{out}/drawn'),
    'make_demo_data': (
        '--training', '1', '--validation', '1', '--workers', '1', '--root', '{out}/data',
    ),
    'model_converters/to_mmdet': ('{weights}', '{out}/theirs.pth'),
    'print_config': ('{detector}', '--out', '{out}/whole.py'),
    'publish_model': ('{weights}', '{out}/small.pth'),
    'rank_windows': (
        '{detector}', '{weights}', '--out', '{out}/ranking.json', '--ratios', '0.5',
        '--importances', 'l2',
    ),
    'swap_backbone': ('{plain}', '--backbone', 'sparsevit-tiny', '--out', '{out}/swapped.py'),
    'test': ('{detector}', '{weights}', '--out', '{out}/predictions.pkl'),
}  # fmt: skip
"""Tools that write within seconds; training, search and files for other runtimes have own tests."""


@pytest.mark.parametrize('name', TOOLS)
def test_the_last_line_names_what_is_there(name, tiny, trained, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = dict(
        detector=tiny.detector,
        plain=tiny.plain,
        weights=trained / 'epoch_3.pth',
        picture=next((tiny.data / 'images').iterdir()),
        out=tmp_path,
    )
    call_tool(name, *(word.format(**names) for word in TOOLS[name]))
    what, _, where = capsys.readouterr().out.splitlines()[-1].partition(': ')
    assert what
    assert Path(where).exists()
    assert Path(where).resolve().is_relative_to(tmp_path)
