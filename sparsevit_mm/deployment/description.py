"""What a file with predictions says about itself: its task, its classes and how images enter it.

It is stored as JSON in the file's metadata, so that the file alone is enough to run it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from sparsevit_mm.errors import ConfigError

KEY = 'sparsevit_mm'
"""Name of the metadata."""

TASKS = ('detection', 'detection_3d', 'segmentation', 'classification')
INPUTS = ('uint8', 'normalized')
"""uint8: (B, H, W, C), RGB as decoded; normalized: (B, C, H, W) float32, what the network gets."""

FITTINGS = ('stretch', 'letterbox', 'crop')
"""How an image gets the size of the input: by itself, with padding, or cut from its center."""


@dataclass(frozen=True)
class Description:
    """What is needed to run a file on images.

    Attributes:
        task: One of `TASKS`.
        input: One of `INPUTS`.
        classes: Names of the classes; empty if the config does not tell them.
        fitting: One of `FITTINGS`.
        pad: Value of padded pixels of a letterbox in every channel, from 0 to 255.
        short_side: Pixels that a side has before its center is cut out, the shorter one.
        interpolation: 'bilinear' or 'bicubic', of the resizing.
        mean: Subtracted in every channel before the network, in its order of channels.
        std: Divided by after that.
        is_bgr: Whether the network gets blue first.
        mask_threshold: Probability from which on a pixel is part of a mask.
    """

    task: str
    input: str
    classes: tuple[str, ...] = ()
    fitting: str = 'stretch'
    pad: tuple[float, ...] = (0.0,)
    short_side: int = 0
    interpolation: str = 'bilinear'
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    is_bgr: bool = False
    mask_threshold: float = 0.5

    def to_json(self) -> str:
        """The description as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | None, path: object) -> Description:
        """Reads a description.

        Args:
            text: The file's metadata; None if it has none.
            path: The file, for the error.

        Raises:
            ConfigError: If there is none, or it is not one.
        """
        if text is None:
            raise ConfigError(
                f'{path} does not say how to run it: write it with tools/export_onnx.py and '
                '--part predictions.'
            )
        try:
            values: dict[str, Any] = json.loads(text)
            lists = {name: tuple(v) for name, v in values.items() if isinstance(v, list)}
            read = cls(**{**values, **lists})
        except (ValueError, TypeError, AttributeError):
            raise ConfigError(
                f'{path} is described by {text!r}, which is not understood.'
            ) from None
        if read.task not in TASKS or read.input not in INPUTS or read.fitting not in FITTINGS:
            raise ConfigError(f'{path} is described by {text!r}, which is not understood.')
        return read
