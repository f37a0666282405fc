"""From image features to a bird's-eye-view map: lift, splat (Philion and Fidler, 2020).

For every pixel of a feature map the network predicts a distribution over depths, and features.
Lifting places the features at all depths along the pixel's ray, weighted by their probability;
splatting sums what falls into each cell of a grid on the ground. The only parameters are those of
`depth_net`: everything else may change without breaking checkpoints.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from sparsevit_mm.errors import ConfigError
from sparsevit_mm.registry import MODELS

ROUNDINGS = ('truncate', 'floor')


class Calibration(NamedTuple):
    """Calibration of the cameras of a batch, and the augmentation of images and map.

    Attributes:
        cam2img: (B, N, 3, 3) projections of the N cameras into pixels of their raw images.
        cam2bev: (B, N, 4, 4) poses of the cameras in the frame of the map, meters.
        img_aug: (B, N, 3, 3) affine map from pixels of the raw images to those of the network's.
        bev_aug: (B, 3, 3) from the frame of the map to that of the augmented map.
    """

    cam2img: Tensor
    cam2bev: Tensor
    img_aug: Tensor
    bev_aug: Tensor

    def equals(self, other: Calibration) -> bool:
        """Whether all matrices are equal bit by bit and on the same device."""
        return all(
            mine.device == theirs.device and torch.equal(mine, theirs)
            for mine, theirs in zip(self, other)
        )


@dataclass(frozen=True)
class BEVGrid:
    """Cells of a map on the ground.

    Attributes:
        x: First edge, last edge and size of a cell along x, meters.
        y: The same along y.
        z: The same along z; the levels are folded into channels.
        rounding: How a coordinate becomes a cell index: 'truncate' rounds toward zero as the
            authors' code does, so that the first cell also gets the points less than a cell before
            its edge; 'floor' rounds down.

    Raises:
        ConfigError: If an axis has no cell or `rounding` is unknown.
    """

    x: tuple[float, float, float]
    y: tuple[float, float, float]
    z: tuple[float, float, float]
    rounding: str = 'truncate'

    def __post_init__(self) -> None:
        for axis, (lower, upper, step) in (('x', self.x), ('y', self.y), ('z', self.z)):
            if not (step > 0 and upper - lower >= step):
                raise ConfigError(
                    f'grid.{axis} is {(lower, upper, step)}, but must be the first edge, the last '
                    'edge and the positive size of a cell, with room for at least one.'
                )
        if self.rounding not in ROUNDINGS:
            raise ConfigError(f'rounding is {self.rounding!r}, but must be one of {ROUNDINGS}.')

    @property
    def shape(self) -> tuple[int, int, int]:
        """Cells along x, y and z."""
        nx, ny, nz = (
            round((upper - lower) / step) for lower, upper, step in (self.x, self.y, self.z)
        )
        return nx, ny, nz

    def locate(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Finds the cells of points.

        Args:
            points: (..., 3), meters.

        Returns:
            (..., 3) cell indices along x, y and z, and (...) whether the point is inside the grid.
        """
        lower, _, step = points.new_tensor([self.x, self.y, self.z]).unbind(1)
        places = (points - lower) / step
        # The conversion to integers truncates.
        cells = (places.floor() if self.rounding == 'floor' else places).long()
        return cells, ((cells >= 0) & (cells < cells.new_tensor(self.shape))).all(-1)


def frustum(depths: Tensor, height: int, width: int, stride: int) -> Tensor:
    """Returns the image points of a feature map's pixels at every depth.

    As in the authors' code, points spread evenly from the first pixel of the image to the last;
    they are not the centers of the feature map's cells.

    Args:
        depths: (D,) meters.
        height: Rows h of the feature map.
        width: Columns w of the feature map.
        stride: Pixels of the image per pixel of the feature map.

    Returns:
        (D, h, w, 3): column and row in the network's image, depth.
    """
    options: dict[str, Any] = dict(dtype=depths.dtype, device=depths.device)
    columns = torch.linspace(0, width * stride - 1, width, **options)
    rows = torch.linspace(0, height * stride - 1, height, **options)
    along_depth, down, across = torch.meshgrid(depths, rows, columns, indexing='ij')
    return torch.stack([across, down, along_depth], dim=-1)


