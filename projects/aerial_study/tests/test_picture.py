"""The picture of a frame: what is printed under it was computed, and its author is named."""

from __future__ import annotations

import numpy as np
import pytest

from projects.aerial_study import picture as module
from projects.aerial_study.costs import model_gmacs
from projects.aerial_study.picture import FrameDrawer
from projects.importance_study.plan import Case
from sparsevit_mm.errors import ConfigError

CASE = Case('contrast', 'contrast', 0.5)


def test_picture_says_what_is_computed_and_who_made_the_frame(run, monkeypatch):
    drawer = FrameDrawer(run, CASE)
    with pytest.raises(ConfigError, match='frame is not given'):
        drawer.clearest_frame()
    monkeypatch.setattr(module, 'LEAST_OBJECTS', 1)
    name = drawer.clearest_frame()
    prediction = drawer._predict(name)
    share = drawer.shares(name, prediction)
    image, caption = drawer.draw(name)
    assert image.dtype == np.uint8 and image.ndim == 3
    assert f'{share.objects:.0%} of the pixels of objects' in caption
    assert f'{share.all:.0%} of all pixels' in caption
    costs = [model_gmacs(run, Case('contrast', 'contrast', ratio))['model'] for ratio in (0.5, 0)]
    assert f'costs {costs[0]:.1f} GMACs on this frame, dense {costs[1]:.1f}' in caption
    assert 'Kharuzhy' in drawer.draw('0.png')[1]
    assert 'KIT AIS Data Set, CC BY 3.0' in drawer.draw('1.png')[1]
    with pytest.raises(ConfigError, match='frame is none.jpg, but must be one of 0.png, 1.png'):
        drawer.draw('none.jpg')
