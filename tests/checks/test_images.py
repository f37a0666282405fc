"""Loading: the frameworks' pixels for good files, one sentence with the name for broken ones."""

from __future__ import annotations

import numpy as np
import pytest
from mmcv.transforms import LoadImageFromFile
from mmengine.config import Config
from PIL import Image

from sparsevit_mm.checks.images import LoadCheckedImage, use_checked_loading
from sparsevit_mm.errors import ConfigError


@pytest.fixture
def picture(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)

    def write(name, **options):
        Image.fromarray(pixels).save(tmp_path / name, **options)
        return tmp_path / name

    return write


@pytest.mark.parametrize('name', ['a.jpg', 'a.png', 'a.bmp', 'a.webp'])
def test_good_images_are_loaded_as_ever(picture, name):
    path = str(picture(name))
    ours = LoadCheckedImage()(dict(img_path=path))
    theirs = LoadImageFromFile()(dict(img_path=path))
    assert ours.keys() == theirs.keys()
    np.testing.assert_array_equal(ours['img'], theirs['img'])


def test_thumbnail_in_the_header_is_no_end(picture, tmp_path):
    """Its end mark stands before the pixels of the picture itself."""
    thumbnail = picture('small.jpg', quality=10).read_bytes()
    whole = picture('whole.jpg').read_bytes()
    segment = b'\xff\xe1' + (len(thumbnail) + 2).to_bytes(2, 'big') + thumbnail
    path = tmp_path / 'thumbnail.jpg'
    path.write_bytes(whole[:2] + segment + whole[2:])
    LoadCheckedImage()(dict(img_path=str(path)))
    path.write_bytes((whole[:2] + segment + whole[2:])[:-300])
    with pytest.raises(ConfigError, match='its end is missing'):
        LoadCheckedImage()(dict(img_path=str(path)))


@pytest.mark.parametrize('name', ['a.jpg', 'a.png', 'a.bmp', 'a.webp'])
@pytest.mark.parametrize(
    ('damage', 'word'),
    [
        (lambda content: b'', 'empty'),
        (lambda content: b'no picture at all', 'not an image'),
        (lambda content: content[: len(content) * 2 // 3], 'end is missing|not an image'),
    ],
)
def test_broken_images_are_named(picture, name, damage, word):
    path = picture(name)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ConfigError, match=word) as caught:
        LoadCheckedImage()(dict(img_path=str(path)))
    assert str(path) in str(caught.value)
    assert '\n' not in str(caught.value)


def test_missing_image(tmp_path):
    with pytest.raises(ConfigError, match=r'gone\.jpg cannot be read: No such file'):
        LoadCheckedImage()(dict(img_path=str(tmp_path / 'gone.jpg')))


@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_pixels_that_are_no_numbers(tmp_path, value):
    pixels = np.zeros((8, 8), np.float32)
    load = LoadCheckedImage(color_type='unchanged')
    path = tmp_path / 'measured.tiff'
    Image.fromarray(pixels).save(path)
    assert load(dict(img_path=str(path)))['img'].dtype == np.float32
    pixels[3, 4] = value
    Image.fromarray(pixels).save(path)
    with pytest.raises(ConfigError, match='not finite'):
        load(dict(img_path=str(path)))


def test_every_pipeline_of_a_config_is_checked():
    load = dict(type='LoadImageFromFile', to_float32=True)
    cfg = Config(
        dict(
            default_scope='mmdet',
            train_dataloader=dict(
                dataset=dict(type='Repeat', dataset=dict(pipeline=[load, dict(type='Resize')]))
            ),
            tta_pipeline=[dict(type='mmdet.LoadImageFromFile')],
            lenient=[dict(type='LoadImageFromFile', ignore_empty=True)],
        )
    )
    use_checked_loading(cfg)
    first, second = cfg.train_dataloader.dataset.dataset.pipeline
    assert first == dict(type='sparsevit_mm.LoadCheckedImage', to_float32=True)
    assert second == dict(type='Resize')
    assert cfg.tta_pipeline[0].type == 'sparsevit_mm.LoadCheckedImage'
    assert cfg.lenient[0].type == 'LoadImageFromFile'
