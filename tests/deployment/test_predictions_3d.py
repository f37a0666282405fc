"""Detectors of 3D boxes in files find what MMDetection3D finds, with any camera."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
import torch
from PIL import Image

from sparsevit_mm.deployment.__main__ import main as run_command
from sparsevit_mm.deployment.agreement import agreement
from sparsevit_mm.deployment.deformable import deformable_convolution
from sparsevit_mm.deployment.description import Description
from sparsevit_mm.deployment.graph import export_graph
from sparsevit_mm.deployment.onnx_detector import OnnxDetector
from sparsevit_mm.deployment.onnx_file import OnnxModel, write_onnx
from sparsevit_mm.deployment.predictions import predictions_of
from sparsevit_mm.errors import ConfigError
from tests.helpers.predicting import decode_in_its_own_way, predict
from tests.helpers.small_detectors_3d import small_detector_3d

HEIGHT, WIDTH = 48, 80
RUNTIMES = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(find_spec(name) is None, reason=f'{name} is not installed'),
    )
    for name in ('onnxruntime', 'openvino')
]


def frame(name, module, images=2, seed=0):
    """Noise, cameras as a file takes them, and data samples as a test pipeline gives them."""
    from mmdet3d.structures import CameraInstance3DBoxes, Det3DDataSample, LiDARInstance3DBoxes

    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(images, 3, HEIGHT, WIDTH, generator=generator)
    if name == 'bevdet':
        cameras = module.other_inputs(images, HEIGHT, WIDTH)
        raw = np.diag([0.5, 0.5, 1.0])
        meta = dict(
            cam2img=np.linalg.inv(raw) @ cameras[0].numpy(),
            cam2bev=cameras[1].numpy(),
            img_aug=np.stack([raw] * images),
            bev_aug=np.eye(3),
            box_type_3d=LiDARInstance3DBoxes,
        )
        return noise, cameras, dict(imgs=noise[None]), [Det3DDataSample(metainfo=meta)]
    camera = torch.eye(4).repeat(images, 1, 1)
    camera[:, 0, 0], camera[:, 1, 1], camera[:, 0, 2], camera[:, 1, 2] = 55, 45, 42, 22
    camera[:, :3, 3] = torch.tensor([4.0, -2.0, 0.01])
    camera[1:, 0, 0] = 35
    scale = torch.diag(torch.tensor([0.5, 0.5, 1.0, 1.0]))  # the photograph is twice as large
    raw = scale.inverse() @ camera
    meta = dict(
        img_shape=(HEIGHT, WIDTH), pad_shape=(HEIGHT, WIDTH), scale_factor=(0.5, 0.5),
        trans_mat=np.diag([0.125, 0.125, 1]), box_type_3d=CameraInstance3DBoxes,
    )  # fmt: skip
    samples = [Det3DDataSample(metainfo=dict(meta, cam2img=each.tolist())) for each in raw]
    return noise, (camera,), dict(imgs=noise), samples


def check_same(expected, outputs):
    """Compares what MMDetection3D finds with the outputs of a file or module."""
    assert len(outputs['labels']) == len(expected)
    for image, sample in enumerate(expected):
        wanted = sample.pred_instances_3d
        assert len(wanted) > 5
        given = dict(
            boxes_3d=wanted.bboxes_3d.tensor, scores=wanted.scores_3d, labels=wanted.labels_3d
        )
        found = {key: value[image : image + 1].numpy() for key, value in outputs.items()}
        same = agreement({key: value[None].numpy() for key, value in given.items()}, found)
        assert same.agreeing == same.total == len(wanted), same
        present = found['scores'][0][found['labels'][0] >= 0]
        assert (np.diff(present) <= 0).all()
        if 'attributes' in found:
            assert sorted(found['attributes'][0].tolist())[-len(wanted) :] == sorted(
                wanted.attr_labels.tolist()
            )


def check_detector(path, module):
    """The detector takes a larger image and the camera in its pixels."""
    detector = OnnxDetector(path, 'onnxruntime', threads=1)
    image = np.random.default_rng(0).integers(0, 256, (2 * HEIGHT, 2 * WIDTH, 3), dtype=np.uint8)
    camera = np.array([[110, 0, 84], [0, 90, 44], [0, 0, 1.0]])
    found = detector(image, camera)
    entered, _ = detector.enter(image)
    projection = torch.eye(4)
    projection[:3, :3] = torch.from_numpy(np.diag([0.5, 0.5, 1]) @ camera)
    boxes, scores, *_ = (value[0] for value in module(torch.from_numpy(entered), projection[None]))
    number = int((scores > 0).sum())
    assert len(found.boxes_3d) == len(detector.lines(found, threshold=0.0)) == number > 5
    np.testing.assert_allclose(found.scores, scores[:number], atol=1e-3)
    np.testing.assert_allclose(found.boxes_3d, boxes[:number], rtol=0.01, atol=0.01)
    with pytest.raises(ConfigError, match='cam2img is None, but the file finds 3D boxes and needs'):
        detector(image)
    drawn = detector.draw(image, found, threshold=0.0, cam2img=camera)
    assert drawn.shape == image.shape and (drawn != image).any()
    Image.fromarray(image).save(path.with_name('photo.png'))
    command = [path, path.with_name('photo.png'), '--camera', 110, 90, 84, 44, '--threshold', 0]
    run_command([str(word) for word in [*command, '--out-dir', path.parent / 'drawn']])
    np.testing.assert_array_equal(
        np.asarray(Image.open(path.parent / 'drawn' / 'photo.png')), drawn
    )
    with pytest.raises(ConfigError, match='cam2img is None, but the file finds 3D boxes and needs'):
        detector.draw(image, found)


@torch.no_grad()
@pytest.mark.parametrize(
    'name', ['fcos3d', 'smoke', pytest.param('bevdet', marks=pytest.mark.slow)]
)
def test_boxes_are_those_of_mmdetection3d(name, tmp_path, onnx):
    model = small_detector_3d(name)
    module = predictions_of(model).eval()
    noise, cameras, inputs, samples = frame(name, module)
    expected = predict(model, inputs, samples)
    check_same(expected, dict(zip(module.outputs, module(noise, *cameras))))
    path = tmp_path / 'model.onnx'
    program = export_graph(module, noise, *cameras, dynamic_batch=name != 'bevdet')
    description = Description('detection_3d', 'normalized', fitting='letterbox')
    write_onnx(program, path, module.outputs, description, module.inputs)
    nodes = onnx.load(path).graph.node
    assert {node.domain for node in nodes} == {''}
    for runtime in [r.values[0] for r in RUNTIMES if find_spec(r.values[0]) is not None]:
        written = OnnxModel(path, threads=1, runtime=runtime)
        assert tuple(taken.name for taken in written.session.inputs) == module.inputs
        for images in (2,) if name == 'bevdet' else (1, 3):
            noise, cameras, inputs, samples = frame(name, module, images, seed=images)
            outputs = dict(zip(module.outputs, written(noise, *cameras)))
            check_same(predict(model, inputs, samples), outputs)
    if name == 'fcos3d':
        check_detector(path, module)


def test_a_head_that_decodes_in_its_own_way_is_refused():
    model = small_detector_3d('smoke')
    decode_in_its_own_way(model, '_decode_heatmap')
    with pytest.raises(ConfigError, match="Head .*Use part='model' or part='backbone'"):
        predictions_of(model)


def test_deformable_convolution_is_that_of_mmcv():
    from mmcv.ops import modulated_deform_conv2d

    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(*shape, generator=generator)

    settings = ((2, 2), (1, 1), (2, 1), 2, 4)  # stride, padding, dilation, groups, that move
    values = (normal(2, 8, 11, 14), 3 * normal(2, 72, 5, 7), normal(2, 36, 5, 7).sigmoid())
    values += (normal(6, 4, 3, 3), normal(6))
    wanted = modulated_deform_conv2d(*values, *settings)
    found = deformable_convolution(*values, *settings)
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)
