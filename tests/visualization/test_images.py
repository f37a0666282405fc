"""Pictures of every kind become 8-bit RGB; what is no picture is one sentence."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from sparsevit_mm.errors import ConfigError
from sparsevit_mm.visualization.images import find_images, read_image

RNG = np.random.default_rng(0)
COLOR = RNG.integers(0, 256, (9, 13, 3), dtype=np.uint8)
GRAY = COLOR[..., 0]


def read(tmp_path, picture, name='picture.png', **options):
    picture.save(tmp_path / name, **options)
    return read_image(tmp_path / name)


def test_color_is_unchanged(tmp_path):
    np.testing.assert_array_equal(read(tmp_path, Image.fromarray(COLOR)), COLOR)


def test_gray_fills_three_channels(tmp_path):
    np.testing.assert_array_equal(
        read(tmp_path, Image.fromarray(GRAY)), GRAY[..., None].repeat(3, axis=2)
    )


@pytest.mark.parametrize('suffix', ['png', 'tif'])
def test_sixteen_bits_are_scaled_by_their_whole_range(tmp_path, suffix):
    deep = GRAY.astype(np.uint16) * 257
    image = read(tmp_path, Image.fromarray(deep), f'deep.{suffix}')
    np.testing.assert_array_equal(image[..., 1], GRAY)


def test_floats_are_scaled_by_the_range_that_occurs(tmp_path):
    values = np.linspace(-3, 5, 12, dtype=np.float32).reshape(3, 4)
    image = read(tmp_path, Image.fromarray(values), 'float.tif')
    assert (image.min(), image.max()) == (0, 255)
    assert image.dtype == np.uint8


def test_pixels_that_are_no_numbers_are_refused(tmp_path):
    values = np.full((3, 4), np.nan, dtype=np.float32)
    with pytest.raises(ConfigError, match='not finite'):
        read(tmp_path, Image.fromarray(values), 'float.tif')


def test_transparent_pixels_are_black(tmp_path):
    alpha = np.full(GRAY.shape, 255, dtype=np.uint8)
    alpha[:4] = 0
    image = read(tmp_path, Image.fromarray(np.dstack([COLOR, alpha])))
    assert (image[:4] == 0).all()
    np.testing.assert_array_equal(image[4:], COLOR[4:])


@pytest.mark.parametrize('mode', ['1', 'P', 'LA', 'CMYK'])
def test_other_modes(tmp_path, mode):
    suffix = 'jpg' if mode == 'CMYK' else 'png'
    picture = Image.fromarray(COLOR).convert(mode)
    assert read(tmp_path, picture, f'picture.{suffix}').shape == COLOR.shape


def test_orientation_of_the_camera_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    assert read(tmp_path, Image.fromarray(COLOR), 'a.jpg', exif=exif).shape == (13, 9, 3)


def test_broken_files_are_one_sentence(tmp_path):
    whole = tmp_path / 'whole.png'
    noise = RNG.integers(0, 256, (80, 80, 3), dtype=np.uint8)
    Image.fromarray(noise).save(whole)
    files = {
        'empty.png': (b'', 'it is empty'),
        'text.png': (b'no picture', 'it is not an image'),
        'cut.png': (whole.read_bytes()[:2000], 'truncated|broken'),
    }
    for name, (content, reason) in files.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ConfigError, match=f'{name} cannot be read: .*({reason})') as error:
            read_image(tmp_path / name)
        assert '\n' not in str(error.value)


def test_finds_the_pictures_of_a_folder(tmp_path):
    for name in ('b.png', 'a.JPG', 'notes.txt'):
        (tmp_path / name).touch()
    (tmp_path / 'inner').mkdir()
    (tmp_path / 'inner' / 'c.png').touch()
    assert [path.name for path in find_images(tmp_path)] == ['a.JPG', 'b.png']
    assert find_images(tmp_path / 'notes.txt') == [tmp_path / 'notes.txt']
    with pytest.raises(ConfigError, match='holds no image'):
        find_images(_empty(tmp_path))
    with pytest.raises(ConfigError, match='does not exist'):
        find_images(tmp_path / 'nope')


def _empty(tmp_path):
    (tmp_path / 'empty').mkdir()
    return tmp_path / 'empty'
