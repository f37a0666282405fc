"""A model as a graph of `torch.export`."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from sparsevit_mm.errors import ConfigError
from sparsevit_mm.models.fastervit import FasterViT
from sparsevit_mm.ops.compat import plain_attention
from sparsevit_mm.versions import TORCH

SMALLEST_SIDE = 32
"""Pixels from which on a graph takes any size: the stride of the last level."""


def export_graph(
    model: nn.Module, images: Tensor, *, dynamic_batch: bool = False, dynamic_size: bool = False
) -> ExportedProgram:
    """Exports a model that takes images alone.

    The pruning schedule of a SparseViT is baked in: its graph ranks windows and takes the top k,
    with k as the schedule and the size of `images` give it.

    Args:
        model: The model; it is switched to evaluation.
        images: (B, C, H, W) of the size to export for.
        dynamic_batch: Whether the graph takes any number of images.
        dynamic_size: Whether the graph takes images of any size from 32 pixels on; only FasterViT.

    Returns:
        The graph.

    Raises:
        ConfigError: If any size is asked for and the model is no FasterViT, or torch is too old.
    """
    if dynamic_size and not isinstance(model, FasterViT):
        raise ConfigError(
            f'dynamic_size is asked for {type(model).__name__}, but only the graph of a FasterViT '
            'backbone takes any size: windows that a SparseViT keeps and poolings of heads are '
            'counted for one.'
        )
    symbols: Any = import_module('torch.fx.experimental._config')
    if not hasattr(symbols, 'backed_size_oblivious'):
        raise ConfigError(f'torch is {torch.__version__}, but export needs {TORCH} or one near it.')
    model.eval()
    sides: dict[int, Any] = {}
    if dynamic_batch:
        sides[0] = Dim('batch', min=1)
    if dynamic_size:
        sides[2], sides[3] = (Dim(name, min=SMALLEST_SIDE) for name in ('height', 'width'))
    if dynamic_batch and images.shape[0] == 1:
        images = images.repeat(2, 1, 1, 1)  # 1 would be taken for a constant
    # With symbols that are not told apart from 0 and 1, a level may be a single window.
    oblivious = symbols.patch(backed_size_oblivious=True)
    # Fused attention lays its result out as no other form does, and the graph would rely on it.
    with torch.no_grad(), plain_attention(), oblivious:
        model(images)  # index maps of the size are made here and become constants
        program = torch.export.export(
            model,
            (images,),
            dynamic_shapes=(sides or None,),
            strict=False,
            prefer_deferred_runtime_asserts_over_guards=True,
        )
    _drop_size_assertions(program)
    return program


def _drop_size_assertions(program: ExportedProgram) -> None:
    """Takes away what the exporter assumed about sizes when it compared the strides of maps.

    It assumes, for instance, that no level is a single window. Nothing computed depends on that.
    """
    graph = program.graph_module.graph
    for node in list(graph.nodes):
        if node.op == 'call_function' and node.target == torch.ops.aten._assert_scalar.default:
            graph.erase_node(node)
    graph.eliminate_dead_code()
    program.graph_module.recompile()
