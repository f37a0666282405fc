"""Older and newer names of torch give the same answers."""

from __future__ import annotations

import warnings

import pytest
import torch

from sparsevit_mm.ops import backend, compat


@pytest.fixture(params=['this torch', 'torch 2.1'])
def any_torch(request, monkeypatch):
    if request.param == 'torch 2.1':
        monkeypatch.delattr(torch.amp, 'is_autocast_available', raising=False)


def test_dtype_of_products_under_autocast(any_torch):
    def found(device_type):
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', DeprecationWarning)
            return backend.autocast_dtype(device_type)

    assert found('cpu') is None
    assert found('cuda') is None
    with torch.autocast('cpu', torch.bfloat16):
        assert found('cpu') is torch.bfloat16
        assert found('cuda') is None
        with torch.autocast('cpu', enabled=False):
            assert found('cpu') is None


def test_plain_attention_is_two_products_and_a_softmax():
    query, key, value = torch.randn(3, 2, 4, 5, 8).unbind()
    expected = (query @ key.transpose(-1, -2) * 8**-0.5).softmax(-1) @ value
    with compat.plain_attention(), torch.profiler.profile() as seen:
        found = torch.nn.functional.scaled_dot_product_attention(query, key, value)
    torch.testing.assert_close(found, expected)
    assert 'aten::_scaled_dot_product_attention_math' in {
        event.key for event in seen.key_averages()
    }
