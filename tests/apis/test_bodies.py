"""The body of `tools/X.py` is `apis/X.py`, and importing the package loads none of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

# Their bodies are in a project, or one call.
ELSEWHERE = {'demo', 'make_demo_data', 'make_kitti_infos', 'paper_tables', 'recipe', 'set_up'}


def test_every_tool_has_its_module():
    tools = {path.stem for path in (ROOT / 'tools').glob('[a-z]*.py')}
    bodies = {path.stem for path in (ROOT / 'sparsevit_mm' / 'apis').glob('[a-z]*.py')}
    assert tools >= ELSEWHERE
    assert tools - ELSEWHERE <= bodies


def test_importing_the_package_loads_neither_search_nor_plots():
    code = 'import sys, sparsevit_mm; print(*(name for name in sys.modules))'
    run = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True)
    loaded = set(run.stdout.split())
    assert 'sparsevit_mm.engine.hooks' in loaded
    for package in ('apis', 'search', 'profiling', 'visualization', 'swap', 'det3d'):
        assert f'sparsevit_mm.{package}' not in loaded
    assert 'matplotlib' not in loaded
