"""Counts which share of the object pixels a backbone computed, beside the share of all pixels."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, pad

from sparsevit_mm.pruning.selection import WindowSelection


class ObjectShare:
    """Adds up computed pixels over images and blocks.

    A pixel counts as computed by a block if the block computed the token it lies in. Blocks that
    skip nothing are left out.

    Args:
        patch_size: Side of a token of stage 0 in pixels; it doubles from stage to stage.
    """

    def __init__(self, patch_size: int = 4) -> None:
        self._patch_size = patch_size
        # By stage: pixels that blocks computed, and all they could; first those of objects.
        self._computed: dict[int, Tensor] = {}
        self._total: dict[int, Tensor] = {}

    def add(
        self, selections: Sequence[WindowSelection], objects: Tensor | None, index: int = 0
    ) -> None:
        """Adds an image.

        Args:
            selections: What every block computed in one forward.
            objects: (H, W) bool, the object pixels of the image as the backbone saw it, without the
                padding on the right and below; None if they are not known, then padding counts.
            index: Which image of the batch it is.
        """
        if objects is None:
            first = selections[0].grid
            side = self._patch_size * 2 ** selections[0].stage
            objects = torch.zeros(first.height * side, first.width * side, dtype=torch.bool)
        pixels = torch.stack([objects, torch.ones_like(objects)]).double()
        in_tokens: dict[int, Tensor] = {}
        for selection in selections:
            if selection.windows.kept is None:
                continue
            stage, grid = selection.stage, selection.grid
            if stage not in in_tokens:
                in_tokens[stage] = self._per_token(pixels, stage, grid.height, grid.width)
            of_tokens = in_tokens[stage]
            computed = (of_tokens * selection.computed_tokens(index)).sum((1, 2))
            self._computed[stage] = self._computed.get(stage, 0) + computed
            self._total[stage] = self._total.get(stage, 0) + of_tokens.sum((1, 2))

    @property
    def objects(self) -> float | None:
        """Computed share of the object pixels; None if no image had any."""
        return self._share(0, self._total)

    @property
    def all(self) -> float | None:
        """Computed share of all pixels; None if no block skipped any."""
        return self._share(1, self._total)

    def of_stage(self, stage: int) -> tuple[float | None, float | None]:
        """The shares `objects` and `all` of one stage, by its index."""
        stages = [stage] if stage in self._total else []
        return self._share(0, stages), self._share(1, stages)

    def _share(self, kind: int, stages: Iterable[int]) -> float | None:
        total = sum(float(self._total[stage][kind]) for stage in stages)
        computed = sum(float(self._computed[stage][kind]) for stage in stages)
        return computed / total if total else None

    def _per_token(self, pixels: Tensor, stage: int, height: int, width: int) -> Tensor:
        """(2, height, width) pixels of each kind in every token."""
        side = self._patch_size * 2**stage
        missing = (width * side - pixels.shape[2], height * side - pixels.shape[1])
        whole = pad(pixels, (0, missing[0], 0, missing[1]))  # or cut, where a map was rounded down
        return adaptive_avg_pool2d(whole, (height, width)) * side**2
