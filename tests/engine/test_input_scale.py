"""An input scale and a number of proposals in configs."""

from __future__ import annotations

import pytest
from mmengine.config import Config

from sparsevit_mm.engine.input_scale import apply_to_config, scaled_pipeline, size_divisor
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.pruning.schedule import PruningSchedule

EXACT = [dict(type='LoadImageFromFile'), dict(type='mmdet.Resize', scale=(672, 448))]


def test_every_way_to_resize_is_scaled():
    steps = [
        *EXACT,
        dict(type='Resize', scale=(1333, 800), keep_ratio=True),
        dict(type='Resize', scale=100),
        dict(type='Resize', scale_factor=0.5),
        dict(type='Resize', scale_factor=(0.5, 1.0)),
        dict(type='FixShapeResize', width=64, height=32, keep_ratio=True),
        dict(type='Pad', size=(640, 480)),
    ]
    found = scaled_pipeline(steps, 0.5, 16, 'pipeline')
    assert [step.get('scale') for step in found[:4]] == [None, (336, 224), (666, 400), (50, 50)]
    assert [step['scale_factor'] for step in found[4:6]] == [0.25, (0.25, 0.5)]
    assert (found[6]['width'], found[6]['height']) == (32, 16)
    assert found[7]['size'] == (320, 240)
    assert steps[1]['scale'] == (672, 448), 'the original stays'


def test_a_scale_that_the_divisor_forbids_is_one_sentence():
    assert scaled_pipeline(EXACT, 0.857, 32, 'pipeline')[1]['scale'] == (576, 384)
    with pytest.raises(ConfigError) as error:
        scaled_pipeline(EXACT, 0.7, 32, 'pipeline')
    assert str(error.value) == (
        'the input scale is 0.7, which makes images of 672 x 448 pixels (width, height) 470 x 314, '
        'but both sides must be multiples of 32, as the model needs them: take 0.5714, 0.7143.'
    )
    for allowed in (0.5714, 0.7143):
        scaled_pipeline(EXACT, allowed, 32, 'pipeline')
    # What needs padding anyway, and what keeps the ratio of sides, is padded at any scale.
    odd = [dict(type='Resize', scale=(670, 450))]
    assert scaled_pipeline(odd, 0.7, 32, 'pipeline')[0]['scale'] == (469, 315)
    bounds = [dict(type='Resize', scale=(672, 448), keep_ratio=True)]
    assert scaled_pipeline(bounds, 0.7, 32, 'pipeline')[0]['scale'] == (470, 314)


@pytest.mark.parametrize(
    'steps, scale, message',
    [
        ([dict(type='LoadImageFromFile')], 0.5, 'no step of pipeline is a Resize to a size'),
        ([dict(type='Resize', scale=(64, 64))], 0.1, 'both sides must be at least 32'),
    ],
)
def test_images_that_cannot_be_scaled_are_one_sentence(steps, scale, message):
    with pytest.raises(ConfigError, match=message) as error:
        scaled_pipeline(steps, scale, 32, 'pipeline')
    assert '\n' not in str(error.value)


def config(**model):
    loader = dict(dataset=dict(type='RepeatDataset', dataset=dict(data_root='x', pipeline=EXACT)))
    return Config(
        dict(
            model=dict(type='FasterRCNN', **model),
            train_dataloader=loader,
            val_dataloader=loader,
            test_dataloader=loader,
        )
    )


def sizes(cfg):
    loaders = (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader)
    return [loader.dataset.dataset.pipeline[1].scale for loader in loaders]


def test_a_schedule_is_applied_to_a_config_once():
    cfg = config(test_cfg=dict(rpn=dict(nms_pre=1000, max_per_img=1000)))
    schedule = PruningSchedule(((0.5,),), scale=0.5, proposals=300)
    for _ in range(2):
        apply_to_config(cfg, schedule)
        assert sizes(cfg) == [(672, 448), (336, 224), (336, 224)]
        assert cfg.model.test_cfg.rpn == dict(nms_pre=1000, max_per_img=300)
        assert cfg.input_scale == 0.5
    apply_to_config(cfg, [[0.5]])
    assert sizes(cfg)[1] == (336, 224)
    with pytest.raises(ConfigError, match='proposals is 300, but must be left out: .* FasterRCNN'):
        apply_to_config(config(), PruningSchedule(((0.5,),), proposals=300))


@pytest.mark.parametrize(
    'model, divisor',
    [
        (dict(), 1),
        (dict(data_preprocessor=dict(pad_size_divisor=32)), 32),
        (dict(data_preprocessor=dict(size=(8, 8), test_cfg=dict(size_divisor=16))), 16),
    ],
)
def test_the_divisor_is_that_of_the_preprocessor(model, divisor):
    assert size_divisor(config(**model)) == divisor
