"""Stochastic depth by image, for tokens that are grouped in windows."""

from __future__ import annotations

from torch import Tensor, nn


class DropPath(nn.Module):
    """Drops a residual branch for whole images.

    All windows of an image share their fate, as all tokens of an image do in Swin.

    Args:
        rate: Probability of dropping the branch of an image in training, 0 <= rate < 1.
    """

    def __init__(self, rate: float = 0.0) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, branch: Tensor, batch_size: int) -> Tensor:
        """Drops and rescales.

        Args:
            branch: (W, ...), ordered image by image, equally many windows in each.
            batch_size: Images in the batch.

        Returns:
            (W, ...), the same in expectation.
        """
        if self.rate == 0 or not self.training:
            return branch
        keep = 1 - self.rate
        images = branch.new_empty(batch_size).bernoulli_(keep).div_(keep)
        factors = images.repeat_interleave(branch.shape[0] // batch_size)
        return branch * factors.view(-1, *[1] * (branch.ndim - 1))

    def extra_repr(self) -> str:
        """Shows the rate in a printed model."""
        return f'rate={self.rate:g}'
