"""Describes a file with predictions from the config of its model, see `description`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sparsevit_mm.checks.configs import type_name
from sparsevit_mm.deployment.description import Description
from sparsevit_mm.deployment.image_bytes import normalization
from sparsevit_mm.deployment.predictions import Predictions


def describe(
    predictions: Predictions, pipeline: Sequence[Any], classes: Sequence[str], input_form: str
) -> Description:
    """Says how to run a file on images.

    Args:
        predictions: What the file computes.
        pipeline: Steps of the config's test pipeline, which decide how images are resized.
        classes: Names of the classes.
        input_form: One of `sparsevit_mm.deployment.description.INPUTS`.
    """
    model = predictions.model
    mean, std, is_bgr = normalization(model.data_preprocessor)
    steps = {type_name(step): step for step in pipeline}
    resizing, cropping = steps.get('Resize', {}), steps.get('CenterCrop')
    fitting = 'stretch'
    if cropping is not None:
        fitting = 'crop'
    elif resizing.get('keep_ratio', False) or predictions.task == 'detection_3d':
        fitting = 'letterbox'
    mask_threshold = 0.5
    if 'masks' in predictions.outputs:
        mask_threshold = model.roi_head.test_cfg.mask_thr_binary
    return Description(
        task=predictions.task,
        input=input_form,
        classes=tuple(classes),
        fitting=fitting,
        pad=_padding(model.data_preprocessor, steps.get('Pad'), mean, std),
        short_side=min(resizing['scale']) if cropping and 'scale' in resizing else 0,
        interpolation=resizing.get('interpolation', 'bilinear'),
        mean=mean,
        std=std,
        is_bgr=is_bgr,
        mask_threshold=mask_threshold,
    )


def _padding(
    preprocessor: Any, step: Any, mean: Sequence[float], std: Sequence[float]
) -> tuple[float, ...]:
    """Value of padded pixels before the normalization, from 0 to 255, in the order of RGB."""
    if step is not None:
        value = step.get('pad_val', 0)
        value = value.get('img', 0) if isinstance(value, dict) else value
        return tuple(value)[::-1] if isinstance(value, Sequence) else (float(value),)
    # The preprocessor pads after it has normalized.
    value = float(getattr(preprocessor, 'pad_value', getattr(preprocessor, 'pad_val', 0)))
    padding = tuple(
        min(max(value * deviation + center, 0.0), 255.0) for center, deviation in zip(mean, std)
    )
    return padding if getattr(preprocessor, '_channel_conversion', False) else padding[::-1]
