"""DINO and Mask2Former in files predict what their frameworks predict."""

from __future__ import annotations

import pytest
import torch

from sparsevit_mm.deployment.agreement import agreement
from sparsevit_mm.deployment.graph import export_graph
from sparsevit_mm.deployment.onnx_file import OnnxModel, write_onnx
from sparsevit_mm.deployment.predictions import exportable_post_processing, predictions_of
from sparsevit_mm.errors import ConfigError
from tests.helpers.predicting import batch_for, build_trained, decode_in_its_own_way, predict

HEIGHT, WIDTH = 64, 96


def expected_of(model, name, noise, samples):
    found = predict(model, noise, samples)
    if name == 'mask2former':
        return dict(label_map=torch.stack([each.pred_sem_seg.data[0] for each in found]))
    boxes = [each.pred_instances for each in found]
    return {
        mine: torch.stack([each[theirs] for each in boxes])
        for mine, theirs in (('boxes', 'bboxes'), ('scores', 'scores'), ('labels', 'labels'))
    }


def check_same(expected, outputs):
    same = agreement(
        *({name: value.numpy() for name, value in of.items()} for of in (expected, outputs))
    )
    assert same.agreeing == same.total > 50, same


@torch.no_grad()
@pytest.mark.parametrize('name', ['dino', 'mask2former'])
def test_predictions_are_those_of_the_frameworks(name):
    model = build_trained(name)
    module = predictions_of(model)
    noise, samples = batch_for(name, HEIGHT, WIDTH, images=2)
    expected = expected_of(model, name, noise, samples)
    check_same(expected, dict(zip(module.outputs, module(noise))))
    with exportable_post_processing():
        check_same(expected, dict(zip(module.outputs, module(noise))))
    assert isinstance(torch._shape_as_tensor(noise), torch.Tensor)


@pytest.mark.slow  # attention in several layers makes large graphs
@torch.no_grad()
@pytest.mark.parametrize('name', ['dino', 'mask2former'])
def test_files_predict_what_the_frameworks_predict(name, tmp_path):
    pytest.importorskip('onnxscript', reason='onnxscript is not installed')
    model = build_trained(name)
    module = predictions_of(model)
    noise, samples = batch_for(name, HEIGHT, WIDTH, images=2)
    path = tmp_path / 'model.onnx'
    write_onnx(export_graph(module, noise), path, module.outputs)
    outputs = dict(zip(module.outputs, OnnxModel(path, threads=1)(noise)))
    check_same(expected_of(model, name, noise, samples), outputs)


def test_heads_that_decode_in_their_own_way_are_refused():
    model = build_trained('dino')
    decode_in_its_own_way(model, '_predict_by_feat_single')
    with pytest.raises(ConfigError, match="Head .*Use part='model' or part='backbone'"):
        predictions_of(model)