def unproject(pixels: Tensor, calibration: Calibration) -> Tensor:
    """Transforms image points with depth into the frame of the augmented map.

    Args:
        pixels: (..., 3) column and row in the network's image, depth; the same for all cameras.
        calibration: Of B frames of N cameras.

    Returns:
        (B, N, ..., 3) points, meters.
    """
    cam2img, cam2bev, img_aug, bev_aug = (part.to(pixels.dtype) for part in calibration)
    bev_aug = bev_aug[:, None]
    rays = bev_aug @ cam2bev[..., :3, :3] @ torch.linalg.inv(img_aug @ cam2img)
    return along_rays(pixels, rays, bev_aug @ cam2bev[..., :3, 3:])


def along_rays(pixels: Tensor, rays: Tensor, origins: Tensor) -> Tensor:
    """Places of image points with depth.

    Args:
        pixels: (..., 3) column and row in the network's image, depth; the same for all cameras.
        rays: (B, N, 3, 3) from (column, row, 1) to the direction of a pixel.
        origins: (B, N, 3, 1) places of the cameras, meters.

    Returns:
        (B, N, ..., 3) points, meters.
    """
    depths = pixels[..., 2:]
    scaled = torch.cat([pixels[..., :2] * depths, depths], dim=-1).flatten(0, -2)
    points = scaled @ rays.transpose(-1, -2) + origins.transpose(-1, -2)
    return points.unflatten(-2, pixels.shape[:-1])


class _Hits(NamedTuple):
    """Flat indices of the K lifted points that fall into the map.

    Attributes:
        points: (K,) indices of the points, in the order (B, N, D, h, w).
        pixels: (K,) indices of their pixels, in the order (B, N, h, w).
        cells: (K,) indices of their cells, in the order (B, z, y, x).
    """

    points: Tensor
    pixels: Tensor
    cells: Tensor


class _CachedHits(NamedTuple):
    """The hits of one calibration and one (h, w) size of feature maps. Never modified."""

    calibration: Calibration
    size: tuple[int, int]
    hits: _Hits


