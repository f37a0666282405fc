"""Whole models as ONNX files, and dense and sparse files timed side by side."""

from __future__ import annotations

import json

import pytest
import torch

from sparsevit_mm.apis.configs import load_config, register_framework
from sparsevit_mm.checks.configs import build_model
from tests.helpers.tiny_data import DETECTOR, SEGMENTOR
from tests.tools.conftest import call_tool
from tests.tools.test_flags import MASK_DETECTOR_CHANGES

UPERNET = """
model['decode_head'] = dict(
    type='UPerHead', in_channels=[12, 24], in_index=[0, 1], channels=8, pool_scales=(1, 2),
    num_classes=3, norm_cfg=dict(type='BN'), align_corners=False,
    loss_decode=dict(type='CrossEntropyLoss'))
"""
CLASSIFIER = """
default_scope = 'mmengine'
model = dict(type='sparsevit_mm.ImageClassifier', in_channels=64, num_classes=2,
    backbone=dict(type='sparsevit_mm.FasterViT', dim=8, in_dim=8, depths=(1, 1, 1, 1)))
"""


def write(folder, text):
    path = folder / 'config.py'
    path.write_text(text)
    return path


def weights_of(config, folder):
    cfg = load_config(str(config))
    register_framework(cfg)
    torch.manual_seed(1)
    model = build_model(cfg).eval()
    torch.save({'state_dict': model.state_dict()}, folder / 'weights.pth')
    return model, folder / 'weights.pth'


def run_file(path, images):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    return [torch.from_numpy(output) for output in session.run(None, {'images': images.numpy()})]


@torch.no_grad()
def test_upernet_from_checkpoint_to_label_map(tmp_path, onnx, capsys):
    config = write(tmp_path, SEGMENTOR + UPERNET)
    model, weights = weights_of(config, tmp_path)
    out = tmp_path / 'out' / 'upernet.onnx'
    call_tool('export_onnx', config, weights, '--shape', 60, 84, '--part', 'model', '--out', out)
    assert '1×3×60×84 to 1×3×60×84' in capsys.readouterr().out
    images = torch.randn(1, 3, 60, 84)
    (logits,) = run_file(out, images)
    meta = dict(img_shape=(60, 84), ori_shape=(60, 84), pad_shape=(60, 84), padding_size=[0] * 4)
    expected = model.inference(images, [meta])
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=0)
    assert torch.equal(logits.argmax(1), expected.argmax(1))


@torch.no_grad()
@pytest.mark.parametrize('kind', ['RetinaNet', 'Mask R-CNN'])
def test_detectors_up_to_their_dense_head(kind, tmp_path, onnx):
    config = write(tmp_path, DETECTOR + (MASK_DETECTOR_CHANGES if kind == 'Mask R-CNN' else ''))
    model, weights = weights_of(config, tmp_path)
    out = tmp_path / 'detector.onnx'
    call_tool(
        'export_onnx', config, weights, '--shape', 60, 84, '--part', 'model', '--out', out,
        '--ratios', 0.6,
    )  # fmt: skip
    model.backbone.pruning_schedule = 0.6
    images = torch.randn(1, 3, 60, 84)
    features = model.extract_feat(images)
    if kind == 'Mask R-CNN':
        scores, boxes = model.rpn_head(features)
        expected = [*features, *scores, *boxes]
    else:
        expected = [tensor for level in model.bbox_head(features) for tensor in level]
    for found, wanted in zip(run_file(out, images), expected, strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)


def test_classifier_and_torch_export(tmp_path, onnx):
    config = write(tmp_path, CLASSIFIER)
    for name in ('model.onnx', 'model.pt2'):
        call_tool(
            'export_onnx', config, '--shape', 64, 96, '--part', 'model', '--dynamic-batch',
            '--out', tmp_path / name,
        )  # fmt: skip
    (scores,) = run_file(tmp_path / 'model.onnx', torch.zeros(3, 3, 64, 96))
    program = torch.export.load(tmp_path / 'model.pt2').module()
    torch.testing.assert_close(program(torch.zeros(3, 3, 64, 96)), scores, atol=1e-4, rtol=0)


def test_benchmark_compares_schedules(tmp_path, onnx, capsys):
    config = write(tmp_path, DETECTOR)
    call_tool(
        'benchmark_onnx', config, '--shape', 60, 84, '--ratios', '[[0.5], [0.8]]',
        '--part', 'backbone', '--runs', 3, '--with-torch', '--out', tmp_path / 'times.json',
    )  # fmt: skip
    times = json.loads((tmp_path / 'times.json').read_text())['milliseconds']
    names = ['dense', '[[0.5], [0.8]]']
    of = ('torch', 'onnxruntime')
    assert list(times) == [f'{name}, {what}' for name in names for what in of]
    assert {len(runs) for runs in times.values()} == {3}
    assert 'dense, onnxruntime: ' in capsys.readouterr().out


@pytest.mark.parametrize(
    'flags, message',
    [
        (['--out', 'model.tflite'], 'out is model.tflite'),
        (['--out', 'model.pt2', '--part', 'head'], "part is 'head'"),
        (['--out', 'model.pt2', '--part', 'predictions'], 'part is predictions, but only ONNX'),
        (['--out', 'model.pt2', '--input', 'uint16'], "input is 'uint16'"),
        (['--out', 'model.pt2', '--dynamic-size'], 'dynamic_size is asked for SparseViT'),
        (
            ['--out', 'model.onnx', '--dynamic-size', '--part', 'predictions'],
            'dynamic_size is asked for predictions, but where anchors lie',
        ),
        (['--out', 'model.pt2', '--batch', '0'], 'the input is 0 x'),
    ],
)
def test_refuses(flags, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    config = write(tmp_path, DETECTOR)
    with pytest.raises(SystemExit) as end:
        call_tool('export_onnx', config, '--shape', 60, 84, *flags)
    assert end.value.code == 1
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ['config.py']


def test_says_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr('sparsevit_mm.deployment.onnx_file.find_spec', lambda name: None)
    with pytest.raises(SystemExit):
        call_tool('export_onnx', write(tmp_path, DETECTOR), '--shape', 60, 84)
    assert 'onnx is not installed, but ONNX files need it: pip install onnx==' in (
        capsys.readouterr().err
    )


def test_refuses_the_checkpoint_of_another_config(tmp_path, onnx, capsys):
    _, weights = weights_of(write(tmp_path, SEGMENTOR), tmp_path)
    config = write(tmp_path, DETECTOR)
    with pytest.raises(SystemExit) as end:
        call_tool(
            'export_onnx', config, weights, '--shape', 60, 84, '--part', 'predictions',
            '--out', tmp_path / 'model.onnx',
        )  # fmt: skip
    assert end.value.code == 1
    (sentence,) = capsys.readouterr().err.strip().splitlines()
    assert str(weights) in sentence and not (tmp_path / 'model.onnx').exists()
