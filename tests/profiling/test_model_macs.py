"""Counting a whole model: its parts add up, and a backbone counts what the formula says."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sparsevit_mm import SparseViT
from sparsevit_mm.profiling.macs import backbone_macs
from sparsevit_mm.profiling.model_macs import model_macs


class Detector(nn.Module):
    """A backbone, a head that is called, and one of which only a part is."""

    def __init__(self, ratios):
        super().__init__()
        self.backbone = SparseViT(
            embed_dims=8, depths=(2, 1), num_heads=(1, 2), out_indices=(1,), window_size=4,
            pruning_ratios=ratios,
        )  # fmt: skip
        self.head = nn.Conv2d(16, 5, 3, padding=1)
        self.roi_head = nn.ModuleDict({'fc': nn.Linear(5, 7)})
        self.loss = nn.CrossEntropyLoss()

    def forward(self, images):
        features = self.head(self.backbone(images)[0])
        return self.roi_head['fc'](features.mean((2, 3)))


@pytest.mark.parametrize('ratios', [0, [0.5, 0.25]])
def test_parts_of_a_model(ratios):
    model = Detector(ratios).eval()
    macs = model_macs(model, lambda: model(torch.rand(2, 3, 48, 64)))
    schedule = model.backbone.pruning_schedule
    expected = backbone_macs(model.backbone.arch, schedule, 48, 64, batch=2).total
    assert macs.parts == {
        'backbone': expected,
        'head': 2 * 6 * 8 * 16 * 5 * 9,  # 12 x 16 tokens, halved by the merging
        'roi_head': 2 * 5 * 7,
    }
    assert macs.total == sum(macs.parts.values())


def test_fused_attention_is_counted():
    class Attention(nn.Module):
        def forward(self, x):
            return nn.functional.scaled_dot_product_attention(x, x, x)

    model = Attention()
    macs = model_macs(model, lambda: model(torch.rand(3, 2, 10, 4)))
    assert macs.total == 2 * 3 * 2 * 10 * 10 * 4


def test_no_graph_is_kept():
    model = nn.Linear(3, 3)
    outputs = []
    model_macs(model, lambda: outputs.append(model(torch.rand(1, 3))))
    assert not outputs[0].requires_grad
