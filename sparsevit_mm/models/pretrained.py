"""How a backbone gets its first weights: at random, or from the checkpoint of its `init_cfg`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from mmengine.logging import print_log
from mmengine.model import BaseModule
from torch import nn
from torch.nn.init import trunc_normal_


class PretrainedBackbone(BaseModule):
    """A backbone whose `init_cfg` may name a checkpoint of one of several layouts."""

    def init_weights(self) -> None:
        """Initializes the parameters, from a checkpoint if `init_cfg` names one.

        Raises:
            CheckpointError: If the checkpoint is not one of this network or of other sizes.
        """
        self.reset_parameters()
        entries = self.init_cfg if isinstance(self.init_cfg, (list, tuple)) else [self.init_cfg]
        pretrained = [entry for entry in entries if entry and entry['type'] == 'Pretrained']
        if self.init_cfg and not pretrained:
            super().init_weights()
        for entry in pretrained:
            print_log(f'{type(self).__name__}: {self.load_pretrained(entry)}', logger='current')
        self._is_init = True

    def reset_parameters(self) -> None:
        """Truncated normal weights and zero biases in every linear layer."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    @abstractmethod
    def load_pretrained(self, entry: Mapping[str, Any]) -> Any:
        """Loads a checkpoint.

        Args:
            entry: An `init_cfg` of type 'Pretrained'.

        Returns:
            What was loaded, to be printed.
        """
