"""A wrong or former name of one of our classes is answered with the nearest one."""

from __future__ import annotations

import pytest
from mmengine.config import Config

from sparsevit_mm.apis.configs import register_framework
from sparsevit_mm.checks.names import RENAMED, check_names
from sparsevit_mm.errors import ConfigError

SCOPES = ('mmdet', 'mmseg')


def config(kind, scope='mmdet'):
    return Config(
        dict(
            default_scope=scope,
            model=dict(type='MaskRCNN', backbone=dict(type='SparseViT'), neck=dict(type='FPN')),
            train_dataloader=dict(
                dataset=dict(type='RepeatDataset', dataset=dict(pipeline=[dict(type=kind)]))
            ),
        )
    )


@pytest.mark.parametrize('scope', SCOPES)
@pytest.mark.parametrize('kind', [
    'sparsevit_mm.SparseViT', 'sparsevit_mm.ExcludeHeldOut', 'sparsevit_mm.ScheduleSearchLoop',
    'sparsevit_mm.LoadCheckedMono3DImage', 'SwinTransformer', 'LoadImageFromFile', 'ResNet',
    'RandomResize', 'mmseg.PackSegInputs', 'BN', 'Conv2d', 'a name of nothing',
])  # fmt: skip
def test_right_names_and_those_of_others_pass(kind, scope):
    register_framework(config(kind, scope))


@pytest.mark.parametrize('scope', SCOPES)
@pytest.mark.parametrize(('kind', 'nearest'), [
    ('sparsevit_mm.SparseVit', 'SparseViT'),
    ('sparsevit_mm.SparsityAdaption', 'SparsityAdaptationHook'),
    ('sparsevit_mm.FasterVIT', 'FasterViT'),
    ('SparseVit', 'SparseViT'),
    ('WindowPruninghook', 'WindowPruningHook'),
    *((f'sparsevit_mm.{old}', new) for old, new in RENAMED.items()),
    *RENAMED.items(),
])  # fmt: skip
def test_wrong_names_are_answered_with_the_nearest(kind, nearest, scope):
    with pytest.raises(ConfigError) as error:
        register_framework(config(kind, scope))
    sentence = str(error.value)
    assert sentence.startswith(f"train_dataloader.dataset.dataset.pipeline.0.type is '{kind}', ")
    assert sentence.endswith(f"the nearest is 'sparsevit_mm.{nearest}'.")


def test_names_that_resemble_nothing_are_answered_with_all():
    with pytest.raises(ConfigError, match='must be a name of sparsevit_mm: .*FasterViT, .*SwinHAT'):
        check_names(config('sparsevit_mm.qqqqqqqqqqqq'))
