"""tools/search.py with scales and proposals: the config it writes runs in the other tools."""

from __future__ import annotations

import json

import cv2
import pytest
import torch
from mmengine.config import Config

from sparsevit_mm.apis.configs import load_config, register_framework
from sparsevit_mm.apis.inference import ImagePredictor
from sparsevit_mm.checks.configs import build_model
from sparsevit_mm.pruning.schedule import PruningSchedule
from tests.tools.conftest import call_tool

TWO_STAGES = """
_base_ = 'DETECTOR'
rpn = dict(nms_pre=100, max_per_img=60, nms=dict(type='nms', iou_threshold=0.7), min_bbox_size=0)
model = dict(
    _delete_=True,
    type='FasterRCNN',
    data_preprocessor=_base_.model.data_preprocessor,
    backbone=_base_.model.backbone,
    neck=_base_.model.neck,
    rpn_head=dict(
        type='RPNHead', in_channels=16, feat_channels=16,
        anchor_generator=dict(type='AnchorGenerator', scales=[4], ratios=[1.0], strides=[4, 8])),
    roi_head=dict(
        type='StandardRoIHead',
        bbox_roi_extractor=dict(
            type='SingleRoIExtractor', out_channels=16, featmap_strides=[4, 8],
            roi_layer=dict(type='RoIAlign', output_size=3, sampling_ratio=0)),
        bbox_head=dict(
            type='Shared2FCBBoxHead', in_channels=16, fc_out_channels=16, roi_feat_size=3,
            num_classes=2)),
    train_cfg=None,
    test_cfg=dict(
        rpn=rpn,
        rcnn=dict(score_thr=0.0, nms=dict(type='nms', iou_threshold=0.5), max_per_img=10)))
"""
FEW = ['--metric', 'coco/bbox_mAP', '--split', 'val', '--images', '4']
FEW += ['--population', '4', '--parents', '2', '--evaluations', '5']


@pytest.fixture(scope='module')
def two_stages(tiny, tmp_path_factory):
    """A config of a two-stage detector and a file of random weights for it."""
    folder = tmp_path_factory.mktemp('two_stages')
    config = folder / 'two_stages.py'
    config.write_text(TWO_STAGES.replace('DETECTOR', str(tiny.detector)))
    cfg = load_config(str(config))
    register_framework(cfg)
    torch.manual_seed(0)
    weights = folder / 'weights.pth'
    torch.save({'state_dict': build_model(cfg).state_dict()}, weights)
    return config, weights


@pytest.fixture(scope='module')
def searched(two_stages, tmp_path_factory):
    """The work dir of a search with one input scale, so that it is the one that was found."""
    work_dir = tmp_path_factory.mktemp('searched')
    call_tool(
        'search', *two_stages, '--macs', '0.95x', '--scales', '0.6667', '--proposals', '20', '40',
        '--work-dir', work_dir, *FEW,
    )  # fmt: skip
    return work_dir


def test_the_searched_config_holds_all_that_was_found(two_stages, searched):
    schedule = PruningSchedule.load(searched / 'schedule.json')
    assert schedule.scale == 0.6667 and schedule.proposals in (20, 40)
    cfg, original = Config.fromfile(searched / 'searched.py'), Config.fromfile(two_stages[0])
    assert cfg.model.backbone.pruning_ratios == [list(stage) for stage in schedule.ratios]
    assert cfg.model.test_cfg.rpn.max_per_img == schedule.proposals
    assert cfg.input_scale == 0.6667
    sizes = {
        name: cfg[f'{name}_dataloader'].dataset.pipeline[2].scale
        for name in ('train', 'val', 'test')
    }
    assert sizes == {'train': (84, 60), 'val': (56, 40), 'test': (56, 40)}
    assert cfg.test_cfg == dict(type='TestLoop', fp16=False)
    assert {key: value for key, value in cfg.items() if key in ('train_cfg', 'optim_wrapper')} == {
        'train_cfg': original.train_cfg, 'optim_wrapper': original.optim_wrapper,
    }  # fmt: skip
    assert not [hook for hook in cfg.custom_hooks if 'Pruning' in hook.type]
    costs = json.loads((searched / 'schedule.json').read_text())['cost']
    assert costs['predicted'] <= 0.95 * costs['dense']


def metrics_of(work_dir):
    (path,) = work_dir.glob('*/*.json')
    return json.loads(path.read_text())


