"""What a training step of SparseViT computes and keeps: as much as the kept windows need."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from sparsevit_mm import SparseViT

RATIOS = (0.0, 0.5, 0.75)
IMAGES = dict(size=(2, 3, 128, 128))  # 8 x 8 windows of 4 x 4 tokens


@pytest.fixture(scope='module')
def costs():
    """Operations and bytes kept for the backward pass, for each ratio."""
    found = []
    for ratio in RATIOS:
        torch.manual_seed(0)
        net = SparseViT(
            embed_dims=16,
            depths=(4,),
            num_heads=(2,),
            window_size=4,
            out_indices=(0,),
            drop_path_rate=0.0,
            pruning_ratios=ratio,
        ).train()
        images, kept = torch.randn(**IMAGES), {}

        def keep(tensor, kept=kept):
            storage = tensor.untyped_storage()
            kept[storage.data_ptr()] = storage.nbytes()
            return tensor

        parameters = {p.untyped_storage().data_ptr() for p in net.parameters()}
        with FlopCounterMode(display=False) as counter:
            with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
                total = sum(output.sum() for output in net(images))
            total.backward()
        num_bytes = sum(size for pointer, size in kept.items() if pointer not in parameters)
        found.append((counter.get_total_flops(), num_bytes))
    return found


def test_operations_follow_the_kept_windows(costs):
    """Each ratio keeps half the windows of the one before, so differences halve too."""
    dense, half, quarter = (operations for operations, _ in costs)
    assert dense - half == 2 * (half - quarter)
    # What is left without any window is the patch embedding.
    assert 0 <= 2 * half - dense < 0.1 * dense


def test_kept_activations_follow_the_kept_windows(costs):
    dense, half, quarter = (num_bytes for _, num_bytes in costs)
    assert dense - half == pytest.approx(2 * (half - quarter), rel=0.05)
    assert half < 0.6 * dense
    assert quarter < 0.4 * dense
