"""Window attention, PyTorch's fused operator against products and softmax written out.

Which one the layers use is decided by this measurement.

    python -m benchmarks.attention_forms --out benchmarks/results/performance_cpu.json
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.backbone import measure_and_save
from benchmarks.conditions import describe
from benchmarks.side_by_side import time_forms
from sparsevit_mm.models.window_attention import attend

SHAPES = ((55, 3, 49), (27, 6, 49), (36, 12, 49), (9, 24, 49), (4, 8, 53))
"""Windows, heads and tokens: the stages of Swin-T at 672 x 672 in parts, and FasterViT-0's."""

HEAD_DIM = 32


def written_out(qkv: Tensor, num_heads: int, bias: Tensor) -> Tensor:
    """What `attend` computes, by matrix products and a softmax."""
    query, key, value = qkv.unflatten(-1, (3, num_heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    scores += bias
    return (scores.softmax(-1) @ value).transpose(1, 2).flatten(2)


FORMS: dict[str, Callable[[Tensor, int, Tensor], Tensor]] = {
    'fused': attend,
    'written out': written_out,
}


def measure(
    shapes: Sequence[tuple[int, int, int]],
    *,
    device: torch.device,
    runs: int,
    command: str = '',
) -> dict[str, Any]:
    """Times both forms side by side.

    Args:
        shapes: Windows, heads and tokens of each case.
        device: Where.
        runs: Timed rounds.
        command: What was typed.

    Returns:
        The conditions, and a row for each form and shape.
    """
    rows = []
    for windows, heads, tokens in shapes:
        qkv = torch.randn(windows, tokens, 3 * heads * HEAD_DIM, device=device)
        bias = torch.randn(heads, tokens, tokens, device=device)
        forms = {name: partial(form, qkv, heads, bias) for name, form in FORMS.items()}
        about = dict(windows=windows, heads=heads, tokens=tokens)
        rows += time_forms(forms, about, device=device, runs=runs)
    return dict(**describe(command, device), runs=runs, warmup=3, rows=rows)


def main(argv: Sequence[str] | None = None) -> None:
    """Measures, prints and adds a section to a JSON file."""
    measure_and_save('attention_forms', 'attention', partial(measure, SHAPES), argv)


if __name__ == '__main__':
    main()
