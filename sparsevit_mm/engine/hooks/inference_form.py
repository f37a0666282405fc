"""Puts the model into its inference form before it is tested."""

from __future__ import annotations

from mmengine.hooks import EMAHook, Hook
from mmengine.runner import Runner
from torch import nn

from sparsevit_mm.deployment.inference_form import optimize_for_inference
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.registry import HOOKS


@HOOKS.register_module()
class InferenceFormHook(Hook):
    """Optimizes the model for inference once its weights are loaded, see `optimize_for_inference`.

    The model stays in this form: nothing may be trained or saved after the test.

    Args:
        dtype: What the model computes in: 'float32', 'bfloat16' or 'float16'.
    """

    priority = 'LOWEST'

    def __init__(self, dtype: str = 'float32') -> None:
        self.dtype = dtype

    def before_train(self, runner: Runner) -> None:
        """Refuses training."""
        raise ConfigError(
            'custom_hooks has an InferenceFormHook, but a model in its inference form cannot be '
            'trained: take the hook out of the config and use it for tests alone.'
        )

    def before_test_epoch(self, runner: Runner) -> None:
        """Optimizes the model, or what its wrappers hold."""
        # The averaged weights are in place by now, and would not fit back into the changed model.
        runner._hooks = [hook for hook in runner._hooks if not isinstance(hook, EMAHook)]
        model = runner.model
        while isinstance(getattr(model, 'module', None), nn.Module):
            model = model.module
        model.eval()
        optimize_for_inference(model, self.dtype)
