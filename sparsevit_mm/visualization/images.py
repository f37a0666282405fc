"""Reading any picture as 8-bit RGB, and finding the pictures of a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from sparsevit_mm.errors import ConfigError

PICTURE_SUFFIXES = ('.bmp', '.jpeg', '.jpg', '.pgm', '.png', '.ppm', '.tif', '.tiff', '.webp')


def find_pictures(path: str | Path) -> list[Path]:
    """The pictures a path stands for.

    Args:
        path: A file, whatever its suffix, or a folder, whose pictures are those directly in it.

    Returns:
        Sorted paths, at least one.

    Raises:
        ConfigError: If there is no such file or folder, or no picture in the folder.
    """
    path = Path(path)
    if path.is_dir():
        found = sorted(p for p in path.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES)
        if not found:
            raise ConfigError(
                f'the folder {path} holds no picture; known are {", ".join(PICTURE_SUFFIXES)}.'
            )
        return found
    if not path.is_file():
        raise ConfigError(f'the picture {path} does not exist.')
    return [path]


def read_picture(path: str | Path) -> NDArray[np.uint8]:
    """Reads a picture of any kind: grey, palette, with transparency, with more than 8 bits.

    Transparent pixels are laid over black, 16 bits are scaled by their whole range, wider numbers
    by the range that occurs. The camera's orientation is applied.

    Args:
        path: The file.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        ConfigError: If the file is empty, broken or no picture, or if pixels are NaN.
    """
    try:
        with Image.open(path) as opened:
            picture = ImageOps.exif_transpose(opened)
            picture.load()
    except UnidentifiedImageError:
        what = 'is empty' if Path(path).stat().st_size == 0 else 'is not a picture'
        raise ConfigError(f'the picture {path} cannot be read: it {what}.') from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = str(error).strip().rstrip('.') or type(error).__name__
        raise ConfigError(f'the picture {path} cannot be read: {reason}.') from None
    if picture.mode.startswith('I;16'):
        values = np.asarray(picture).astype(np.float64) / 257
        picture = Image.fromarray(values.round().astype(np.uint8))
    elif picture.mode in ('I', 'F'):
        values = np.asarray(picture, dtype=np.float64)
        if not np.isfinite(values).all():
            raise ConfigError(f'the picture {path} has pixels that are not finite numbers.')
        picture = Image.fromarray(_stretch(values))
    elif picture.has_transparency_data:
        rgba = picture.convert('RGBA')
        picture = Image.alpha_composite(Image.new('RGBA', rgba.size, 'black'), rgba)
    return np.array(picture.convert('RGB'))


def _stretch(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    low, high = values.min(), values.max()
    return ((values - low) / max(high - low, 1e-12) * 255).round().astype(np.uint8)
