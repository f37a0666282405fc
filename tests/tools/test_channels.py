"""Networks whose images have 1, 2, 4 or 5 channels, in every tool that makes or reads images."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from sparsevit_mm.apis.configs import load_config, register_framework
from sparsevit_mm.apis.inference import ImagePredictor
from sparsevit_mm.checks.configs import build_model
from sparsevit_mm.errors import ConfigError
from tests.helpers.tiny_data import (
    HEIGHT,
    PLAIN_DETECTOR,
    SEGMENTOR,
    WIDTH,
    write_config,
    write_tiny_data,
)
from tests.tools.conftest import call_tool, files_below

COLOR_TYPES = {1: 'grayscale', 2: 'unchanged', 4: 'unchanged', 5: 'unchanged'}


def pixels_of(channels, number=0):
    rng = np.random.default_rng(number)
    return rng.integers(0, 256, (HEIGHT, WIDTH, channels), dtype=np.uint8)


def write_images(folder, channels):
    """Replaces the images of the tiny data set by such of other channels, under the same names."""
    for number, path in enumerate(sorted(folder.glob('*.png'))):
        pixels = pixels_of(channels, number)
        if channels in (1, 4):
            Image.fromarray(pixels.squeeze()).save(path)
        else:
            tifffile = pytest.importorskip('tifffile')
            target = path.with_suffix('.tiff')
            tifffile.imwrite(target, pixels, photometric='minisblack', planarconfig='contig')
            path.unlink()


def with_channels(text, channels):
    """A config with another number of channels; their statistics are one number for all."""
    suffix = '.tiff' if channels in (2, 5) else '.png'
    return (
        text.replace('embed_dims=12', f'in_channels={channels}, embed_dims=12')
        .replace('mean=[120.0] * 3, std=[60.0] * 3', 'mean=[120.0], std=[60.0]')
        .replace(
            "type='LoadImageFromFile'",
            f"type='LoadImageFromFile', color_type='{COLOR_TYPES[channels]}', "
            f"imdecode_backend='{'tifffile' if channels in (2, 5) else 'cv2'}'",
        )
        .replace("img_suffix='.png'", f"img_suffix='{suffix}'")
    )


@pytest.fixture(params=COLOR_TYPES)
def segmentor(request, tmp_path):
    data = write_tiny_data(tmp_path / 'data', images=2)
    write_images(data / 'images', request.param)
    text = with_channels(SEGMENTOR, request.param)
    return request.param, write_config(tmp_path / 'segmentor.py', text, data), data


def test_costs(segmentor, tmp_path, capsys):
    channels, config, _ = segmentor
    out = tmp_path / 'cost.json'
    call_tool('get_flops', config, '--shape', 64, 96, '--out', out)
    report = json.loads(out.read_text())
    embedding = 16 * 24 * channels * 16 * 12
    assert report['backbone']['patch_embed'] == embedding
    assert report['backbone']['macs'] == report['parts']['backbone']
    call_tool('throughput', config, '--shape', 64, 96, '--runs', 1, '--device', 'cpu')
    said = capsys.readouterr().out
    assert 'images/s' in said
    assert 'measured on 1 x 64 x 96, float32, cpu' in said


def test_exports(segmentor, tmp_path, onnx):
    import onnxruntime

    channels, config, _ = segmentor
    call_tool('export_onnx', config, '--out', tmp_path / 'm.pt2', '--shape', 64, 96)
    (images,) = torch.export.load(tmp_path / 'm.pt2').example_inputs[0]
    assert images.shape == (1, channels, 64, 96)
    call_tool('export_onnx', config, '--out', tmp_path / 'm.onnx', '--shape', 64, 96)
    session = onnxruntime.InferenceSession(tmp_path / 'm.onnx')
    (asked,) = session.get_inputs()
    assert asked.shape == [1, 64, 96, channels] and asked.type == 'tensor(uint8)'
    (labels, *_) = session.run(None, {asked.name: np.zeros(asked.shape, np.uint8)})
    assert labels.shape[-2:] == (64, 96)


def test_the_network_sees_what_its_pipeline_would_load(segmentor, tmp_path, capsys):
    channels, config, data = segmentor
    path = sorted((data / 'images').iterdir())[0]
    seen = []
    predictor = ImagePredictor(str(config), device='cpu')
    predictor.model.backbone.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    predictor.predict(predictor.read(path), str(path))
    expected = pixels_of(channels).astype(np.float32)
    if channels == 4:
        expected = expected[..., [2, 1, 0, 3]]  # as OpenCV orders them, and so the framework
    np.testing.assert_allclose(
        seen[0][0].permute(1, 2, 0), (expected - 120) / 60, rtol=0, atol=1e-5
    )
    if channels > 2:
        with pytest.raises(ConfigError, match='has no path'):
            predictor.predict(predictor.read(path))
    call_tool('image_demo', data / 'images', config, '--out-dir', tmp_path / 'out')
    assert len(files_below(tmp_path / 'out')) == 2 + 4


def test_training_images_are_drawn(segmentor, tmp_path, capsys):
    channels, config, data = segmentor
    call_tool('browse_dataset', config, '--out-dir', tmp_path / 'drawn', '--num', 1)
    (name,) = files_below(tmp_path / 'drawn')
    with Image.open(tmp_path / 'drawn' / name) as drawn:
        assert drawn.size == (WIDTH, HEIGHT)
        colors = np.asarray(drawn.convert('RGB')).astype(float)
    with Image.open(data / 'labels' / '0.png') as labels:
        ground = np.asarray(labels) == 0
    plain = pixels_of(channels).astype(float)
    plain = plain[..., :3] if channels > 2 else plain[..., :1].repeat(3, axis=2)
    if channels == 5:
        plain = plain[..., ::-1]  # the first three are taken for blue, green and red
    # Colors and names of classes are laid over the image; of another channel nothing is seen.
    for channel in range(3):
        seen, there = colors[..., channel][ground], plain[..., channel][ground]
        assert np.corrcoef(seen, there)[0, 1] > 0.5


def test_a_pipeline_of_other_channels_than_the_network(tmp_path):
    data = write_tiny_data(tmp_path / 'data', images=1)
    text = SEGMENTOR.replace('embed_dims=12', 'in_channels=4, embed_dims=12')
    config = write_config(tmp_path / 'config.py', text, data)
    path = data / 'images' / '0.png'
    predictor = ImagePredictor(str(config), device='cpu')
    with pytest.raises(ConfigError, match='gives images of 3 channels, but must give the 4 that'):
        predictor.predict(predictor.read(path), str(path))


def test_sparsify(tmp_path, capsys):
    data = write_tiny_data(tmp_path / 'data', images=2)
    write_images(data / 'images', 4)
    config = write_config(tmp_path / 'plain.py', with_channels(PLAIN_DETECTOR, 4), data)
    cfg = load_config(str(config))
    register_framework(cfg)
    torch.save({'state_dict': build_model(cfg).state_dict()}, tmp_path / 'weights.pth')
    call_tool(
        'sparsify', config, tmp_path / 'weights.pth', '--ratios', '0.5', '--out-dir',
        tmp_path / 'out', '--shape', '64', '96', '--pictures', '1',
    )  # fmt: skip
    assert any(name.endswith('-windows.png') for name in files_below(tmp_path / 'out'))