@MODELS.register_module()
class LiftSplat(BaseModule):
    """Lifts image features to 3D and sums them into a bird's-eye-view map.

    Args:
        in_channels: Channels of the feature maps.
        out_channels: Channels of the map for each level of `grid.z`.
        grid: Cells along `x`, `y` and `z`, see `BEVGrid`.
        depth: First depth, end (exclusive) and step, meters.
        stride: Pixels of the network's image per pixel of a feature map.
        rounding: 'truncate', as the released weights were trained, or 'floor', see `BEVGrid`.
        cache_calibration: Whether evaluation keeps the cell of every point for the next batch,
            which saves time with fixed cameras. Results do not change: each batch's calibration is
            compared with the cached one, and the cells are computed again if it differs.
        init_cfg: mmengine's initialization config.

    Raises:
        ConfigError: If an argument is outside what is allowed.

    Examples:
        >>> grid = dict(x=(-8, 8, 0.5), y=(-8, 8, 0.5), z=(-10, 10, 20))
        >>> view_transform = LiftSplat(32, 16, grid, depth=(1, 9, 1))
        >>> eye = torch.eye(4)
        >>> calibration = Calibration(
        ...     eye[:3, :3].expand(2, 6, 3, 3), eye.expand(2, 6, 4, 4),
        ...     eye[:3, :3].expand(2, 6, 3, 3), eye[:3, :3].expand(2, 3, 3))
        >>> view_transform(torch.rand(12, 32, 4, 11), calibration).shape
        torch.Size([2, 16, 32, 32])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        grid: Mapping[str, Sequence[float]],
        depth: Sequence[float] = (1, 60, 1),
        stride: int = 16,
        rounding: str = 'truncate',
        cache_calibration: bool = False,
        init_cfg: Any = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if set(grid) != {'x', 'y', 'z'} or any(len(edges) != 3 for edges in grid.values()):
            raise ConfigError(
                f'grid is {dict(grid)}, but must have x, y and z, each with the first edge, the '
                'last edge and the size of a cell.'
            )
        if len(depth) != 3 or not (depth[2] > 0 and 0 < depth[0] < depth[1]):
            raise ConfigError(
                f'depth is {tuple(depth)}, but must be a positive first depth, a larger end and a '
                'positive step.'
            )
        x, y, z = ((first, last, step) for first, last, step in (grid[axis] for axis in 'xyz'))
        self.grid = BEVGrid(x, y, z, rounding)
        self.depth = tuple(depth)
        self.num_depths = math.ceil((depth[1] - depth[0]) / depth[2])
        self.out_channels = out_channels
        self.stride = stride
        self.cache_calibration = cache_calibration
        self.depth_net = nn.Conv2d(in_channels, self.num_depths + out_channels, kernel_size=1)
        self._cached_hits: _CachedHits | None = None

    def forward(self, features: Tensor, calibration: Calibration) -> Tensor:
        """Computes the map.

        Args:
            features: (B * N, in_channels, h, w) of N cameras.
            calibration: Of the cameras.

        Returns:
            (B, nz * out_channels, ny, nx); the channels of the lowest level come first.
        """
        batch, cameras = calibration.cam2img.shape[:2]
        if len(features) != batch * cameras:
            raise ConfigError(
                f'features are of {len(features)} images, but the calibration is of {batch} frames '
                f'with {cameras} cameras each.'
            )
        probability, context = self.lift(features)
        hits = self._find_hits(calibration, (features.shape[2], features.shape[3]))
        content = probability.flatten()[hits.points, None] * context.flatten(0, 2)[hits.pixels]
        return self.splat(hits.cells, content, batch)

    def lift(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Computes what is placed along the rays of the pixels.

        Args:
            features: (images, in_channels, h, w).

        Returns:
            (images, D, h, w) probabilities of the depths, and (images, h, w, out_channels).
        """
        both = self.depth_net(features)
        # Half precision is too coarse for sums of thousands of products.
        both = both.to(torch.promote_types(both.dtype, torch.float32))
        probability = both[:, : self.num_depths].softmax(dim=1)
        return probability, both[:, self.num_depths :].permute(0, 2, 3, 1)

    def splat(self, cells: Tensor, content: Tensor, batch: int) -> Tensor:
        """Sums what falls into each cell of the map.

        Args:
            cells: (K,) indices of cells, in the order (B, z, y, x).
            content: (K, out_channels).
            batch: Number B of maps.

        Returns:
            (B, nz * out_channels, ny, nx).
        """
        nx, ny, nz = self.grid.shape
        bev = content.new_zeros(batch * nz * ny * nx, self.out_channels)
        bev = bev.index_add(0, cells, content)
        return bev.view(batch, nz, ny, nx, -1).permute(0, 1, 4, 2, 3).flatten(1, 2).contiguous()

    def _find_hits(self, calibration: Calibration, size: tuple[int, int]) -> _Hits:
        if not self.cache_calibration or self.training:
            return self._compute_hits(calibration, size)
        # Read once: another thread may replace it, but never changes what it holds.
        cached = self._cached_hits
        if cached is None or cached.size != size or not cached.calibration.equals(calibration):
            # Tensors made in inference mode could not be used in a later pass with gradients.
            with torch.inference_mode(False):
                own = Calibration(*(part.clone() for part in calibration))
                cached = _CachedHits(own, size, self._compute_hits(own, size))
            self._cached_hits = cached
        return cached.hits

    @torch.no_grad()
    def _compute_hits(self, calibration: Calibration, size: tuple[int, int]) -> _Hits:
        height, width = size
        # In double precision, which autocast leaves alone.
        depths = torch.arange(*self.depth, dtype=torch.float64, device=calibration.cam2img.device)
        pixels = frustum(depths, height, width, self.stride)
        cells, inside = self.grid.locate(unproject(pixels, calibration))
        (points,) = inside.flatten().nonzero(as_tuple=True)
        x, y, z = cells.flatten(0, -2)[points].unbind(1)
        nx, ny, nz = self.grid.shape
        area = height * width
        image = points // (self.num_depths * area)
        frame = image // calibration.cam2img.shape[1]
        return _Hits(points, image * area + points % area, ((frame * nz + z) * ny + y) * nx + x)
