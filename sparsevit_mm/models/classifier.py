"""A backbone, a final norm, average pooling and a linear head.

Parameter names are `backbone.…`, `norm.…` and `head.…`; FasterViT's authors call the last two the
same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from mmengine.model import BaseModel
from torch import Tensor, nn
from torch.nn.init import trunc_normal_

from sparsevit_mm.checkpoints.loading import read_weights
from sparsevit_mm.errors import CheckpointError, ConfigError
from sparsevit_mm.registry import MODELS

FINAL_NORMS = ('BN', 'none')


@MODELS.register_module()
class ImageClassifier(BaseModel):
    """Classifies images by the last feature map of a backbone.

    Args:
        backbone: Config of the backbone; its last map is used.
        in_channels: Channels of that map.
        num_classes: Classes.
        final_norm: 'BN' for a batch norm before the pooling, as FasterViT has, or 'none', for
            backbones that norm their output.
        label_smoothing: Share of the target that is spread over all classes in training.
        data_preprocessor: By default mmengine's `ImgDataPreprocessor` with ImageNet's statistics.
        init_cfg: `dict(type='Pretrained', checkpoint=...)` takes a whole classifier, such as the
            FasterViT authors' files; a head for another number of classes is left at its start.

    Raises:
        ConfigError: If an argument is outside what is allowed.
    """

    def __init__(
        self,
        backbone: Mapping[str, Any],
        in_channels: int,
        num_classes: int = 1000,
        final_norm: str = 'BN',
        label_smoothing: float = 0.0,
        data_preprocessor: Any = None,
        init_cfg: Any = None,
    ) -> None:
        super().__init__(data_preprocessor or imagenet_preprocessor(), init_cfg)
        if final_norm not in FINAL_NORMS:
            raise ConfigError(f"final_norm is {final_norm!r}, but must be 'BN' or 'none'.")
        if num_classes < 1:
            raise ConfigError(f'num_classes is {num_classes}, but must be positive.')
        if not 0 <= label_smoothing < 1:
            raise ConfigError(
                f'label_smoothing is {label_smoothing}, but must be at least 0 and below 1.'
            )
        self.backbone = MODELS.build(backbone)
        self.norm = nn.BatchNorm2d(in_channels) if final_norm == 'BN' else nn.Identity()
        self.head = nn.Linear(in_channels, num_classes)
        self.label_smoothing = label_smoothing

    def forward(
        self, inputs: Tensor, data_samples: Sequence[int] | None = None, mode: str = 'tensor'
    ) -> Tensor | dict[str, Tensor] | list[dict[str, Any]]:
        """Classifies a batch.

        Args:
            inputs: (B, 3, H, W), normalized.
            data_samples: (B,) labels; needed for 'loss'.
            mode: 'tensor', 'loss' or 'predict'.

        Returns:
            'tensor': (B, num_classes) logits; 'loss': the loss by name; 'predict': for each image
            its `scores` (num_classes,) and, if known, `label`.
        """
        features = self.norm(self.backbone(inputs)[-1])
        logits = self.head(features.mean((2, 3)))
        if mode == 'loss':
            assert data_samples is not None, 'training needs labels'
            labels = torch.as_tensor(data_samples, device=logits.device)
            loss = F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)
            return {'loss': loss}
        if mode == 'predict':
            scores = logits.softmax(-1)
            known = [None] * len(scores) if data_samples is None else data_samples
            return [
                {'scores': score} if label is None else {'scores': score, 'label': label}
                for score, label in zip(scores, known)
            ]
        return logits

    def switch_to_deploy(self) -> ImageClassifier:
        """Turns backbone and head into their inference form, in place: same outputs, less work.

        Returns:
            The classifier, in evaluation.
        """
        self.eval()
        if hasattr(self.backbone, 'switch_to_deploy'):
            self.backbone.switch_to_deploy()
        if isinstance(self.norm, nn.BatchNorm2d):
            norm, head = self.norm, self.head
            assert norm.running_mean is not None
            assert norm.running_var is not None
            with torch.no_grad():
                factor = norm.weight * (norm.running_var + norm.eps).rsqrt()
                # The mean over places commutes with the norm.
                head.bias.add_(head.weight @ (norm.bias - norm.running_mean * factor))
                head.weight.mul_(factor)
            self.norm = nn.Identity()
        return self

    def init_weights(self) -> None:
        """Initializes the parameters, from a checkpoint if `init_cfg` names one.

        Raises:
            CheckpointError: If the checkpoint does not fit.
        """
        trunc_normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)
        if not (self.init_cfg and self.init_cfg.get('type') == 'Pretrained'):
            self.backbone.init_weights()
            return
        path = self.init_cfg['checkpoint']
        self.backbone.init_cfg = dict(self.init_cfg)
        self.backbone.init_weights()
        weights = read_weights(path)
        for part in ('norm', 'head'):
            self._load_part(part, weights, path)
        self._is_init = True

    def _load_part(self, part: str, weights: Mapping[str, Tensor], path: str) -> None:
        """Loads the norm or the head from a file that has one for as many channels and classes."""
        own = {f'{part}.{name}': value for name, value in getattr(self, part).state_dict().items()}
        found = {name: weights[name] for name in own if name in weights}
        if not own or not found:
            return
        weight = found.get(f'{part}.weight', found[next(iter(found))])
        wanted = own[f'{part}.weight']
        if weight.shape[-1:] != wanted.shape[-1:]:
            raise CheckpointError(
                f'the checkpoint {path} has a {part} for {weight.shape[-1]} channels, but the '
                f'classifier has {wanted.shape[-1]}.'
            )
        if weight.shape != wanted.shape:
            print_log(
                f'ImageClassifier: the head of {path} is for {weight.shape[0]} classes, ours for '
                f'{wanted.shape[0]}: it is left at its start.',
                logger='current',
            )
            return
        with torch.no_grad():
            getattr(self, part).load_state_dict(
                {name[len(part) + 1 :]: value for name, value in found.items()}, strict=False
            )


def imagenet_preprocessor() -> dict[str, Any]:
    """Statistics that ImageNet networks are trained with; images come as BGR."""
    return dict(
        type='ImgDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
    )
