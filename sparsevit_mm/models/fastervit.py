"""FasterViT: convolutions early, window attention with carrier tokens late, on images of any size.

"FasterViT: Fast Vision Transformers with Hierarchical Attention", ICLR 2024,
https://arxiv.org/abs/2306.06189. Written from the paper's definitions, not from its authors' code.

Parameter names are our own; `sparsevit_mm.checkpoints.layouts` translates the authors' files.
Renaming a parameter breaks the checkpoints users have trained. Everything else here may change.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.utils.checkpoint import checkpoint

from sparsevit_mm.checkpoints.loading import LoadReport, load_pretrained_fastervit
from sparsevit_mm.errors import ConfigError, DeployedModelError
from sparsevit_mm.models.carrier_tokens import (
    POOLINGS,
    CarrierBlock,
    CarrierPooling,
    CarrierUpdate,
    FeedForward,
    OffsetAttention,
    branch_scale,
    carriers_of,
    padded_carriers,
    padded_keys,
    scaled,
    with_carriers,
)
from sparsevit_mm.models.empty_batch import maps_of_nothing
from sparsevit_mm.models.fastervit_arch import (
    FIRST_ATTENTION_STAGE,
    NUM_STAGES,
    FasterViTArch,
    describe_fastervit,
)
from sparsevit_mm.models.position_mlp import FixedValues, PlaceEmbedding
from sparsevit_mm.models.pretrained import PretrainedBackbone
from sparsevit_mm.models.window_pruning import WindowPruning
from sparsevit_mm.ops.attention import Masks, key_mask
from sparsevit_mm.ops.backend import is_certain
from sparsevit_mm.ops.compat import is_compiling
from sparsevit_mm.ops.tokens import add_and_norm, drop_path, to_nchw
from sparsevit_mm.ops.windows import (
    WindowGrid,
    Windows,
    join_windows,
    pad_to_windows,
    split_windows,
    update_windows,
)
from sparsevit_mm.pruning.selection import WindowRanking
from sparsevit_mm.registry import MODELS

OUT_NORMS = ('LN', 'BN', 'SyncBN')


class PatchEmbedding(nn.Sequential):
    """Two strided convolutions to a quarter of the resolution.

    Args:
        in_channels: Channels of the image.
        in_dim: Channels between the convolutions.
        dim: Channels C of the result.
    """

    def __init__(self, in_channels: int, in_dim: int, dim: int) -> None:
        super().__init__(
            nn.Conv2d(in_channels, in_dim, 3, 2, 1, bias=False),
            nn.BatchNorm2d(in_dim, eps=1e-4),
            nn.ReLU(inplace=True),
            nn.Conv2d(in_dim, dim, 3, 2, 1, bias=False),
            nn.BatchNorm2d(dim, eps=1e-4),
            nn.ReLU(inplace=True),
        )

    def fold_norms(self) -> None:
        """Folds the norms into the convolutions (inference form)."""
        for conv, norm in ((0, 1), (3, 4)):
            self[conv] = _fuse(self[conv], self[norm])
            self[norm] = nn.Identity()


class ConvBlock(nn.Module):
    """A residual block of two 3x3 convolutions.

    Args:
        channels: Channels C.
        drop_path_rate: Stochastic depth.
        layer_scale: Initial value of the factors on the branch; None for no factors.
    """

    def __init__(
        self, channels: int, drop_path_rate: float = 0.0, layer_scale: float | None = None
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm1: nn.Module = nn.BatchNorm2d(channels)
        self.act = nn.GELU()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2: nn.Module = nn.BatchNorm2d(channels)
        self.gamma = branch_scale(channels, layer_scale)
        self.drop_path_rate = drop_path_rate

    def forward(self, feature_map: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, H, W)."""
        branch = self.act(self.norm1(self.conv1(feature_map)))
        branch = self.norm2(self.conv2(branch))
        if self.gamma is not None:
            branch = branch * self.gamma[:, None, None]
        if self.training and self.drop_path_rate:
            branch = drop_path(branch, self.drop_path_rate)
        return feature_map + branch

    def fold_norms(self) -> None:
        """Folds norms and factors into the convolutions (inference form)."""
        self.conv1 = _fuse(self.conv1, self.norm1)
        self.conv2 = _fuse(self.conv2, self.norm2)
        self.norm1, self.norm2 = nn.Identity(), nn.Identity()
        if self.gamma is not None and self.conv2.bias is not None:
            with torch.no_grad():
                self.conv2.weight.mul_(self.gamma[:, None, None, None])
                self.conv2.bias.mul_(self.gamma)
            self.gamma = None


