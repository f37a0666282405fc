"""Swin Transformer, the network that the backbones of this package are variations of.

Parameter names (`patch_embed.projection`, `stages.i.blocks.j.attn.w_msa.qkv`, `.ffn.layers.0.0`,
`norm0` …) are those of MMDetection's and MMSegmentation's `SwinTransformer` and of SparseViT's
authors, so that one file loads into all of them: rename none. Everything else here may change.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from mmengine.logging import print_log
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.init import trunc_normal_
from torch.utils.checkpoint import checkpoint

from sparsevit_mm.checkpoints.loading import load_pretrained_swin
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.models.drop_path import DropPath
from sparsevit_mm.models.patches import PatchEmbed, PatchMerging
from sparsevit_mm.models.position_embedding import resize_position_embedding
from sparsevit_mm.models.swin_arch import SwinArch
from sparsevit_mm.models.window_attention import WindowAttention, WindowCarriers
from sparsevit_mm.ops.in_parts import normed_map
from sparsevit_mm.ops.linear import Linear
from sparsevit_mm.ops.norms import add_and_norm, product_dtype
from sparsevit_mm.ops.window_grid import WindowGrid
from sparsevit_mm.ops.windows import WindowTokens, window_kinds

if TYPE_CHECKING:
    from typing_extensions import Self

PADDINGS = ('swin', 'sparsevit')


class SwinBlock(nn.Module):
    """Attention and FFN of a Swin block, LN included, all on windows.

    Args:
        embed_dims: Channels C.
        num_heads: Attention heads.
        hidden_dims: Hidden channels of the FFN.
        window_size: Side of a window in tokens.
        shift: Cyclic shift of the block's grid, 0 for a plain block.
        qkv_bias: Whether queries, keys and values have a bias.
        qk_scale: Factor on query-key products; (C / heads)**-0.5 by default.
        drop_rate: Dropout in the FFN and after attention.
        attn_drop_rate: Dropout of attention weights.
        drop_path_rate: Stochastic depth.
        activation: Class of the FFN's activation.
        norm: Makes a norm for a number of channels.
        padding: 'swin' or 'sparsevit', see `SwinBackbone`.
        with_cp: Whether to recompute the block in the backward pass to save memory.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        hidden_dims: int,
        window_size: int,
        shift: int,
        *,
        qkv_bias: bool,
        qk_scale: float | None,
        drop_rate: float,
        attn_drop_rate: float,
        drop_path_rate: float,
        activation: type[nn.Module],
        norm: Callable[[int], nn.LayerNorm],
        padding: str,
        with_cp: bool,
    ) -> None:
        super().__init__()
        self.shift = shift
        self.window_size = window_size
        self.hidden_dims = hidden_dims
        self.zero_padding_after_norm = padding == 'swin'
        self.with_cp = with_cp
        self.norm1 = norm(embed_dims)
        self.attn = nn.ModuleDict(
            {
                'w_msa': WindowAttention(
                    embed_dims,
                    num_heads,
                    window_size,
                    shift,
                    qkv_bias=qkv_bias,
                    qk_scale=qk_scale,
                    attn_drop_rate=attn_drop_rate,
                    proj_drop_rate=drop_rate,
                )
            }
        )
        self.norm2 = norm(embed_dims)
        expand = nn.Sequential(Linear(embed_dims, hidden_dims), activation(), nn.Dropout(drop_rate))
        reduce = Linear(hidden_dims, embed_dims)
        self.ffn = nn.ModuleDict({'layers': nn.Sequential(expand, reduce, nn.Dropout(drop_rate))})
        self.drop_path = DropPath(drop_path_rate)

    def forward(
        self, windows: Tensor, where: WindowTokens, carriers: WindowCarriers | None = None
    ) -> Tensor:
        """Computes the block.

        Args:
            windows: (W, N, C) tokens of the windows to compute, padding 0.
            where: Where they lie in the map.
            carriers: What the windows carry beside their tokens, or None.

        Returns:
            (W, N, C), or (W, carriers + N, C) with carriers.
        """
        if self.with_cp and self.training and torch.is_grad_enabled():
            return checkpoint(self._compute, windows, where, carriers, use_reentrant=False)
        return self._compute(windows, where, carriers)

    def _compute(
        self, windows: Tensor, where: WindowTokens, carriers: WindowCarriers | None
    ) -> Tensor:
        normed = self.norm1(windows)
        if where.padding is not None and self.zero_padding_after_norm:
            normed = normed.masked_fill(where.padding, 0)
        if carriers is not None:
            normed = torch.cat([self.norm1(carriers.tokens), normed], dim=1)
            windows = torch.cat([carriers.tokens, windows], dim=1)
        attended = self.attn['w_msa'](normed, where.edge_pattern, carriers, where.hidden)
        windows, normed = add_and_norm(
            windows, attended, self.norm2, self.drop_path, where.batch_size
        )
        fed_forward = self.ffn['layers'](normed)
        return windows + self.drop_path(fed_forward, where.batch_size)

    def update(
        self,
        target: Tensor,
        tokens: Tensor,
        grid: WindowGrid,
        kept: Tensor | None,
        num_windows: int | None,
    ) -> Tensor:
        """Gathers, computes and scatters by kernels, in inference.

        Args:
            target: (B * H * W, C) map that is written to, in place; may be `tokens`.
            tokens: (B * H * W, C) the stage's tokens, contiguous.
            grid: The block's windows.
            kept: (B, K) numbers of the windows to compute, or None for all.
            num_windows: How many windows at a time; None for all at once.

        Returns:
            `target`.
        """
        from sparsevit_mm.ops.triton.gather_norm import gather_norm
        from sparsevit_mm.ops.triton.operators import ChosenWindows
        from sparsevit_mm.ops.triton.residual_norm import residual_norm
        from sparsevit_mm.ops.triton.residual_scatter import residual_scatter_

        batch_size = tokens.shape[0] // (grid.height * grid.width)
        kinds = window_kinds(grid, batch_size, kept, tokens.device)
        total = batch_size * (grid.num_windows if kept is None else kept.shape[1])
        before, after = self.norm1, self.norm2
        dtype = product_dtype(tokens)
        for first in [0] if num_windows is None else range(0, total, num_windows):
            count = total if num_windows is None else min(num_windows, total - first)
            part = ChosenWindows(grid, kept, first, count)
            normed = gather_norm(
                tokens,
                part,
                before.weight,
                before.bias,
                before.eps,
                zero_padding=self.zero_padding_after_norm,
                dtype=dtype,
            )
            part_kinds = None if kinds is None else kinds[first : first + count]
            attended = self.attn['w_msa'](normed, part_kinds)
            windows, normed = residual_norm(
                tokens, attended, after.weight, after.bias, after.eps, windows=part, dtype=dtype
            )
            residual_scatter_(target, windows, self.ffn['layers'](normed), part)
        return target


