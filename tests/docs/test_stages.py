"""Errors, pictures, tables and pages count stages from 0."""

from __future__ import annotations

import re

import pytest

from projects.camvid_study.page import _schedules
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.pruning.schedule import PruningSchedule
from tests.helpers.pages import PAGES, ROOT

FIFTH = re.compile(r'\bstages? (\d+ (to|and) )?4\b', re.I)


def test_an_error_counts_from_0():
    with pytest.raises(ConfigError, match='pruning_ratios of stage 0 hold 2'):
        PruningSchedule(((2.0,), (0.0,)))


def test_the_table_of_searched_schedules_counts_from_0():
    head = _schedules({'variants': {}}).splitlines()[0]
    assert head == '| ratio of every pair of blocks | stage 0 | stage 1 | stage 2 | stage 3 |'


@pytest.mark.parametrize('page', PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_pages_count_from_0(page):
    """Networks have four stages: a stage 4 would be counted from 1."""
    assert not FIFTH.search(page.read_text())


def test_configs_count_from_0():
    for path in (ROOT / 'configs').rglob('*.py'):
        assert not FIFTH.search(path.read_text()), path