class HierarchicalAttentionBlock(nn.Module):
    """Attention and FFN in windows, each together with its carrier tokens.

    Args:
        channels: Channels C.
        num_heads: Attention heads.
        hidden_dims: Hidden channels of the FFNs.
        window_size: Side of a window in tokens.
        ct_size: Side of a window's carriers; 0 for a block without carriers.
        qkv_bias: Whether queries, keys and values have a bias.
        drop_rate: Dropout in FFNs and after attention.
        attn_drop_rate: Dropout of attention weights.
        drop_path_rate: Stochastic depth.
        layer_scale: Initial value of the factors on the branches; None for no factors.
    """

    def __init__(
        self,
        channels: int,
        num_heads: int,
        hidden_dims: int,
        window_size: int,
        ct_size: int,
        *,
        qkv_bias: bool,
        drop_rate: float,
        attn_drop_rate: float,
        drop_path_rate: float,
        layer_scale: float | None,
    ) -> None:
        super().__init__()
        self.window_size = window_size
        self.ct_size = ct_size
        self.carriers = (
            CarrierBlock(
                channels,
                num_heads,
                hidden_dims,
                qkv_bias=qkv_bias,
                drop_rate=drop_rate,
                attn_drop_rate=attn_drop_rate,
                drop_path_rate=drop_path_rate,
                layer_scale=layer_scale,
            )
            if ct_size
            else None
        )
        self.position: nn.Module = PlaceEmbedding(channels)
        self.norm1 = nn.LayerNorm(channels)
        self.attn = OffsetAttention(channels, num_heads, qkv_bias, attn_drop_rate, drop_rate)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = FeedForward(channels, hidden_dims, drop_rate)
        self.gamma3 = branch_scale(channels, layer_scale)
        self.gamma4 = branch_scale(channels, layer_scale)
        self.drop_path_rate = drop_path_rate

    @property
    def grid(self) -> tuple[int, int, int]:
        """Height, width and carriers of what a window attends over."""
        return self.window_size, self.window_size, self.ct_size**2

    def forward(
        self,
        own: Tensor,
        carriers: Tensor | None,
        windows: Windows,
        hidden_carriers: Tensor | None = None,
        masks: Masks | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Computes the block: carriers of all windows, tokens of those given.

        Args:
            own: (W, N, C) tokens of the windows.
            carriers: (B, H, W, C) carriers of each image, or None.
            windows: Where the windows lie.
            hidden_carriers: (H * W,) bool, carriers of padding alone; None if there are none.
            masks: Which keys, carriers first, windows must not see; None if nothing is padded.

        Returns:
            Tokens and carriers after the block.
        """
        rate = self.drop_path_rate if self.training else 0.0
        tokens = own + self.position(self.window_size, self.window_size)
        if self.carriers is not None:
            assert carriers is not None
            carriers = self.carriers(carriers, hidden_carriers)
            tokens = torch.cat([carriers_of(windows, carriers, self.ct_size), tokens], dim=1)
        attended = self.attn(self.norm1(tokens), self.grid, masks)
        tokens, normed = add_and_norm(tokens, attended, self.norm2, windows, rate, self.gamma3)
        fed_forward = scaled(self.mlp(normed), self.gamma4)
        tokens = tokens + (drop_path(fed_forward, rate, windows) if rate else fed_forward)
        if self.carriers is None or carriers is None:
            return tokens, None
        carried, own = tokens.split([self.ct_size**2, own.shape[1]], dim=1)
        return own, with_carriers(carriers, carried, windows, self.ct_size)

    def fix_positions(self) -> None:
        """Fixes what follows from positions and the weights (inference form)."""
        window = self.window_size
        self.position = FixedValues(self.position(window, window))
        self.attn.position_bias = FixedValues(self.attn.position_bias(*self.grid))
        if self.carriers is not None:
            self.carriers.fix_positions()


class DownSample(nn.Module):
    """Norm over channels, then a convolution to half the resolution and twice the channels.

    Args:
        channels: Channels C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels, eps=1e-6)
        self.reduction = nn.Conv2d(channels, 2 * channels, 3, 2, 1, bias=False)

    def forward(self, feature_map: Tensor) -> Tensor:
        """(B, C, H, W) to (B, 2 C, ceil(H / 2), ceil(W / 2))."""
        return self.reduction(self.norm(feature_map))


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of a map."""

    def forward(self, feature_map: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, H, W)."""
        return super().forward(feature_map.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class FasterViTStage(nn.Module):
    """The blocks of one resolution and the down-sampling that ends it.

    Args:
        blocks: The blocks, all convolutional or all attending.
        downsample: Down-sampling to the next stage, or None.
        carrier_pooling: Makes the carriers of the stage, or None.
        propagates: Whether the stage ends with adding the carriers to the tokens of their windows.
        with_cp: Whether to recompute blocks in the backward pass to save memory.
    """

    def __init__(
        self,
        blocks: Sequence[nn.Module],
        downsample: DownSample | None,
        carrier_pooling: CarrierPooling | None = None,
        propagates: bool = False,
        with_cp: bool = False,
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.carrier_pooling = carrier_pooling
        self.downsample = downsample
        self.propagates = propagates
        self.with_cp = with_cp

    def forward(
        self,
        feature_map: Tensor,
        ratios: Sequence[float],
        ranking: WindowRanking,
        observe: Callable[[int, Windows], None],
    ) -> Tensor:
        """Computes the blocks.

        Args:
            feature_map: (B, C, H, W).
            ratios: The share of windows that every block skips; convolutional ones skip none.
            ranking: Ranks the windows.
            observe: Called with the index of every attending block and the windows it computed.

        Returns:
            (B, C, H, W), before the down-sampling.
        """
        if isinstance(self.blocks[0], HierarchicalAttentionBlock):
            return self._attend(feature_map, self.blocks[0].window_size, ratios, ranking, observe)
        for block in self.blocks:
            feature_map = self._run(block, feature_map)
        return feature_map

    def _attend(
        self,
        feature_map: Tensor,
        window_size: int,
        ratios: Sequence[float],
        ranking: WindowRanking,
        observe: Callable[[int, Windows], None],
    ) -> Tensor:
        batch_size, channels, height, width = feature_map.shape
        grid = WindowGrid(height, width, window_size, is_split=True)
        padded = pad_to_windows(feature_map.permute(0, 2, 3, 1), window_size)
        tokens = split_windows(padded, window_size).view(-1, channels)
        carriers: Tensor | None = None
        if self.carrier_pooling is not None:
            carriers = self.carrier_pooling(feature_map, grid)
        for index, (block, ratio) in enumerate(zip(self.blocks, ratios)):
            kept = ranking.select(tokens, grid, ratio)
            windows = Windows.locate(grid, batch_size, kept, tokens.device)
            hidden_carriers, masks = self._hidden(windows, tokens.dtype)
            update = CarrierUpdate(
                partial(self._run, block, hidden_carriers=hidden_carriers, masks=masks),
                carriers,
                block.training,
            )
            tokens = update_windows(tokens, tokens, windows, update)
            carriers = update.carriers
            observe(index, windows)
        split = tokens.view(-1, window_size**2, channels)
        if self.propagates and carriers is not None:
            split = split + self._propagated(carriers, window_size)
        tokens = join_windows(split, window_size, grid.rows, grid.cols)
        tokens = tokens.narrow(1, 0, height).narrow(2, 0, width)
        if is_compiling() and grid.is_padded:
            # Else a graph for any size would be only for those that need padding, or those that
            # need none: operators ask whether their input is contiguous.
            tokens = tokens.clone(memory_format=torch.contiguous_format)
        return tokens.permute(0, 3, 1, 2)

    def _propagated(self, carriers: Tensor, window_size: int) -> Tensor:
        """(B * windows, window_size**2, C) what carriers add to the tokens of all windows."""
        last = self.blocks[-1]
        assert isinstance(last, HierarchicalAttentionBlock)
        assert last.carriers is not None
        carried = split_windows(carriers, last.ct_size)
        return last.carriers.propagate(carried, last.ct_size, window_size)

    def _hidden(self, windows: Windows, dtype: torch.dtype) -> tuple[Tensor | None, Masks | None]:
        """Carriers of padding alone, and which keys windows must not see; None for none."""
        ct_size, pooling = 0, POOLINGS[0]
        hidden_carriers = None
        if self.carrier_pooling is not None:
            ct_size, pooling = self.carrier_pooling.ct_size, self.carrier_pooling.pooling
            hidden_carriers = padded_carriers(windows.grid, ct_size, pooling, windows.device)
        keys = padded_keys(windows.grid, ct_size, pooling, windows.device)
        return (
            None if hidden_carriers is None else hidden_carriers.flatten(),
            None if keys is None else Masks(key_mask(keys[0], dtype), windows.per_window(keys[1])),
        )

    def _run(self, block: nn.Module, *args: Any, **kwargs: Any) -> Any:
        if self.with_cp and self.training and torch.is_grad_enabled():
            contexts = partial(_recompute_contexts, block)
            return checkpoint(block, *args, **kwargs, use_reentrant=False, context_fn=contexts)
        return block(*args, **kwargs)


@MODELS.register_module()
class FasterViT(PretrainedBackbone, WindowPruning):
    """FasterViT with hierarchical attention, for any image size, that may skip windows.

    It equals the authors' network on the square images theirs is built for. Elsewhere it follows
    the paper's definitions with these choices, where theirs goes wrong: positions are normalized by
    the height and the width of the grid at hand; padding takes no part in attention or in pooling
    the carriers; a stage has carriers if `hat` says so, even where one window covers the map; and
    stochastic depth drops a branch for whole images.

    With a schedule, attention stages rank their windows once, at their first block that skips some,
    and compute only those that are kept. Carriers of skipped windows stay: they are pooled, attend
    to all carriers in every block, and reach their tokens where a stage ends with propagation.

    Args:
        arch: '0' to '6' or '4-21k-224', '-384', '-512', '-768'; the arguments up to
            `drop_path_rate` replace its numbers, None keeps them.
        dim: Channels C of the first stage; stage i has C * 2**i.
        in_dim: Channels between the convolutions of the patch embedding.
        depths: Blocks in each stage.
        num_heads: Attention heads in each stage.
        window_size: Side of a window in tokens in each stage.
        ct_size: Side of a window's carrier tokens.
        mlp_ratio: Hidden channels of the FFN over its channels.
        hat: Which stages have carrier tokens.
        layer_scale: Initial value of the factors on the branches of attention stages; 0 or False
            for no factors.
        do_propagation: Whether carriers are added to their windows' tokens at the end of a stage.
        drop_path_rate: Stochastic depth of the last block; earlier blocks have linearly less.
        in_channels: Channels of the image.
        out_indices: Stages whose map is returned.
        out_norm_cfg: Norm of each returned map, `dict(type='LN')`, 'BN' or 'SyncBN', with `eps` if
            wanted; None for raw maps.
        frozen_stages: Stages up to this number are frozen: 0 the patch embedding, 1 also the first
            stage, and so on; -1 none.
        norm_eval: Whether batch norms keep their statistics in training.
        with_cp: Whether to recompute blocks in the backward pass to save memory.
        qkv_bias: Whether queries, keys and values have a bias.
        drop_rate: Dropout in FFNs and after attention.
        attn_drop_rate: Dropout of attention weights.
        layer_scale_conv: Initial value of the factors on the branches of convolutional blocks; None
            for no factors, as in every released network.
        carrier_pooling: 'authors' or 'centered', see `CarrierPooling`.
        init_cfg: `dict(type='Pretrained', checkpoint=...)` takes the authors' files and ours; with
            `channels='rgb'` or `'bgr'` also for images of more or fewer than three channels, as in
            `SwinBackbone`.
        pruning_ratios: The pruning schedule, as in `SwinBackbone`: a number is for the attention
            stages; convolutional stages take only 0.
        importance: What windows are ranked by, as in `SwinBackbone`.
        allocation: Which images share a budget of windows, as in `SwinBackbone`.

    Attributes:
        arch: The sizes, a `FasterViTArch`.
        window_observer: Called with a `WindowSelection` after every attending block if set; for
            images and logs.

    Raises:
        ConfigError: If an argument is outside what is allowed.

    Examples:
        >>> backbone = FasterViT(arch='0').eval()
        >>> [tuple(stage.shape) for stage in backbone(torch.rand(1, 3, 224, 320))]
        [(1, 64, 56, 80), (1, 128, 28, 40), (1, 256, 14, 20), (1, 512, 7, 10)]
    """

    levels: Sequence[FasterViTStage]
    """The stages; checkpoints know them by this name."""

    changeable_options = (*WindowPruning.changeable_options, 'norm_eval')

    def __init__(
        self,
        arch: str = '0',
        dim: int | None = None,
        in_dim: int | None = None,
        depths: Sequence[int] | None = None,
        num_heads: Sequence[int] | None = None,
        window_size: Sequence[int] | None = None,
        ct_size: int | None = None,
        mlp_ratio: float | None = None,
        hat: Sequence[bool] | None = None,
        layer_scale: float | None = None,
        do_propagation: bool | None = None,
        drop_path_rate: float | None = None,
        in_channels: int = 3,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        out_norm_cfg: Mapping[str, Any] | None = None,
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool = False,
        qkv_bias: bool = True,
        drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        layer_scale_conv: float | None = None,
        carrier_pooling: str = 'authors',
        init_cfg: Any = None,
        *,
        pruning_ratios: Any = 0.0,
        importance: str | Mapping[str, Any] = 'l2',
        allocation: str | Mapping[str, Any] = 'image',
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.arch = FasterViTArch.build(
            arch,
            dim=dim,
            in_dim=in_dim,
            depths=depths,
            num_heads=num_heads,
            window_size=window_size,
            ct_size=ct_size,
            mlp_ratio=mlp_ratio,
            hat=hat,
            layer_scale=layer_scale,
            do_propagation=do_propagation,
            drop_path_rate=drop_path_rate,
            in_channels=in_channels,
            carrier_pooling=carrier_pooling,
        )
        if not out_indices or not set(out_indices) <= set(range(NUM_STAGES)):
            raise ConfigError(
                f'out_indices is {tuple(out_indices)}, but must name stages from 0 to '
                f'{NUM_STAGES - 1}.'
            )
        if not -1 <= frozen_stages <= NUM_STAGES:
            raise ConfigError(
                f'frozen_stages is {frozen_stages}, but must lie between -1 and {NUM_STAGES}.'
            )
        if carrier_pooling not in POOLINGS:
            raise ConfigError(
                f"carrier_pooling is {carrier_pooling!r}, but must be 'authors' or 'centered'."
            )
        self.out_indices = tuple(sorted(set(out_indices)))
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.is_deployed = False

        last_stage = self.out_indices[-1]
        if last_stage < NUM_STAGES - 1:
            self.arch = replace(self.arch, last_stage=last_stage)
        numbers = self.arch
        self.patch_embed = PatchEmbedding(in_channels, numbers.in_dim, numbers.dim)
        num_blocks, first = sum(numbers.depths), 0
        # Nothing is built beyond the last wanted stage, so every parameter takes part in training.
        stages = []
        for stage, (channels, depth) in enumerate(
            zip(numbers.stage_dims[: last_stage + 1], numbers.depths)
        ):
            drop_path_rates = [
                numbers.drop_path_rate * (first + block) / max(num_blocks - 1, 1)
                for block in range(depth)
            ]
            ct = numbers.ct_size if numbers.hat[stage] else 0
            blocks: list[nn.Module]
            if stage < FIRST_ATTENTION_STAGE:
                blocks = [ConvBlock(channels, rate, layer_scale_conv) for rate in drop_path_rates]
            else:
                blocks = [
                    HierarchicalAttentionBlock(
                        channels,
                        numbers.num_heads[stage],
                        numbers.hidden_dims[stage],
                        numbers.window_size[stage],
                        ct,
                        qkv_bias=qkv_bias,
                        drop_rate=drop_rate,
                        attn_drop_rate=attn_drop_rate,
                        drop_path_rate=rate,
                        layer_scale=numbers.layer_scale,
                    )
                    for rate in drop_path_rates
                ]
            stages.append(
                FasterViTStage(
                    blocks,
                    downsample=None if stage == last_stage else DownSample(channels),
                    carrier_pooling=CarrierPooling(channels, ct, carrier_pooling) if ct else None,
                    propagates=numbers.do_propagation,
                    with_cp=with_cp,
                )
            )
            first += depth
        self.levels = nn.ModuleList(stages)  # type: ignore[assignment]
        for stage in self.out_indices if out_norm_cfg is not None else ():
            norm = _build_norm(out_norm_cfg or {}, numbers.stage_dims[stage])
            self.add_module(f'norm{stage}', norm)
        self.set_pruning(pruning_ratios, importance, allocation)
        self._freeze()

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Computes the feature maps of a batch.

        Args:
            images: (B, in_channels, H, W), of any size.

        Returns:
            One (B, C * 2**i, ceil(H / (4 * 2**i)), ceil(W / (4 * 2**i))) map for each stage i of
            `out_indices`, taken before the stage's down-sampling.
        """
        if is_certain(images.shape[0] == 0):
            return maps_of_nothing(self, images)
        # Channels-last, convolutions are faster and windows are cut without a transposition.
        feature_map = self.patch_embed(images.contiguous(memory_format=torch.channels_last))
        outputs = []
        for number, stage in enumerate(self.levels):
            feature_map = stage(
                feature_map,
                self.pruning_schedule.ratios[number],
                self.new_ranking(images.shape[0]),
                partial(self.observe, number),
            )
            if self.stage_scores is not None:
                tokens = feature_map.permute(0, 2, 3, 1).flatten(0, 2)
                self.score_stage(number, tokens, *feature_map.shape[2:])
            if number in self.out_indices:
                norm = getattr(self, f'norm{number}', None)
                output = feature_map if norm is None else norm(feature_map)
                # Necks and heads view maps as they like, and some operators insist on this layout.
                outputs.append(
                    output.contiguous(memory_format=torch.channels_last)
                    if self._is_channels_last
                    else to_nchw(output)
                )
            if stage.downsample is not None:
                feature_map = stage.downsample(feature_map)
        return tuple(outputs)

    def train(self, mode: bool = True) -> FasterViT:
        """Switches between training and evaluation; frozen stages stay in evaluation.

        Raises:
            DeployedModelError: If training is asked of the inference form.
        """
        if mode and self.is_deployed:
            raise DeployedModelError(
                'this FasterViT was switched to its inference form, which cannot be trained: build '
                'it again and load its checkpoint.'
            )
        super().train(mode)
        self._freeze()
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def switch_to_deploy(self) -> FasterViT:
        """Turns the network into its inference form, in place: same outputs, less work.

        Batch norms are folded into convolutions, position tables of windows are computed once, and
        maps are kept channels-last. Training and loading checkpoints are over after that.

        Returns:
            The network, in evaluation.
        """
        if self.is_deployed:
            return self
        self.eval()
        with torch.no_grad():
            for module in list(self.modules()):
                if isinstance(module, (PatchEmbedding, ConvBlock)):
                    module.fold_norms()
                elif isinstance(module, HierarchicalAttentionBlock):
                    module.fix_positions()
        self.to(memory_format=torch.channels_last)
        self.is_deployed = True
        return self

    def attention_blocks(self) -> list[nn.Module]:
        """The blocks that compute windows, first to last."""
        blocks = [block for stage in self.levels for block in stage.blocks]
        return [block for block in blocks if isinstance(block, HierarchicalAttentionBlock)]

    def load_pretrained(self, entry: Mapping[str, Any]) -> LoadReport:
        """Loads a FasterViT, see `PretrainedBackbone`."""
        return load_pretrained_fastervit(
            self,
            entry['checkpoint'],
            entry.get('prefix'),
            entry.get('channels'),
            describe=describe_fastervit,
        )

    def _freeze(self) -> None:
        frozen: list[nn.Module] = []
        if self.frozen_stages >= 0:
            frozen.append(self.patch_embed)
        for number, stage in enumerate(self.levels[: max(self.frozen_stages, 0)]):
            frozen.append(stage)
            if hasattr(self, f'norm{number}'):
                frozen.append(getattr(self, f'norm{number}'))
        for module in frozen:
            module.eval()
            module.requires_grad_(False)


def _build_norm(norm_cfg: Mapping[str, Any], channels: int) -> nn.Module:
    options = dict(norm_cfg)
    layers: dict[Any, Callable[..., nn.Module]] = dict(
        zip(OUT_NORMS, (ChannelNorm, nn.BatchNorm2d, nn.SyncBatchNorm))
    )
    layer, trainable = layers.get(options.pop('type', None)), options.pop('requires_grad', True)
    if layer is None or set(options) - {'eps', 'momentum'}:
        raise ConfigError(
            f"out_norm_cfg is {dict(norm_cfg)}, but must be None or dict(type='LN'), with "
            "'BN' or 'SyncBN' instead of 'LN' and with eps if wanted."
        )
    return layer(channels, **options).requires_grad_(trainable)


def _fuse(conv: nn.Module, norm: nn.Module) -> nn.Conv2d:
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    return fuse_conv_bn_eval(conv, norm)


def _recompute_contexts(
    block: nn.Module,
) -> tuple[contextlib.AbstractContextManager[None], contextlib.AbstractContextManager[None]]:
    """Contexts of the first and the second computation of a block in training."""
    return contextlib.nullcontext(), _without_running_statistics(block)


@contextlib.contextmanager
def _without_running_statistics(block: nn.Module) -> Iterator[None]:
    """Keeps a repeated computation from updating batch norms a second time."""
    norms = [m for m in block.modules() if isinstance(m, _BatchNorm) and m.training]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta):
            norm.momentum = momentum
            if norm.num_batches_tracked is not None:
                norm.num_batches_tracked.sub_(1)
