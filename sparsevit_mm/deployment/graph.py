"""Exports a model as a graph of `torch.export`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from sparsevit_mm.deployment.image_bytes import FromBytes
from sparsevit_mm.deployment.predictions import Predictions, exportable_post_processing
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.models.fastervit import FasterViT
from sparsevit_mm.ops.compat import can_export, plain_attention
from sparsevit_mm.versions import TORCH

if TYPE_CHECKING:
    from torch.export import ExportedProgram

SMALLEST_SIDE = 32
"""Smallest side of images, in pixels, of a graph with dynamic size: the last stride."""


def export_graph(
    model: nn.Module,
    images: Tensor,
    *others: Tensor,
    dynamic_batch: bool = False,
    dynamic_size: bool = False,
) -> ExportedProgram:
    """Exports a model that takes images.

    The graph of a SparseViT ranks the windows and selects the top k, where k is fixed by the
    pruning schedule and the size of `images`.

    Args:
        model: The model; it is switched to evaluation mode.
        images: (B, C, H, W) of the size to export for, or (B, H, W, C) for `FromBytes`.
        *others: What the model takes besides, such as cameras: something for each image.
        dynamic_batch: Whether the graph accepts any number of images.
        dynamic_size: Whether the graph accepts any size from 32 pixels on; only for a FasterViT
            that computes all windows.

    Returns:
        The graph.

    Raises:
        ConfigError: If `dynamic_size` is set for another model than a FasterViT that computes all
            windows, or torch is too old.
    """
    if dynamic_size and isinstance(getattr(model, 'module', model), Predictions):
        raise ConfigError(
            'dynamic_size is asked for predictions, but where anchors lie and how many candidates '
            "there are is fixed for one size: write a file for each size, or use part='backbone'."
        )
    if dynamic_size and not isinstance(model, FasterViT):
        raise ConfigError(
            f'dynamic_size is asked for {type(model).__name__}, but only the graph of a FasterViT '
            'backbone takes any size: the number of windows that a SparseViT keeps and the pooling '
            'of heads are fixed for one size.'
        )
    if dynamic_size and isinstance(model, FasterViT) and not model.pruning_schedule.is_dense:
        raise ConfigError(
            f'dynamic_size is asked for a {type(model).__name__} that skips windows, but how many '
            'it keeps is fixed for one size: leave the size fixed, or set pruning_ratios to 0.'
        )
    if not can_export():
        raise ConfigError(f'torch is {torch.__version__}, but export needs {TORCH} or one near it.')
    from torch.export import Dim

    symbols: Any = import_module('torch.fx.experimental._config')
    model.eval()
    sides: dict[int, Any] = {}
    if dynamic_batch:
        sides[0] = Dim('batch', min=1)
    if dynamic_size:
        images = _of_several_windows(model, images)
        sides[2], sides[3] = (Dim(name, min=SMALLEST_SIDE) for name in ('height', 'width'))
    if dynamic_batch and images.shape[0] == 1:
        # A batch of 1 would become a constant.
        images, *more = (torch.cat([value, value]) for value in (images, *others))
        others = tuple(more)
    # The exporter must not assume that a size is neither 0 nor 1: a stage may be a single window.
    oblivious = symbols.patch(backed_size_oblivious=True)
    # The graph would otherwise depend on the memory layout that only fused attention returns.
    with torch.no_grad(), plain_attention(), oblivious, exportable_post_processing():
        model(images, *others)  # builds the index maps for this size, which become constants
        program = torch.export.export(
            model,
            (images, *others),
            dynamic_shapes=_shapes(model, sides, len(others)),
            strict=False,
            prefer_deferred_runtime_asserts_over_guards=True,
        )
    _drop_size_assertions(program)
    return program


def _shapes(model: nn.Module, sides: dict[int, Any], others: int) -> Any:
    """Which sides of the inputs are dynamic, as `torch.export` nests the arguments."""
    of_others = tuple(
        {axis: side for axis, side in sides.items() if axis == 0} for _ in range(others)
    )
    if isinstance(model, FromBytes) and others:
        return (sides or None, of_others)
    return (sides or None, *of_others)


def _of_several_windows(model: Any, images: Tensor) -> Tensor:
    """Images for which every stage has several windows: of a single one no dynamic graph is made.

    Returns:
        The given images, or blank ones of the next larger sizes that do.
    """
    one_window = SMALLEST_SIDE * max(model.arch.window_size)
    height, width = (
        side if side > one_window else one_window + more * SMALLEST_SIDE
        for side, more in zip(images.shape[-2:], (1, 3))
    )
    if images.shape[-2:] == (height, width):
        return images
    return images.new_zeros(*images.shape[:2], height, width)


def _drop_size_assertions(program: ExportedProgram) -> None:
    """Removes the exporter's assumptions about sizes, which come from comparing strides.

    One of them is that no stage is a single window. No result depends on them.
    """
    graph = program.graph_module.graph
    for node in list(graph.nodes):
        if node.op == 'call_function' and node.target == torch.ops.aten._assert_scalar.default:
            graph.erase_node(node)
    graph.eliminate_dead_code()
    program.graph_module.recompile()
