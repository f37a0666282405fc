"""Reads images of any kind as 8-bit RGB, writes them, and finds the images of a folder."""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from sparsevit_mm.errors import ConfigError
from sparsevit_mm.files import written_whole

IMAGE_SUFFIXES = ('.bmp', '.jpeg', '.jpg', '.pgm', '.png', '.ppm', '.tif', '.tiff', '.webp')


def find_images(path: str | Path) -> list[Path]:
    """The images a path stands for.

    Args:
        path: A file, whatever its suffix, or a folder, whose images are those directly in it.

    Returns:
        Sorted paths, at least one.

    Raises:
        ConfigError: If there is no such file or folder, or no image in the folder.
    """
    path = Path(path)
    if path.is_dir():
        found = sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
        if not found:
            raise ConfigError(
                f'the folder {path} holds no image; known are {", ".join(IMAGE_SUFFIXES)}.'
            )
        return found
    if not path.is_file():
        raise ConfigError(f'the image {path} does not exist.')
    return [path]


def shown_rgb(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """What people are shown of an image with any number of channels.

    Args:
        pixels: (H, W) or (H, W, C), channels as the frameworks' pipelines have them: blue, green
            and red first if there are three or more.

    Returns:
        (H, W, 3) uint8 RGB: of fewer than three channels the first one, in gray; of 16 bits the
        upper ones; other numbers outside 0 to 255 scaled by the range that occurs.
    """
    values = pixels[..., None] if pixels.ndim == 2 else pixels
    values = values[..., 2::-1] if values.shape[2] > 2 else values[..., :1].repeat(3, axis=2)
    if values.dtype == np.uint16:
        values = (values / 257).round()
    elif values.dtype != np.uint8 and (values.min() < 0 or values.max() > 255):
        values = _stretch(values)
    return np.ascontiguousarray(values.astype(np.uint8))


def write_image(path: str | Path, pixels: NDArray[np.uint8]) -> None:
    """Writes an image, which appears when it is whole.

    Args:
        path: The file, whose folder is made; its suffix chooses the format.
        pixels: (H, W, 3) uint8 RGB.

    Raises:
        ConfigError: If it cannot be written, or the suffix names no format.
    """
    with written_whole(path) as file:
        try:
            Image.fromarray(pixels).save(file)
        except ValueError as error:
            raise ConfigError(f'the file {path} cannot be written: {error}.') from None


def read_image(path: str | Path) -> NDArray[np.uint8]:
    """Reads an image of any kind: gray, palette, with transparency, with more than 8 bits.

    Of a TIFF file with more channels than Pillow knows, the first three are shown (with tifffile).

    Transparent pixels are laid over black, 16 bits are scaled by their whole range, wider numbers
    by the range that occurs. The camera's orientation is applied.

    Args:
        path: The file.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ConfigError: If the file is empty, broken or no image, or if pixels are NaN.
    """
    try:
        with Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened)
            image.load()
    except UnidentifiedImageError:
        with suppress(ImportError):  # tifffile need not be there, nor know the file
            tifffile = import_module('tifffile')
            with suppress(ValueError, tifffile.TiffFileError):
                return shown_rgb(tifffile.imread(path))
        what = 'is empty' if Path(path).stat().st_size == 0 else 'is not an image'
        raise ConfigError(f'the image {path} cannot be read: it {what}.') from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = str(error).strip().rstrip('.') or type(error).__name__
        raise ConfigError(f'the image {path} cannot be read: {reason}.') from None
    if image.mode.startswith('I;16'):
        values = np.asarray(image).astype(np.float64) / 257
        image = Image.fromarray(values.round().astype(np.uint8))
    elif image.mode in ('I', 'F'):
        values = np.asarray(image, dtype=np.float64)
        if not np.isfinite(values).all():
            raise ConfigError(f'the image {path} has pixels that are not finite numbers.')
        image = Image.fromarray(_stretch(values))
    elif image.has_transparency_data:
        rgba = image.convert('RGBA')
        image = Image.alpha_composite(Image.new('RGBA', rgba.size, 'black'), rgba)
    return np.array(image.convert('RGB'))


def _stretch(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    low, high = values.min(), values.max()
    return ((values - low) / max(high - low, 1e-12) * 255).round().astype(np.uint8)
