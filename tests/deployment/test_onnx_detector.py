"""The runner without torch: its pictures are OpenCV's, its predictions are those of the model."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import sparsevit_mm
from sparsevit_mm.deployment import OnnxDetector
from sparsevit_mm.deployment.description import Description
from sparsevit_mm.deployment.int8 import quantize_for_openvino
from sparsevit_mm.deployment.picture import resize, resize_mask
from sparsevit_mm.deployment.runtimes import open_session, run_session
from sparsevit_mm.errors import ConfigError
from tests.helpers.small_detectors import detector_config
from tests.helpers.tiny_data import SEGMENTOR, write_config, write_tiny_data
from tests.tools.conftest import call_tool

PHOTO = (120, 168)
"""Height and width of the image that is predicted on: OpenCV halves it without rounding."""


@pytest.fixture(scope='module')
def photo(tmp_path_factory):
    noise = np.random.default_rng(0).integers(0, 256, (*PHOTO, 3), dtype=np.uint8)
    path = tmp_path_factory.mktemp('photo') / 'photo.png'
    Image.fromarray(noise).save(path)
    return path


@pytest.fixture(scope='module')
def mask_detector(tmp_path_factory, onnx):
    """Config, weights and file of a tiny Mask R-CNN."""
    folder = tmp_path_factory.mktemp('mask_detector')
    data = write_tiny_data(folder / 'data')
    config = write_config(folder / 'config.py', detector_config('Mask R-CNN'), data)
    return exported(config, folder, '--ratios', 0.5)


def exported(config, folder, *flags):
    import torch

    from sparsevit_mm.apis.export_onnx import load_model

    model = load_model(str(config), None, None, None)
    model.init_weights()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if 'head' in name:
                scale = 0.4 if 'mask_head' in name else 0.1
                parameter.add_(torch.randn_like(parameter) * scale)
    torch.save({'state_dict': model.state_dict()}, folder / 'weights.pth')
    out = folder / 'model.onnx'
    call_tool(
        'export_onnx', config, folder / 'weights.pth', '--shape', 60, 84, '--out', out, *flags
    )
    return config, folder / 'weights.pth', out


@pytest.mark.parametrize('new', [(60, 84), (31, 300), (224, 224), PHOTO])
def test_resizing_is_that_of_opencv(new):
    image = np.random.default_rng(0).integers(0, 256, (*PHOTO, 3), dtype=np.uint8)
    wanted = cv2.resize(image, new[::-1])
    apart = np.abs(resize(image, *new).astype(int) - wanted)
    assert apart.max() <= 1 and (apart > 0).mean() < 0.02


def test_masks_of_images_are_resized_as_by_torch():
    import torch
    import torch.nn.functional as F

    logits = torch.randn(1, 1, 9, 12, generator=torch.Generator().manual_seed(0))
    entered = F.interpolate(logits, (36, 48), mode='bilinear')[..., :30, :]
    wanted = F.interpolate(entered, (75, 120), mode='bilinear')[0, 0] > 0
    found = resize_mask(logits[0, 0].numpy(), (36, 48), (30, 48), (75, 120))
    assert (found == wanted.numpy()).mean() > 0.999


def test_finds_what_the_model_finds(mask_detector, photo):
    from sparsevit_mm.apis.inference import ImagePredictor

    config, weights, path = mask_detector
    predictor = ImagePredictor(str(config), str(weights), device='cpu', schedule=0.5)
    wanted = predictor.predict(predictor.read(photo)).sample.pred_instances
    detector = OnnxDetector(path, 'onnxruntime', threads=1)
    found = detector(photo)
    assert detector.classes == ('person', 'car')
    np.testing.assert_allclose(found.boxes, wanted.bboxes.numpy(), atol=0.5)
    np.testing.assert_allclose(found.scores, wanted.scores.numpy(), atol=1e-3)
    np.testing.assert_array_equal(found.labels, wanted.labels.numpy())
    # MMDetection fills a strip where a box has no width or height; here such a mask is empty.
    wide = np.minimum(*(found.boxes[:, 2:] - found.boxes[:, :2]).T) > 0
    ours, theirs = found.masks[wide], wanted.masks.numpy()[wide]
    assert (ours & theirs).sum() / (ours | theirs).sum() > 0.99 and wide.sum() > 5
    assert detector.draw(photo, found, threshold=0.0).shape == (*PHOTO, 3)
    assert len(detector.lines(found, threshold=0.0)) == len(found.boxes)


@pytest.mark.slow
@pytest.mark.skipif(
    find_spec('openvino') is None or find_spec('nncf') is None,
    reason='openvino and nncf are not installed',
)
def test_masks_in_int8_for_openvino(photo, tmp_path, onnx):
    text = detector_config('Mask R-CNN').replace('sampling_ratio=1', 'sampling_ratio=0')
    config = write_config(tmp_path / 'config.py', text, write_tiny_data(tmp_path / 'data'))
    _, _, path = exported(config, tmp_path, '--cfg-options', 'model.test_cfg.rcnn.max_per_img=80')
    detector = OnnxDetector(path, 'openvino', threads=1)
    images, _ = detector.enter(detector.read(photo))
    quantize_for_openvino(str(path), str(tmp_path / 'int8.xml'), [images] * 2)
    contrasts = []
    for file in (path, tmp_path / 'int8.xml'):
        outputs = run_session(open_session(file, 'openvino', 1), images)
        assert (outputs['labels'] == -1).any()  # calibrated with places that hold no box
        contrasts.append(outputs['masks'][outputs['labels'] >= 0].std(axis=(1, 2)).mean())
    assert contrasts[1] == pytest.approx(contrasts[0], rel=0.3)


def test_normalized_input_and_a_letterbox(tmp_path, onnx):
    text = detector_config('RetinaNet').replace('keep_ratio=False', 'keep_ratio=True')
    config = write_config(tmp_path / 'config.py', text, write_tiny_data(tmp_path / 'data'))
    _, _, path = exported(config, tmp_path, '--input', 'normalized')
    detector = OnnxDetector(path, 'onnxruntime', threads=1)
    assert detector.description.fitting == 'letterbox'
    image = np.random.default_rng(0).integers(0, 256, (75, 120, 3), dtype=np.uint8)
    entered, placement = detector.enter(detector.read(image))
    assert entered.shape == (1, 3, 60, 84)
    assert (placement.height, placement.width) == (53, 84)  # 75 x 120 in 60 x 84
    assert (entered[:, :, 53:] == 0).all()  # the preprocessor pads after the normalization


def test_segments_and_classifies(photo, tmp_path, onnx):
    from tests.tools.test_export_onnx import CLASSIFIER

    config = write_config(tmp_path / 'config.py', SEGMENTOR, write_tiny_data(tmp_path / 'data'))
    _, _, path = exported(config, tmp_path)
    detector = OnnxDetector(path, 'onnxruntime', threads=1)
    found = detector(photo)
    assert found.label_map.shape == PHOTO
    assert detector.draw(photo, found).shape == (*PHOTO, 3)
    assert detector.lines(found)
    config.write_text(CLASSIFIER)
    _, _, path = exported(config, tmp_path)
    scores = OnnxDetector(path, 'onnxruntime', threads=1)(photo).scores
    assert scores.shape == (2,) and abs(scores.sum() - 1) < 1e-5


def test_wrong_input_is_one_sentence(mask_detector, photo, tmp_path):
    _, _, path = mask_detector
    detector = OnnxDetector(path, 'onnxruntime', threads=1)
    with pytest.raises(ConfigError, match='the image is 8 x 8 x 4 uint8, but must be'):
        detector(np.zeros((8, 8, 4), dtype=np.uint8))
    images = np.zeros((1, 64, 84, 3), dtype=np.uint8)
    with pytest.raises(ConfigError, match='images are 1 x 64 x 84 x 3 uint8, but the file takes'):
        run_session(detector.session, images)
    images = np.zeros((1, 60, 84, 4), dtype=np.uint8)
    with pytest.raises(ConfigError, match='images are 1 x 60 x 84 x 4 uint8, but the file takes'):
        run_session(detector.session, images)
    with pytest.raises(ConfigError, match='2 inputs are given, but the file takes images'):
        run_session(detector.session, images, images)
    with pytest.raises(ConfigError, match='the image .* cannot be read'):
        detector(tmp_path / 'none.png')
    with pytest.raises(ConfigError, match=r'model file .*none\.onnx does not exist'):
        OnnxDetector(tmp_path / 'none.onnx', 'onnxruntime')
    with pytest.raises(ConfigError, match="runtime is 'tvm', but must be one of onnxruntime"):
        OnnxDetector(path, 'tvm')
    (tmp_path / 'broken.onnx').write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ConfigError, match='cannot be run by onnxruntime'):
        OnnxDetector(tmp_path / 'broken.onnx', 'onnxruntime')
    with pytest.raises(ConfigError, match='does not say how to run it'):
        Description.from_json(None, 'other.onnx')
    with pytest.raises(ConfigError, match='is described by .* not understood'):
        Description.from_json('{"task": "detection", "input": "uint16"}', 'other.onnx')


def test_runs_where_torch_and_mmengine_are_not_installed(mask_detector, photo, tmp_path):
    """In a folder with this package, NumPy, Pillow and ONNX Runtime, and no other package."""
    _, _, path = mask_detector
    packages = tmp_path / 'packages'
    packages.mkdir()
    names = ('numpy', 'PIL', 'onnxruntime', 'flatbuffers', 'google', 'packaging')
    for name in names:
        origin = find_spec(name)
        if origin is not None:
            place = Path(next(iter(origin.submodule_search_locations)))
            (packages / name).symlink_to(place)
            for libraries in place.parent.glob(f'{"pillow" if name == "PIL" else name}.libs'):
                (packages / libraries.name).symlink_to(libraries)
    (packages / 'sparsevit_mm').symlink_to(Path(sparsevit_mm.__file__).parent)
    program = 'import sys, sparsevit_mm.deployment; print("torch" in sys.modules)'
    environment = {**os.environ, 'PYTHONPATH': str(packages)}

    def run(*arguments):
        return subprocess.run(
            [sys.executable, '-S', *map(str, arguments)],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
        )

    imported = run('-c', program)
    assert imported.stdout == 'False\n', imported.stderr
    ran = run('-m', 'sparsevit_mm.deployment', path, photo, '--threshold', 0, '--out-dir', 'drawn')
    assert ran.returncode == 0, ran.stderr
    assert 'person' in ran.stdout or 'car' in ran.stdout
    assert (tmp_path / 'drawn' / 'photo.png').is_file()
    wrong = run('-m', 'sparsevit_mm.deployment', 'none.onnx', photo)
    assert wrong.returncode == 1
    assert wrong.stderr == 'the model file none.onnx does not exist.\n'
    (packages / 'onnxruntime').unlink()
    no_runtime = run('-m', 'sparsevit_mm.deployment', path, photo)
    assert no_runtime.returncode == 1
    assert no_runtime.stderr == (
        'onnxruntime is not installed, but is what runs the file: pip install onnxruntime\n'
    )
    asked = run('-c', 'from sparsevit_mm import SparseViT')
    assert 'SparseViT needs torch and mmengine, which are not installed' in asked.stderr