class SwinStage(nn.Module):
    """The blocks of one resolution and the merging that ends it; a backbone computes them.

    Args:
        number: Number of the stage.
        blocks: The blocks, plain and shifted in turn.
        downsample: Merging to the next stage, or None.
    """

    def __init__(
        self, number: int, blocks: Sequence[SwinBlock], downsample: PatchMerging | None
    ) -> None:
        super().__init__()
        self.number = number
        self.blocks = nn.ModuleList(blocks)
        self.downsample = downsample


class SwinBackbone(BaseModule):
    """A Swin Transformer whose subclasses decide how the blocks of a stage are computed.

    All arguments of MMDetection's `SwinTransformer` are understood, so a config needs only another
    `type`.

    Args:
        arch: 'tiny', 'small', 'base' or 'large'; the next three arguments replace its numbers.
        embed_dims: Channels of the first stage.
        depths: Blocks in each stage.
        num_heads: Attention heads in each stage.
        width: Factor on the embedding size, see `SwinArch.build`.
        padding: What attention sees beyond the edge of the map: 'swin' pads after the norm, so
            padding tokens are 0 there, as in every Swin checkpoint; 'sparsevit' pads before it, so
            they are the norm's bias, as in the authors' SparseViT checkpoints.
        window_size: Side of a window in tokens.
        patch_size: Side of a patch in pixels.
        mlp_ratio: Hidden channels of the FFN over its channels.
        in_channels: Channels of the image.
        pretrain_img_size: Image side, or (height, width), the absolute position embedding is laid
            out for; it is interpolated for other sizes.
        strides: Only (patch_size, 2, 2, …), accepted because Swin configs name it.
        out_indices: Stages whose normed output is returned.
        qkv_bias: Whether queries, keys and values have a bias.
        qk_scale: Factor on query-key products; head_dim**-0.5 by default.
        patch_norm: Whether patch embedding and merging have a norm.
        drop_rate: Dropout in FFNs and after attention.
        attn_drop_rate: Dropout of attention weights.
        drop_path_rate: Stochastic depth of the last block; earlier blocks have linearly less.
        use_abs_pos_embed: Whether an absolute position embedding is added.
        act_cfg: Activation of the FFN; `type` is a class of `torch.nn`.
        norm_cfg: `dict(type='LN')`, with `eps` if wanted.
        with_cp: Whether to recompute blocks in the backward pass to save memory.
        convert_weights: Accepted because Swin configs name it; layouts are recognised by their
            keys.
        frozen_stages: Stages up to this number are frozen: 0 the patch embedding, 1 also the first
            stage, and so on; -1 none.
        init_cfg: `dict(type='Pretrained', checkpoint=...)` takes a file of any layout in
            `sparsevit_mm.checkpoints.layouts`.

    Attributes:
        arch: The sizes, a `SwinArch`.

    Raises:
        ConfigError: If an argument is outside what is allowed.
    """

    own_parameters = r'(?!)'
    """Pattern of parameters that a plain Swin does not have, which a checkpoint may lack."""

    def __init__(
        self,
        arch: str = 'tiny',
        embed_dims: int | None = None,
        depths: Sequence[int] | None = None,
        num_heads: Sequence[int] | None = None,
        width: float = 1.0,
        padding: str = 'swin',
        window_size: int = 7,
        patch_size: int = 4,
        mlp_ratio: float = 4,
        in_channels: int = 3,
        pretrain_img_size: int | Sequence[int] = 224,
        strides: Sequence[int] | None = None,
        out_indices: Sequence[int] = (0, 1, 2, 3),
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        patch_norm: bool = True,
        drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.1,
        use_abs_pos_embed: bool = False,
        act_cfg: Mapping[str, Any] = {'type': 'GELU'},
        norm_cfg: Mapping[str, Any] = {'type': 'LN'},
        with_cp: bool = False,
        convert_weights: bool | None = None,
        frozen_stages: int = -1,
        init_cfg: Any = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.arch = SwinArch.build(
            arch,
            width,
            embed_dims,
            depths,
            num_heads,
            window_size=window_size,
            patch_size=patch_size,
            mlp_ratio=mlp_ratio,
            in_channels=in_channels,
        )
        num_stages = len(self.arch.depths)
        if padding not in PADDINGS:
            raise ConfigError(f"padding is {padding!r}, but it must be 'swin' or 'sparsevit'.")
        if strides is not None and tuple(strides) != (patch_size, *[2] * (num_stages - 1)):
            raise ConfigError(
                f'strides is {tuple(strides)}, but it must be the patch size and then 2 for every '
                f'further stage: {(patch_size, *[2] * (num_stages - 1))}.'
            )
        if not out_indices or not set(out_indices) <= set(range(num_stages)):
            raise ConfigError(
                f'out_indices is {tuple(out_indices)}, but it must name stages from 0 to '
                f'{num_stages - 1}.'
            )
        if not -1 <= frozen_stages <= num_stages:
            raise ConfigError(
                f'frozen_stages is {frozen_stages}, but it must lie between -1 and {num_stages}.'
            )
        if not 0 <= drop_path_rate < 1:
            raise ConfigError(
                f'drop_path_rate is {drop_path_rate}, but it must be at least 0 and below 1.'
            )
        self.out_indices = tuple(sorted(set(out_indices)))
        self.frozen_stages = frozen_stages

        norm, activation = _norm_layers(norm_cfg), _activation_layer(act_cfg)
        self.patch_embed = PatchEmbed(
            in_channels,
            self.arch.embed_dims,
            patch_size,
            norm=norm(self.arch.embed_dims) if patch_norm else None,
        )
        sides = (
            (pretrain_img_size,) * 2 if isinstance(pretrain_img_size, int) else pretrain_img_size
        )
        self.position_grid = (sides[0] // patch_size, sides[-1] // patch_size)
        self.absolute_pos_embed = (
            nn.Parameter(
                torch.zeros(1, self.position_grid[0] * self.position_grid[1], self.arch.embed_dims)
            )
            if use_abs_pos_embed
            else None
        )
        self.drop_after_pos = nn.Dropout(drop_rate)

        stages = []
        num_blocks = sum(self.arch.depths)
        for stage, (dims, depth) in enumerate(zip(self.arch.stage_dims, self.arch.depths)):
            first = sum(self.arch.depths[:stage])
            blocks = [
                SwinBlock(
                    dims,
                    self.arch.num_heads[stage],
                    self.arch.hidden_dims[stage],
                    window_size,
                    shift=window_size // 2 if block % 2 else 0,
                    qkv_bias=qkv_bias,
                    qk_scale=qk_scale,
                    drop_rate=drop_rate,
                    attn_drop_rate=attn_drop_rate,
                    drop_path_rate=drop_path_rate * (first + block) / max(num_blocks - 1, 1),
                    activation=activation,
                    norm=norm,
                    padding=padding,
                    with_cp=with_cp,
                )
                for block in range(depth)
            ]
            is_last = stage == num_stages - 1
            merging = (
                None if is_last else PatchMerging(dims, norm(4 * dims) if patch_norm else None)
            )
            stages.append(SwinStage(stage, blocks, merging))
        self.stages = nn.ModuleList(stages)
        for stage in self.out_indices:
            self.add_module(f'norm{stage}', norm(self.arch.stage_dims[stage]))
        self._freeze()

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Computes the feature maps of a batch.

        Args:
            images: (B, in_channels, H, W), of any size.

        Returns:
            One (B, C * 2**i, ceil(H / (4 * 2**i)), ceil(W / (4 * 2**i))) map for each stage i of
            `out_indices` (at patch size 4).
        """
        batch_size = images.shape[0]
        tokens, height, width = self.patch_embed(images)
        if self.absolute_pos_embed is not None:
            embedding = resize_position_embedding(
                self.absolute_pos_embed, self.position_grid, (height, width)
            )
            tokens = (tokens.view(batch_size, height * width, -1) + embedding).flatten(0, 1)
        tokens = self.drop_after_pos(tokens)
        outputs = []
        for number, stage in enumerate(self.stages):
            assert isinstance(stage, SwinStage)
            tokens = self.compute_stage(stage, tokens, batch_size, height, width)
            if number in self.out_indices:
                norm = getattr(self, f'norm{number}')
                outputs.append(normed_map(tokens, norm, batch_size, height, width))
            if stage.downsample is not None:
                tokens = stage.downsample(tokens, batch_size, height, width)
                height, width = (height + 1) // 2, (width + 1) // 2
        return tuple(outputs)

    @abstractmethod
    def compute_stage(
        self, stage: SwinStage, tokens: Tensor, batch_size: int, height: int, width: int
    ) -> Tensor:
        """Computes the blocks of a stage.

        Args:
            stage: The stage.
            tokens: (B * H * W, C); may be changed in place.
            batch_size: Images B.
            height: Height H of the map in tokens.
            width: Width W of the map in tokens.

        Returns:
            (B * H * W, C) tokens before the merging.
        """

    def train(self, mode: bool = True) -> Self:
        """Switches between training and evaluation; frozen stages stay in evaluation."""
        super().train(mode)
        self._freeze()
        return self

    def init_weights(self) -> None:
        """Initialises the parameters, from a checkpoint if `init_cfg` names one.

        Raises:
            CheckpointError: If the checkpoint is no Swin or one of other sizes.
        """
        self._reset_parameters()
        entries = self.init_cfg if isinstance(self.init_cfg, (list, tuple)) else [self.init_cfg]
        pretrained = [entry for entry in entries if entry and entry['type'] == 'Pretrained']
        if self.init_cfg and not pretrained:
            super().init_weights()
        for entry in pretrained:
            report = load_pretrained_swin(
                self, entry['checkpoint'], entry.get('prefix'), self.own_parameters
            )
            print_log(f'{type(self).__name__}: {report}', logger='current')
        self._is_init = True

    def _reset_parameters(self) -> None:
        """Swin's initialisation: truncated normal weights and bias tables, zero biases."""
        for name, parameter in self.named_parameters():
            if name.endswith(('relative_position_bias_table', 'absolute_pos_embed')):
                trunc_normal_(parameter, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def _freeze(self) -> None:
        frozen: list[nn.Module] = []
        if self.frozen_stages >= 0:
            frozen += [self.patch_embed, self.drop_after_pos]
            if self.absolute_pos_embed is not None:
                self.absolute_pos_embed.requires_grad = False
        for stage in range(self.frozen_stages):
            frozen.append(self.stages[stage])
            if stage in self.out_indices:
                frozen.append(getattr(self, f'norm{stage}'))
        for module in frozen:
            module.eval()
            module.requires_grad_(False)


def _norm_layers(norm_cfg: Mapping[str, Any]) -> Callable[[int], nn.LayerNorm]:
    options = dict(norm_cfg)
    kind, trainable = options.pop('type', None), options.pop('requires_grad', True)
    if kind != 'LN' or not trainable or set(options) - {'eps'}:
        raise ConfigError(
            f"norm_cfg is {dict(norm_cfg)}, but it must be dict(type='LN'), with eps if wanted."
        )
    return lambda channels: nn.LayerNorm(channels, **options)


def _activation_layer(act_cfg: Mapping[str, Any]) -> type[nn.Module]:
    layer = getattr(nn, str(act_cfg.get('type')), None)
    if not (isinstance(layer, type) and issubclass(layer, nn.Module)):
        raise ConfigError(
            f'act_cfg is {dict(act_cfg)}, but its type must name an activation of torch.nn, such '
            "as dict(type='GELU')."
        )
    return layer
