"""A latency table as data: sums, interpolation, files."""

from __future__ import annotations

import dataclasses

import pytest

from sparsevit_mm.errors import ConfigError
from sparsevit_mm.pruning.schedule import PruningSchedule
from sparsevit_mm.search.latency_table import LatencyConditions, LatencyTable, TableCheck
from sparsevit_mm.search.space import SearchSpace

CONDITIONS = LatencyConditions('a GPU', 1, 'float16', 4, 672, 672, None, 'tiny', {'torch': '2.13'})


def table(**changes):
    entries = {10: 4.0, 5: 3.0, 2: 1.0}
    settings = dict(
        constant=0.5,
        num_windows=(10, 10),
        blocks=[[entries, entries], [{10: 8.0, 5: 6.0, 2: 5.0}]],
        conditions=CONDITIONS,
    )
    return LatencyTable(**{**settings, **changes})


def test_a_schedule_costs_the_sum_of_its_entries():
    assert table().price(PruningSchedule(((0.0, 0.5), (0.75,)))) == pytest.approx(0.5 + 4 + 3 + 5)
    # int(10 * (1 - 0.8)) is 1 in floating point, below what was measured: the line goes on.
    assert table().block_cost(0, 0, 1) == pytest.approx(1 - 2 / 3)
    assert table().block_cost(0, 0, 7) == pytest.approx(3.4)
    assert table(blocks=[[{4: 2.0}], [{4: 2.0}]]).block_cost(0, 0, 9) == 2.0


def test_a_file_holds_everything(tmp_path):
    check = TableCheck((3.0, 5.0), (3.3, 5.0), (0.01, 0.02))
    table(check=check).save(tmp_path / 'table.json')
    again = LatencyTable.load(tmp_path / 'table.json')
    assert again.to_dict() == table(check=check).to_dict()
    assert again.check == check
    assert again.conditions == CONDITIONS
    assert LatencyTable.from_dict(table().to_dict()).check is None


def test_check_is_told_with_the_noise():
    text = str(TableCheck((3.0, 5.0, 9.9), (3.3, 5.0, 9.0), (0.01, 0.02, 0.03)))
    assert '3 schedules' in text
    assert 'error median 9.1%, 95th percentile 10.0%' in text
    assert 'noise of this machine median 2.0%, 95th percentile 3.0%' in text


@pytest.mark.parametrize('text', ['', '{}', '[1]', '{"format": 1, "check": null}'])
def test_other_files_are_one_sentence(tmp_path, text):
    (tmp_path / 'table.json').write_text(text)
    with pytest.raises(ConfigError, match='the latency table .* cannot be read'):
        LatencyTable.load(tmp_path / 'table.json')
    with pytest.raises(ConfigError, match='No such file'):
        LatencyTable.load(tmp_path / 'none.json')


def test_the_time_of_a_ranking_is_added_once_a_stage(tmp_path):
    ranked = table(rankings={'contrast': [0.25, 2.0]})
    ratios = ((0.0, 0.5), (0.0,))
    prices = {
        name: ranked.price(PruningSchedule(ratios, importance=name))
        for name in (None, 'l2', 'contrast')
    }
    assert prices[None] == prices['l2'] == table().price(PruningSchedule(ratios))
    assert prices['contrast'] == pytest.approx(prices['l2'] + 0.25)
    assert ranked.lacks([None, 'l2', 'contrast', 'peak']) == ['peak']
    ranked.save(tmp_path / 'table.json')
    assert LatencyTable.load(tmp_path / 'table.json').rankings == ranked.rankings


def test_a_table_of_another_ranking_differs():
    other = dataclasses.replace(CONDITIONS, importance='contrast')
    assert table().differences(other) == 'its importance is l2 instead of contrast'


def test_scales_have_tables_and_proposals_a_time_of_their_own(tmp_path):
    smaller = table(constant=0.25, blocks=[[{10: 2.0}, {10: 2.0}], [{10: 3.0}]])
    smaller.proposals = {300: -1.0, 1000: 0.0}
    both = table(proposals={300: -4.0, 1000: 0.0}, scaled={0.7: smaller})
    ratios = ((0.0, 0.0), (0.0,))
    prices = {
        (scale, number): both.price(PruningSchedule(ratios, scale=scale, proposals=number))
        for scale in (0.7, 1.0)
        for number in (None, 300)
    }
    assert prices == pytest.approx(
        {(1.0, None): 16.5, (1.0, 300): 12.5, (0.7, None): 7.25, (0.7, 300): 6.25}
    )
    space = SearchSpace((2, 1), (0.0,), scales=(0.7, 1.0), proposals=(300, 1000))
    assert both.reachable(space) == pytest.approx((6.25, 16.5))
    assert both.lacks([None], [300, 500]) == ['500 proposals']
    both.save(tmp_path / 'table.json')
    again = LatencyTable.load(tmp_path / 'table.json')
    assert again.to_dict() == both.to_dict()
    assert again.scaled[0.7].price(PruningSchedule(ratios)) == pytest.approx(7.25)
    with pytest.raises(KeyError):
        both.price(PruningSchedule(ratios, scale=0.9))
