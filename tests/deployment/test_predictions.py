"""Whole detectors in files find what MMDetection itself finds."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
import torch

from sparsevit_mm.deployment.agreement import agreement
from sparsevit_mm.deployment.graph import export_graph
from sparsevit_mm.deployment.onnx_file import OnnxModel, write_onnx
from sparsevit_mm.deployment.picture import paste_mask
from sparsevit_mm.deployment.predictions import exportable_post_processing, predictions_of
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.models.sparse_heads import make_heads_sparse
from tests.helpers.predicting import decode_in_its_own_way
from tests.helpers.small_detectors import (
    CHANGES,
    FASTERVIT_CHANGES,
    predicted,
    small_detector,
)
from tests.helpers.tiny_data import HEIGHT, WIDTH

RUNTIMES = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(find_spec(name) is None, reason=f'{name} is not installed'),
    )
    for name in ('onnxruntime', 'openvino')
]


def noise(batch=2):
    return torch.randn(batch, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(batch))


def check_same(expected, outputs, boxes, scores):
    """Compares what MMDetection finds in every image with the outputs of a file or module."""
    for image, wanted in enumerate(expected):
        number = len(wanted)
        assert int((outputs['labels'][image] >= 0).sum()) == number > 0
        given = dict(boxes=wanted.bboxes, scores=wanted.scores, labels=wanted.labels)
        same = agreement(
            {name: value.numpy()[None] for name, value in given.items()},
            {name: outputs[name].numpy()[image : image + 1] for name in given},
        )
        assert same.agreeing == same.total == number, same
        found = {name: value[image][:number] for name, value in outputs.items()}
        torch.testing.assert_close(found['scores'], wanted.scores, atol=scores, rtol=0)
        assert torch.equal(found['labels'], wanted.labels)
        torch.testing.assert_close(found['boxes'], wanted.bboxes, atol=boxes, rtol=0)
        for mask, box, wanted_mask in zip(
            found.get('masks', []), found['boxes'].tolist(), wanted.get('masks', [])
        ):
            pasted = torch.from_numpy(paste_mask(mask.numpy(), box, HEIGHT, WIDTH, 0.5))
            if box[0] == box[2] or box[1] == box[3]:  # MMDetection gives it a stripe of pixels
                assert not pasted.any()
                continue
            union = int((pasted | wanted_mask).sum())
            assert union == 0 or int((pasted & wanted_mask).sum()) / union >= 0.99


@torch.no_grad()
@pytest.mark.parametrize('kind', CHANGES)
def test_boxes_are_those_of_mmdetection(kind, tmp_path):
    model = small_detector(kind, tmp_path)
    module, images = predictions_of(model), noise()
    expected = predicted(model, images)
    check_same(expected, dict(zip(module.outputs, module(images))), boxes=1e-4, scores=1e-6)
    with exportable_post_processing():
        check_same(expected, dict(zip(module.outputs, module(images))), boxes=1e-4, scores=1e-6)


@torch.no_grad()
def test_images_with_few_boxes_and_none(tmp_path):
    model = small_detector('Mask R-CNN', tmp_path)
    module, images = predictions_of(model), noise()
    scores = predicted(model, images)[0].scores
    model.roi_head.test_cfg.score_thr = float(scores[4:6].mean())
    expected = predicted(model, images)
    assert 0 < len(expected[0]) < 10
    outputs = dict(zip(module.outputs, module(images)))
    assert int((outputs['labels'][0] >= 0).sum()) == len(expected[0])
    torch.testing.assert_close(outputs['boxes'][0][: len(expected[0])], expected[0].bboxes)
    assert (outputs['scores'][0][len(expected[0]) :] == 0).all()
    model.roi_head.test_cfg.score_thr = 1.0
    assert (dict(zip(module.outputs, module(images)))['labels'] == -1).all()


@pytest.mark.parametrize('runtime', RUNTIMES)
@pytest.mark.parametrize(
    'kind', ['FCOS', pytest.param('Cascade Mask R-CNN', marks=pytest.mark.slow)]
)
def test_one_file_for_any_number_of_images(kind, runtime, tmp_path, onnx):
    model = small_detector(kind, tmp_path, schedule=[[0.6], [0.0]])
    module = predictions_of(model)
    path = tmp_path / 'model.onnx'
    write_onnx(export_graph(module, noise(), dynamic_batch=True), path, module.outputs)
    nodes = onnx.load(path).graph.node
    assert {node.domain for node in nodes} == {''}
    assert 'NonMaxSuppression' in {node.op_type for node in nodes}
    written = OnnxModel(path, threads=1, runtime=runtime)
    assert written.session.outputs == module.outputs
    for batch in (1, 3):
        outputs = dict(zip(module.outputs, written(noise(batch))))
        check_same(predicted(model, noise(batch)), outputs, boxes=0.02, scores=1e-4)


@torch.no_grad()
@pytest.mark.parametrize('runtime', RUNTIMES)
def test_places_without_a_box_hold_what_torch_computes(runtime, tmp_path, onnx):
    model = small_detector('Mask R-CNN', tmp_path)
    for layer in model.roi_head.mask_roi_extractor.roi_layers:
        layer.sampling_ratio = 0  # as many samples as a region has pixels: none
    model.roi_head.test_cfg.score_thr = float(predicted(model, noise())[0].scores[3])
    module, path = predictions_of(model), tmp_path / 'model.onnx'
    write_onnx(export_graph(module, noise()), path, module.outputs)
    expected = dict(zip(module.outputs, module(noise())))
    assert (expected['labels'] == -1).any() and (expected['labels'] >= 0).any()
    outputs = dict(zip(module.outputs, OnnxModel(path, threads=1, runtime=runtime)(noise())))
    torch.testing.assert_close(outputs['masks'], expected['masks'], atol=1e-4, rtol=0)


@torch.no_grad()
@pytest.mark.parametrize('which', ['sparse heads', 'pruned FasterViT'])
def test_what_skips_windows_elsewhere(which, tmp_path, onnx):
    if which == 'sparse heads':
        model = make_heads_sparse(small_detector('RetinaNet', tmp_path), [0.6, 0.5])
    else:
        ratios = [0, 0, 0.6, 0.5]
        model = small_detector('RetinaNet', tmp_path, ratios, FASTERVIT_CHANGES)
        assert not model.backbone.pruning_schedule.is_dense
    module = predictions_of(model)
    path = tmp_path / 'model.onnx'
    write_onnx(export_graph(module, noise(1)), path, module.outputs)
    outputs = dict(zip(module.outputs, OnnxModel(path, threads=1)(noise(1))))
    expected = predicted(model, noise(1))
    check_same(expected, outputs, boxes=0.02, scores=1e-4)
    model.backbone.pruning_schedule = 0.0
    with pytest.raises(AssertionError):
        check_same(predicted(model, noise(1)), outputs, boxes=0.02, scores=1e-4)


def test_what_has_no_standard_form_is_refused(tmp_path):
    model = small_detector('RetinaNet', tmp_path)
    model.bbox_head.test_cfg.nms = dict(type='soft_nms', iou_threshold=0.5)
    with pytest.raises(ConfigError, match=r"test_cfg.nms is .*soft_nms.*must have type='nms'"):
        predictions_of(model)
    decode_in_its_own_way(model, '_predict_by_feat_single')
    with pytest.raises(ConfigError, match="Head .*Use part='model' or part='backbone'"):
        predictions_of(model)


def test_mmdetection_is_as_before_after_an_export():
    from mmdet.models.roi_heads import SingleRoIExtractor

    original = SingleRoIExtractor.forward
    with pytest.raises(RuntimeError), exportable_post_processing():
        assert SingleRoIExtractor.forward is not original
        raise RuntimeError
    assert SingleRoIExtractor.forward is original


def test_pasted_masks_are_those_of_mmdetection():
    from mmdet.models.roi_heads.mask_heads.fcn_mask_head import _do_paste_mask

    rng = np.random.default_rng(0)
    for box in ([3.2, 4.9, 30.1, 22.2], [-5.0, 10.0, 90.0, 70.0], [20.0, 20.0, 20.5, 21.0]):
        mask = rng.random((28, 28), dtype=np.float32)
        wanted, _ = _do_paste_mask(
            torch.from_numpy(mask)[None, None], torch.tensor([box]), HEIGHT, WIDTH, False
        )
        found = paste_mask(mask, box, HEIGHT, WIDTH, 0.5)
        near = np.abs(wanted[0].numpy() - 0.5) < 1e-5
        assert (found == (wanted[0].numpy() >= 0.5))[~near].all()
    assert not paste_mask(mask, [5.0, 5.0, 5.0, 9.0], HEIGHT, WIDTH, 0.5).any()


def test_boxes_must_come_in_the_same_order_up_to_ties():
    boxes = np.arange(12, dtype=np.float32).reshape(1, 3, 4) * 10
    first = dict(boxes=boxes, scores=np.array([[0.9, 0.5, 0.4997]]), labels=np.zeros((1, 3)))

    def in_order(*places):
        return {name: value[:, list(places)] for name, value in first.items()}

    assert agreement(first, in_order(0, 1, 2)).agreeing == 3
    assert agreement(first, in_order(0, 2, 1)).agreeing == 3  # a tie
    swapped = agreement(first, in_order(1, 0, 2))
    assert (swapped.agreeing, swapped.total) == (2, 3)
    assert agreement(first, in_order(1, 2, 0)).agreeing == 1
