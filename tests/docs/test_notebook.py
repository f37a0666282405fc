"""The notebook runs from top to bottom in a process of its own, as a kernel would run it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from tests.helpers.pages import ROOT

NOTEBOOK = ROOT / 'docs' / 'tour.ipynb'


def cells(kind):
    notebook = json.loads(NOTEBOOK.read_text())
    assert notebook['nbformat'] == 4
    return [cell for cell in notebook['cells'] if cell['cell_type'] == kind]


def test_the_notebook_runs():
    """All but what installs the package."""
    sources = [
        ''.join(cell['source'])
        for cell in cells('code')
        if 'set-up' not in cell['metadata'].get('tags', ())
    ]
    run = subprocess.run(
        [sys.executable, '-c', '\n'.join(sources)],
        env={**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'},
        cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    said = run.stdout
    assert '60% of the windows skipped' in said and '(1, 96, 56, 56)' in said


def test_it_has_no_outputs_and_links_pages_that_exist():
    assert all(cell['outputs'] == [] for cell in cells('code'))
    text = ''.join(''.join(cell['source']) for cell in cells('markdown'))
    for page in ('search.md', 'not_faster.md'):
        assert f']({page})' in text and (ROOT / 'docs' / page).is_file()
