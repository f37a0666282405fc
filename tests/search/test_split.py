"""The held-out part: by image, seeded, the same for whoever asks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsevit_mm.errors import ConfigError
from sparsevit_mm.search.split import SplitSettings, choose_images, is_held_out

NAMES = [f'{number:06d}.jpg' for number in range(2000)]


@given(st.permutations(NAMES[:60]), st.integers(0, 60), st.integers(0, 5))
def test_membership_ignores_order_and_neighbors(names, dropped, seed):
    settings = SplitSettings(share=0.5, seed=seed)
    found = {NAMES[:60][n] for n in choose_images(NAMES[:60], settings)}
    rest = names[dropped:]
    expected = found & set(rest)
    if expected:
        assert {rest[n] for n in choose_images(rest, settings)} == expected
    assert expected == {name for name in rest if is_held_out(name, 0.5, seed)}


def test_share_and_seed():
    assert 150 < len(choose_images(NAMES, SplitSettings(share=0.1))) < 250
    one, two = (set(choose_images(NAMES, SplitSettings(seed=seed))) for seed in (1, 2))
    assert len(one & two) < 0.3 * len(one)


def test_fewer_images_are_a_subset():
    few, more = (choose_images(NAMES, SplitSettings(images=n)) for n in (20, 50))
    assert (len(few), len(more)) == (20, 50)
    assert set(few) < set(more)
    assert few == sorted(few)
    assert choose_images(NAMES, SplitSettings(part='val')) == list(range(2000))


def test_empty_split_is_one_sentence():
    with pytest.raises(ConfigError, match='none of the 3 images falls into the held-out part'):
        choose_images(['a', 'b', 'c'], SplitSettings(share=1e-6))


@pytest.mark.parametrize('wrong', [dict(part='test'), dict(share=0), dict(share=1), dict(images=0)])
def test_wrong_settings_are_one_sentence(wrong):
    with pytest.raises(ConfigError, match=f'split.{next(iter(wrong))} is') as error:
        SplitSettings(**wrong)
    assert '\n' not in str(error.value)
