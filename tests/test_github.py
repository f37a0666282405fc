"""Workflows and forms are whole: what they run exists here, and they cover what is supported."""

from __future__ import annotations

import re

import pytest
import yaml

from sparsevit_mm.versions import PYTHON
from tests.tools.conftest import ROOT

FOLDER = ROOT / '.github'
WORKFLOWS = sorted((FOLDER / 'workflows').glob('*.yml'))
FORMS = [path for path in (FOLDER / 'ISSUE_TEMPLATE').glob('*.yml') if path.stem != 'config']


def steps(workflow):
    for job in workflow['jobs'].values():
        assert job['timeout-minutes'] <= 360 if 'timeout-minutes' in job else len(job['steps']) <= 2
        yield from job['steps']


@pytest.mark.parametrize('path', WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_run_what_is_here(path):
    workflow = yaml.safe_load(path.read_text())
    targets = re.findall(r'^([a-z-]+):', (ROOT / 'Makefile').read_text(), re.M)
    assert workflow['permissions'] and workflow[True]  # `on` is a boolean in YAML 1.1
    for step in steps(workflow):
        command = step.get('run', '')
        if command.startswith('make '):
            assert command.split()[1] in targets
        uses = step.get('uses', '')
        if uses.startswith('./'):
            assert (ROOT / uses / 'action.yml').is_file()
        elif uses:
            assert re.fullmatch(r'[\w-]+/[\w-]+@(v\d+|release/v\d+)', uses)


def test_every_supported_python_is_tested():
    matrix = yaml.safe_load((FOLDER / 'workflows/tests.yml').read_text())['jobs']['test']
    first, last = PYTHON
    supported = [f'3.{minor}' for minor in range(first[1], last[1] + 1)]
    assert matrix['strategy']['matrix']['python'] == supported


def test_the_cached_folder_is_where_built_wheels_are_kept():
    action = (FOLDER / 'actions/set-up/action.yml').read_text()
    assert 'path: ~/.cache/sparsevit_mm/wheels' in action
    assert "base / 'sparsevit_mm' / 'wheels'" in (ROOT / 'tools/set_up.py').read_text()


@pytest.mark.parametrize('path', FORMS, ids=lambda path: path.stem)
def test_forms_are_as_github_wants_them(path):
    form = yaml.safe_load(path.read_text())
    assert form['name'] and form['description'] and form['body']
    names = [part['id'] for part in form['body'] if part['type'] != 'markdown']
    assert len(names) == len(set(names))
    for part in form['body']:
        assert part['type'] in ('textarea', 'checkboxes', 'markdown', 'input', 'dropdown')
        assert part['attributes'].get('label') or part['type'] == 'markdown'
    for tool in re.findall(r'tools/\w+\.py', path.read_text()):
        assert (ROOT / tool).is_file()


def test_the_image_copies_nothing_that_is_made_here():
    ignored = (ROOT / '.dockerignore').read_text().split()
    assert {'.git', '.venv', 'work_dirs', 'data'} <= set(ignored)
    assert 'COPY . .' in (ROOT / 'docker/Dockerfile').read_text()
