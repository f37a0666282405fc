"""A trained detector in a file: the config's metric of it, and of its int8 copies."""

from __future__ import annotations

from collections import Counter
from importlib.util import find_spec

import pytest

from sparsevit_mm.errors import ConfigError
from tests.tools.conftest import call_tool

RUNTIMES = {'onnxruntime': 'int8.onnx', 'openvino': 'int8.xml'}


@pytest.fixture(scope='module')
def file(tiny, trained, tmp_path_factory, onnx):
    path = tmp_path_factory.mktemp('file') / 'detector.onnx'
    call_tool(
        'export_onnx', tiny.detector, trained / 'epoch_3.pth', '--shape', 60, 84, '--out', path
    )  # fmt: skip
    return path


def metrics_of(text):
    lines = [line.split(': ') for line in text.splitlines() if line.startswith('coco/')]
    return {name: float(value) for name, value in lines}


@pytest.mark.parametrize('runtime', RUNTIMES)
def test_files_have_the_metric_of_the_detector(runtime, tiny, trained, file, tmp_path, capsys):
    for package in ('nncf', 'openvino') if runtime == 'openvino' else ():
        if find_spec(package) is None:
            pytest.skip(f'{package} is not installed')
    from sparsevit_mm.apis.test import test as evaluate

    wanted = evaluate(str(tiny.detector), str(trained / 'epoch_3.pth'), work_dir=str(tmp_path))
    capsys.readouterr()
    call_tool('test_onnx', tiny.detector, file, '--runtime', runtime, '--threads', 1)
    found = metrics_of(capsys.readouterr().out)
    assert found['coco/bbox_mAP'] == pytest.approx(wanted['coco/bbox_mAP'], abs=1e-3)
    int8 = tmp_path / RUNTIMES[runtime]
    call_tool(
        'quantize_onnx', tiny.detector, file, '--out', int8, '--runtime', runtime, '--images', 4
    )
    call_tool('test_onnx', tiny.detector, int8, '--runtime', runtime, '--threads', 1)
    assert 'coco/bbox_mAP' in metrics_of(capsys.readouterr().out)


def test_the_ranking_stays_in_float(tiny, file, tmp_path):
    import onnx

    call_tool('quantize_onnx', tiny.detector, file, '--out', tmp_path / 'int8.onnx', '--images', 2)
    graph = onnx.load(tmp_path / 'int8.onnx').graph
    maker = {output: node for node in graph.node for output in node.output}
    operators = Counter(node.op_type for node in graph.node)
    assert operators['DequantizeLinear'] > 10
    for node in graph.node:
        if node.op_type in ('TopK', 'LayerNormalization', 'NonMaxSuppression', 'ReduceL2'):
            makers = [maker[name].op_type for name in node.input if name in maker]
            assert 'DequantizeLinear' not in makers, node.op_type


@pytest.mark.parametrize(
    'flags, message',
    [
        (['--runtime', 'tvm'], "runtime is 'tvm', but must be one of onnxruntime, openvino"),
        (['--images', 0], 'images is 0, but must be positive'),
    ],
)
def test_wrong_flags_are_one_sentence(flags, message, tiny, tmp_path, capsys):
    with pytest.raises(SystemExit):
        call_tool('quantize_onnx', tiny.detector, 'none.onnx', '--out', tmp_path / 'a.onnx', *flags)
    assert message in capsys.readouterr().err


def test_calibrates_with_training_images_alone(tiny):
    from sparsevit_mm.apis.configs import load_config, register_framework
    from sparsevit_mm.apis.test_onnx import first_training_images

    cfg = load_config(str(tiny.detector))
    register_framework(cfg)
    cfg.test_dataloader.dataset.data_prefix = dict(img='nowhere')
    paths = list(first_training_images(cfg, 3))
    assert len(paths) == 3 and all('nowhere' not in path for path in paths)
    cfg.train_dataloader = None
    with pytest.raises(ConfigError, match='train_dataloader is missing, but int8 is calibrated'):
        next(first_training_images(cfg, 3))
