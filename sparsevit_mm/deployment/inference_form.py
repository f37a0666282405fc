"""The inference form of a whole model: the same predictions in less time, but no more training."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from sparsevit_mm.deployment.batch_norms import fold_batch_norms
from sparsevit_mm.deployment.fast_layers import FAST_FORMS, FastLinear
from sparsevit_mm.deployment.network_parts import prepare_parts
from sparsevit_mm.deployment.operators import keep_operators_inputs
from sparsevit_mm.deployment.plain_layers import layers_of
from sparsevit_mm.deployment.roi_features import sample_tokens
from sparsevit_mm.errors import ConfigError, DeployedModelError
from sparsevit_mm.models.classifier import ImageClassifier
from sparsevit_mm.models.fastervit import FasterViT
from sparsevit_mm.models.window_pruning import WindowPruning
from sparsevit_mm.ops.backend import DTYPES

_MARK = 'inference_form'


def optimize_for_inference(model: nn.Module, dtype: torch.dtype | str | None = None) -> nn.Module:
    """Turns a model into its inference form, in place: same predictions, less work.

    Batch norms are folded into convolutions; maps are channels-last from the backbone to the heads;
    linear layers are computed by oneDNN where that is faster; FasterViT and the classifier switch
    to their own inference form. Layers are found by their class, and what is of another class stays
    as it is. Use the model under `torch.no_grad()` or `torch.inference_mode()`.

    In reduced precision, backbone, neck and heads compute in it. What heads give is float32 again:
    boxes, scores and masks are made in it, as are the operators of mmcv.

    The form computes with the weights that the model has now. Training it, reading its `state_dict`
    and loading a checkpoint into it raise `DeployedModelError`; it can be copied.

    Args:
        model: A model of MMDetection, MMSegmentation or MMDetection3D, a classifier or a backbone,
            with its trained weights and in evaluation, on the device that it is used on.
        dtype: 'float32' or None; 'bfloat16', which is faster where the processor or GPU has
            instructions for it; 'float16' on a GPU; or such a dtype of torch.

    Returns:
        The model. One that is in this form already is left as it is.

    Raises:
        ConfigError: If the model is in training, the dtype is none of these or not for the model's
            device, or the model is in the inference form of another dtype.

    Examples:
        >>> model = optimize_for_inference(model.eval(), 'bfloat16')
        >>> with torch.inference_mode():
        ...     predictions = model.test_step(batch)
    """
    wanted = _checked_dtype(dtype, model)
    mark = model._modules.get(_MARK)
    if isinstance(mark, InferenceForm):
        if mark.dtype != wanted:
            raise ConfigError(
                f'dtype is {wanted}, but the model was optimized for inference in {mark.dtype} '
                'already: build it again to take another one.'
            )
        return model
    if model.training:
        raise ConfigError(
            f'the {type(model).__name__} is in training, but must be trained and in evaluation to '
            'be optimized for inference: call its eval() first.'
        )
    with torch.no_grad():
        for module in list(model.modules()):
            if isinstance(module, (FasterViT, ImageClassifier)):
                module.switch_to_deploy()
        fold_batch_norms(model)
    _replace_layers(model, wanted)
    keep_operators_inputs(model, but=sample_tokens(model))
    prepare_parts(model, None if wanted == torch.float32 else wanted)
    children = dict(model._modules)
    # As the first child it refuses before others have changed.
    model._modules.clear()
    model._modules.update({_MARK: InferenceForm(wanted), **children})
    return model


def _checked_dtype(dtype: torch.dtype | str | None, model: nn.Module) -> torch.dtype:
    known = {str(each).removeprefix('torch.'): each for each in DTYPES}
    name = 'float32' if dtype is None else str(dtype).removeprefix('torch.')
    if name not in known:
        raise ConfigError(f'dtype is {name}, but must be one of {", ".join(known)}.')
    device = next((each.device.type for each in model.parameters()), 'cpu')
    if name == 'float16' and device == 'cpu':
        raise ConfigError(
            'dtype is float16, but must be float32 or bfloat16 for a model that is on a processor.'
        )
    return known[name]


def _replace_layers(model: nn.Module, dtype: torch.dtype) -> None:
    """Gives layers their fast forms and the dtype, but for those that operators hold."""
    for kind, fast in FAST_FORMS.items():
        for layer in list(layers_of(model, kind)):
            layer.to(dtype).__class__ = fast
            if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
                layer.weight.data = layer.weight.contiguous(memory_format=torch.channels_last)
    for held in list(layers_of(model, nn.Linear, in_operators=True)):
        held.__class__ = FastLinear
    for module in model.modules():
        if isinstance(module, WindowPruning):
            module.to(dtype)
            module.keep_channels_last()


class InferenceForm(nn.Module):
    """Marks a model as being in its inference form, and refuses what the form cannot do.

    Args:
        dtype: What the model computes in.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.training = False

    def forward(self, given: Any) -> Any:
        """Returns what it is given: in an `nn.Sequential` it is one of the layers."""
        return given

    def train(self, mode: bool = True) -> InferenceForm:
        """Stays in evaluation.

        Raises:
            DeployedModelError: If training is asked for.
        """
        if mode:
            raise DeployedModelError(
                'this model was optimized for inference and cannot be trained: build it again and '
                'load its checkpoint.'
            )
        return self

    def _save_to_state_dict(self, *_: Any) -> None:
        raise DeployedModelError(
            'this model was optimized for inference, so its weights are no checkpoint: save those '
            'of the model before it was optimized.'
        )

    def _load_from_state_dict(self, *_: Any) -> None:
        raise DeployedModelError(
            'this model was optimized for inference and takes no checkpoint: load it before the '
            'model is optimized.'
        )
