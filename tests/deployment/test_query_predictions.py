"""DINO and Mask2Former in files predict what their frameworks predict."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
import torch

from sparsevit_mm.deployment.agreement import agreement
from sparsevit_mm.deployment.description import Description
from sparsevit_mm.deployment.graph import export_graph
from sparsevit_mm.deployment.onnx_detector import OnnxDetector
from sparsevit_mm.deployment.onnx_file import OnnxModel, write_onnx
from sparsevit_mm.deployment.picture import resize_mask
from sparsevit_mm.deployment.predictions import exportable_post_processing, predictions_of
from sparsevit_mm.errors import ConfigError
from tests.helpers.predicting import batch_for, build_trained, decode_in_its_own_way, predict

HEIGHT, WIDTH = 64, 96
RUNTIMES = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(find_spec(name) is None, reason=f'{name} is not installed'),
    )
    for name in ('onnxruntime', 'openvino')
]


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


def check_same_instances(model, noise, samples, outputs):
    """Every instance of MMDetection is in the outputs, and only those are."""
    size = noise.shape[2:]
    for image, sample in enumerate(predict(model, noise, samples)):
        wanted = sample.pred_instances
        order = wanted.scores.argsort(descending=True)
        given = dict(boxes=wanted.bboxes, scores=wanted.scores, labels=wanted.labels)
        expected = {name: value[order].numpy()[None] for name, value in given.items()}
        expected['masks'] = wanted.masks[order].numpy()[None]
        found = {name: outputs[name][image : image + 1].numpy() for name in given}
        logits = outputs['mask_logits'][image].numpy()
        pasted = [resize_mask(each, size, size, size) for each in logits]
        same = agreement(expected, {**found, 'masks': np.stack(pasted)[None]})
        assert same.agreeing == same.total == len(wanted) > 5, same
        assert (found['labels'] == -1).any()  # places of stuff


@torch.no_grad()
def test_instances_are_those_of_mmdetection():
    model = build_trained('instances')
    noise, samples = batch_for('instances', HEIGHT, WIDTH, images=2)
    module = predictions_of(model)
    check_same_instances(model, noise, samples, dict(zip(module.outputs, module(noise))))
    with exportable_post_processing():
        outputs = dict(zip(module.outputs, module(noise)))
    check_same_instances(model, noise, samples, outputs)
    model.panoptic_fusion_head.test_cfg.instance_on = False
    with pytest.raises(ConfigError, match='instance_on is False, but a file with predictions of'):
        predictions_of(model)


@pytest.mark.slow  # attention in several layers makes large graphs
@torch.no_grad()
@pytest.mark.parametrize('runtime', RUNTIMES)
def test_a_file_finds_the_instances_of_mmdetection(runtime, tmp_path, onnx):
    model = build_trained('instances')
    module = predictions_of(model)
    noise, samples = batch_for('instances', HEIGHT, WIDTH)
    path = tmp_path / 'model.onnx'
    description = Description('detection', 'normalized')
    write_onnx(export_graph(module, noise), path, module.outputs, description)
    outputs = dict(zip(module.outputs, OnnxModel(path, threads=1, runtime=runtime)(noise)))
    check_same_instances(model, noise, samples, outputs)
    detector = OnnxDetector(path, runtime, threads=1)
    found = detector(np.zeros((2 * HEIGHT, 2 * WIDTH, 3), dtype=np.uint8))
    assert found.masks.shape == (len(found.boxes), 2 * HEIGHT, 2 * WIDTH)
    for mask, (left, top, right, bottom) in zip(found.masks, found.boxes):
        # Boxes are those of masks before they were resized, where a tail of one pixel can get lost.
        rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
        assert mask.any()
        assert columns[0] >= left - 2 and columns[-1] + 1 <= right + 2
        assert rows[0] >= top - 2 and rows[-1] + 1 <= bottom + 2


@pytest.mark.slow  # attention in several layers makes large graphs
@torch.no_grad()
@pytest.mark.parametrize('name', ['dino', 'mask2former'])
def test_files_predict_what_the_frameworks_predict(name, tmp_path, onnx):
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
