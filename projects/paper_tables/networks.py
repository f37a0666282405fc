"""Builds the networks of a table's rows, counts them and prepares them for timing."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from mmengine.registry import MODELS
from torch import nn

from projects.paper_tables.table import Row
from sparsevit_mm.models.swin_arch import SwinArch
from sparsevit_mm.profiling.macs import backbone_macs
from sparsevit_mm.profiling.model_macs import model_macs
from sparsevit_mm.pruning.schedule import PruningSchedule


def build_network(row: Row, device: str | torch.device = 'cpu') -> nn.Module:
    """Builds the network of a row with random weights, in evaluation.

    Args:
        row: A row that has a network.
        device: Where its parameters live; 'meta' gives them a shape and no memory.
    """
    with torch.device(device):
        return MODELS.build(deepcopy(_plain(row.network))).eval()


def inference_form(network: nn.Module) -> nn.Module:
    """Switches a network to its inference form in place, if it has one."""
    switch = getattr(network, 'switch_to_deploy', None)
    if callable(switch):
        switch()
    return network


def count_parameters(row: Row) -> int:
    """Counts the parameters of the network of a row."""
    return sum(parameter.numel() for parameter in build_network(row, 'meta').parameters())


def count_macs(row: Row, batch: int) -> int:
    """Counts the multiply-accumulates of the network of a row in its inference form.

    Swin backbones, with and without a schedule, are counted by formula, other networks by running
    them, on the meta device where the network allows it.

    Args:
        row: A row that has a network.
        batch: Images to sum over.
    """
    assert row.height is not None
    assert row.width is not None
    network = build_network(row, 'meta')
    arch, schedule = getattr(network, 'arch', None), getattr(network, 'pruning_schedule', None)
    if isinstance(arch, SwinArch) and isinstance(schedule, PruningSchedule):
        return backbone_macs(arch, schedule, row.height, row.width, batch).total
    # Swin's index maps hold numbers, so a network with any of them runs for real.
    backbone = getattr(network, 'backbone', network)
    device = 'cpu' if isinstance(getattr(backbone, 'arch', None), SwinArch) else 'meta'
    network = inference_form(build_network(row, device))
    images = torch.zeros(1, 3, row.height, row.width, device=device)
    with torch.no_grad():
        network(images)  # what networks remember between images is not counted
    return batch * model_macs(network, lambda: network(images)).total


def _plain(value: Any) -> Any:
    """Returns plain dictionaries and lists, as the registry needs them."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return list(map(_plain, value)) if isinstance(value, (list, tuple)) else value
