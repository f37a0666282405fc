"""The inference form of a whole model: the same predictions in less time, but no more training."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from sparsevit_mm.deployment.batch_norms import fold_batch_norms
from sparsevit_mm.deployment.heads import give_plain_outputs
from sparsevit_mm.deployment.operators import keep_operators_inputs
from sparsevit_mm.deployment.plain_layers import layers_of
from sparsevit_mm.errors import ConfigError, DeployedModelError
from sparsevit_mm.models.classifier import ImageClassifier
from sparsevit_mm.models.fastervit import FasterViT
from sparsevit_mm.models.window_pruning import WindowPruning
from sparsevit_mm.ops.tokens import product

_MARK = 'inference_form'


def optimize_for_inference(model: nn.Module) -> nn.Module:
    """Turns a model into its inference form, in place: same predictions, less work.

    Batch norms are folded into convolutions; maps are channels-last from the backbone to the heads;
    linear layers are computed by oneDNN where that is faster; FasterViT and the classifier switch
    to their own inference form. Layers are found by their class, and what is of another class stays
    as it is. Use the model under `torch.no_grad()` or `torch.inference_mode()`.

    The form computes with the weights that the model has now. Training it, reading its `state_dict`
    and loading a checkpoint into it raise `DeployedModelError`; it can be copied.

    Args:
        model: A model of MMDetection, MMSegmentation or MMDetection3D, a classifier or a backbone,
            with its trained weights and in evaluation.

    Returns:
        The model. One that is in this form already is left as it is.

    Raises:
        ConfigError: If the model is in training.

    Examples:
        >>> model = optimize_for_inference(model.eval())
        >>> with torch.inference_mode():
        ...     predictions = model.test_step(batch)
    """
    if model.training:
        raise ConfigError(
            f'the {type(model).__name__} is in training, but must be trained and in evaluation to '
            'be optimized for inference: call its eval() first.'
        )
    if _MARK in model._modules:
        return model
    with torch.no_grad():
        for module in list(model.modules()):
            if isinstance(module, (FasterViT, ImageClassifier)):
                module.switch_to_deploy()
        fold_batch_norms(model)
        for kind in (nn.Conv2d, nn.ConvTranspose2d):
            for conv in layers_of(model, kind):
                conv.weight.data = conv.weight.contiguous(memory_format=torch.channels_last)
    for module in model.modules():
        if isinstance(module, WindowPruning):
            module.keep_channels_last()
    keep_operators_inputs(model)
    for layer in layers_of(model, nn.Linear, in_operators=True):
        layer.__class__ = FastLinear
    give_plain_outputs(model)
    _mark(model)
    return model


class FastLinear(nn.Linear):
    """A linear layer that oneDNN computes where it is the faster."""

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """(..., I) to (..., O)."""
        return product(rows, self.weight, self.bias)


class InferenceForm(nn.Module):
    """Marks a model as being in its inference form, and refuses what the form cannot do."""

    def __init__(self) -> None:
        super().__init__()
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


def _mark(model: nn.Module) -> None:
    """Adds the mark as the first child: it refuses before others have changed."""
    children = dict(model._modules)
    model._modules.clear()
    model._modules.update({_MARK: InferenceForm(), **children})
