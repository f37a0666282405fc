"""Sizes of feature maps as plain numbers where MMDetection makes tensors of them, for exports.

Deformable attention over several maps splits and reshapes by a tensor of their sizes, whose values
`torch.export` does not know. `MapSizes` is an array of numbers that answers what such a tensor is
asked, and becomes a tensor where it is computed with one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class MapSizes:
    """Numbers in place of a small tensor of integers.

    Args:
        numbers: The numbers.
    """

    def __init__(self, numbers: NDArray[np.int64]) -> None:
        self.numbers = numbers

    @classmethod
    def of(cls, feature_map: Tensor) -> MapSizes:
        """Stands for `torch._shape_as_tensor`.

        Args:
            feature_map: (B, C, H, W); how many images there are is not asked for.
        """
        return cls(np.array([0, *feature_map.shape[1:]]))

    @classmethod
    def __torch_function__(
        cls, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if function is torch.cat:
            return cls(np.concatenate([part.numbers for part in args[0]]))
        return function(*_as_tensors(args), **_as_tensors(kwargs or {}))

    def __iter__(self) -> Iterator[Any]:
        return (self[place] for place in range(len(self.numbers)))

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, place: Any) -> Any:
        return _wrapped(self.numbers[place])

    def __mul__(self, other: Any) -> Any:
        return _wrapped(self.numbers * (other.numbers if isinstance(other, MapSizes) else other))

    def __rtruediv__(self, other: Tensor) -> Tensor:
        return other / torch.as_tensor(self.numbers)

    def to(self, *_: Any) -> MapSizes:
        """Itself: numbers are on no device."""
        return self

    def view(self, *shape: int) -> MapSizes:
        """The same numbers in another shape."""
        return MapSizes(self.numbers.reshape(shape))

    def unsqueeze(self, axis: int) -> MapSizes:
        """With an axis of one more."""
        return MapSizes(np.expand_dims(self.numbers, axis))

    def flip(self, dims: Any) -> MapSizes:
        """In reverse order along axes."""
        return MapSizes(np.flip(self.numbers, dims))

    def new_zeros(self, shape: Any) -> MapSizes:
        """Zeros."""
        return MapSizes(np.zeros(shape, dtype=np.int64))

    def prod(self, axis: int) -> MapSizes:
        """Products along an axis."""
        return MapSizes(self.numbers.prod(axis))

    def cumsum(self, axis: int) -> MapSizes:
        """Sums of all numbers up to each along an axis."""
        return MapSizes(self.numbers.cumsum(axis))

    def sum(self) -> int:
        """Sum of all numbers."""
        return int(self.numbers.sum())


def _wrapped(numbers: Any) -> Any:
    return MapSizes(numbers) if isinstance(numbers, np.ndarray) else int(numbers)


def _as_tensors(value: Any) -> Any:
    if isinstance(value, MapSizes):
        return torch.as_tensor(np.ascontiguousarray(value.numbers))
    if isinstance(value, dict):
        return {key: _as_tensors(item) for key, item in value.items()}
    return type(value)(map(_as_tensors, value)) if type(value) in (list, tuple) else value