def test_config_and_schedule_run_alike(tiny, two_stages, searched, tmp_path):
    config, weights = two_stages
    schedule = searched / 'schedule.json'
    runs = {
        'whole config': [searched / 'searched.py', weights],
        'schedule': [config, weights, '--schedule', schedule],
        'both': [searched / 'searched.py', weights, '--schedule', schedule],
    }
    found = []
    for name, arguments in runs.items():
        call_tool('test', *arguments, '--work-dir', tmp_path / name)
        metrics = metrics_of(tmp_path / name)
        found.append({key: value for key, value in metrics.items() if 'time' not in key})
    assert found[0] == found[1] == found[2]
    image = tiny.data / 'images' / '0.png'
    seen = []
    for one, wanted in ((searched / 'searched.py', None), (config, PruningSchedule.load(schedule))):
        predictor = ImagePredictor(str(one), str(weights), 'cpu', wanted)
        prediction = predictor.predict(predictor.read(image), str(image))
        assert prediction.sample.img_shape == (40, 56)
        assert cv2.imread(str(image)).shape[:2] == prediction.sample.ori_shape
        seen.append(prediction.sample.pred_instances.bboxes)
    torch.testing.assert_close(*seen, rtol=0, atol=0)
    call_tool('image_demo', image, searched / 'searched.py', weights, '--out-dir', tmp_path)
    assert (tmp_path / 'predictions' / '0.png').exists()


@pytest.mark.parametrize(
    'options, message',
    [
        (['--scales', '0.7'], 'both sides must be multiples of 4, as the model needs them: take'),
        (['--scales', '0'], 'the input scale is 0.0, but must be above 0'),
        (['--proposals', '0'], 'proposals is 0, but must be a positive whole number'),
    ],
)
def test_wrong_scales_and_proposals_are_one_sentence(
    options, message, two_stages, tmp_path, capsys
):
    with pytest.raises(SystemExit):
        call_tool(
            'search', *two_stages, '--macs', '1x', *FEW, *options, '--work-dir', tmp_path
        )  # fmt: skip
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith('error: ') and message in error, error
    assert not list(tmp_path.rglob('candidates.jsonl'))


def test_proposals_of_a_one_stage_detector_are_one_sentence(tiny, trained, tmp_path, capsys):
    with pytest.raises(SystemExit):
        call_tool(
            'search', tiny.detector, trained / 'epoch_3.pth', '--macs', '1x', *FEW, '--proposals',
            '300', '--work-dir', tmp_path,
        )  # fmt: skip
    error = capsys.readouterr().err
    assert 'proposals is 300, but must be left out: the model RetinaNet has no RPN' in error


def test_sparsify_takes_ratios_alone(two_stages, searched, tmp_path, capsys):
    with pytest.raises(SystemExit):
        call_tool(
            'sparsify', *two_stages, '--schedule', searched / 'schedule.json', '--out-dir', tmp_path
        )
    assert 'at 0.6667x with' in capsys.readouterr().err


def test_ratios_of_neck_and_head_are_searched_too(tiny, trained, tmp_path):
    config = tmp_path / 'sparse_heads.py'
    config.write_text(
        f'_base_ = {str(tiny.detector)!r}\n'
        "model = dict(type='sparsevit_mm.SparseHeads', of='RetinaNet')\n"
    )
    weights, out = trained / 'epoch_3.pth', tmp_path / 'search'
    options = ['test_cfg.type=sparsevit_mm.ScheduleSearchLoop', 'test_cfg.choices=[0.5,0.8]']
    call_tool(
        'search', config, weights, '--macs', '9x', *FEW, '--work-dir', out, '--cfg-options',
        *options,
    )  # fmt: skip
    result = json.loads((out / 'schedule.json').read_text())
    # Whatever is drawn, neck and head skip windows: 0 is no choice.
    assert result['head_ratios'] and set(result['head_ratios']) <= {0.5, 0.8}
    assert result['cost']['predicted'] == pytest.approx(result['cost']['measured'], rel=1e-6)
    cfg = Config.fromfile(out / 'searched.py')
    assert cfg.model.head_ratios == result['head_ratios']
    call_tool('test', out / 'searched.py', weights, '--work-dir', tmp_path / 'test')
    seen = []
    for one, wanted in (
        (out / 'searched.py', None),
        (config, PruningSchedule.load(out / 'schedule.json')),
    ):
        predictor = ImagePredictor(str(one), str(weights), 'cpu', wanted)
        image = tiny.data / 'images' / '0.png'
        sample = predictor.predict(predictor.read(image), str(image)).sample
        seen.append(sample.pred_instances.bboxes)
    torch.testing.assert_close(*seen, rtol=0, atol=0)
    of_backbone = tmp_path / 'backbone'
    call_tool(
        'search', config, weights, '--macs', '9x', '--of', 'backbone', *FEW, '--work-dir',
        of_backbone, '--cfg-options', *options,
    )  # fmt: skip
    assert 'head_ratios' not in json.loads((of_backbone / 'schedule.json').read_text())
