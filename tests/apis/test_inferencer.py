"""Configs of the package become inferencers by their names."""

from __future__ import annotations

import numpy as np
import pytest

from sparsevit_mm.apis.inferencer import build_inferencer, list_configs
from sparsevit_mm.errors import ConfigError


def test_names_and_an_inferencer():
    name = 'mask-rcnn_sparsevit-mini_fpn_adaptation_demo-224x448'
    assert name in list_configs('mask-rcnn')
    inferencer = build_inferencer(f'sparsevit_mm::{name}', device='cpu')
    found = inferencer(np.zeros((224, 448, 3), dtype=np.uint8), no_save_pred=True)
    assert set(found['predictions'][0]) >= {'bboxes', 'scores', 'labels', 'masks'}


def test_an_unknown_name_is_one_sentence():
    with pytest.raises(ConfigError, match='not in the package; near are mask-rcnn_'):
        build_inferencer('mask-rcnn_swin-t')
    with pytest.raises(ConfigError, match=r'list_configs\(\) names all'):
        build_inferencer('yolo_v99')
