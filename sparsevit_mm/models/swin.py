"""Swin Transformer, the network that the backbones of this package are variations of.

Parameter names (`patch_embed.projection`, `stages.i.blocks.j.attn.w_msa.qkv`, `.ffn.layers.0.0`,
`norm0` …) are those of MMDetection's and MMSegmentation's `SwinTransformer` and of SparseViT's
authors, so that one file loads into all of them: rename none. Everything else here may change.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from torch import Tensor, nn
from torch.nn.init import trunc_normal_
from torch.utils.checkpoint import checkpoint

from sparsevit_mm.checkpoints.loading import LoadReport, load_pretrained_swin, resize_to_fit
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.models.empty_batch import maps_of_nothing
from sparsevit_mm.models.pretrained import PretrainedBackbone
from sparsevit_mm.models.swin_arch import SwinArch
from sparsevit_mm.models.window_pruning import WindowPruning
from sparsevit_mm.ops.attention import Masks, attend, edge_masks, relative_position_bias
from sparsevit_mm.ops.backend import chunk_bytes, is_certain, use_chunks
from sparsevit_mm.ops.resizing import resize_position_embedding
from sparsevit_mm.ops.tokens import (
    add_and_norm,
    apply_layers,
    chunks,
    drop_path,
    linear,
    norm_to_channels_last,
    norm_to_nchw,
    norm_tokens,
    norm_windows,
)
from sparsevit_mm.ops.windows import MapWindows, Windows

if TYPE_CHECKING:
    from typing_extensions import Self

PADDINGS = ('swin', 'sparsevit')

_MERGED_BYTES = 2**21
"""Bytes of tokens that a thread merges at a time in inference on a CPU."""


class PatchEmbed(nn.Module):
    """Embeds non-overlapping patches of an image.

    Args:
        in_channels: Channels of the image.
        embed_dims: Channels of a token.
        patch_size: Side of a patch in pixels.
        norm: Norm over the channels of a token, or None.
    """

    def __init__(
        self, in_channels: int, embed_dims: int, patch_size: int, norm: nn.Module | None
    ) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.projection = nn.Conv2d(in_channels, embed_dims, patch_size, patch_size)
        self.norm = norm

    def forward(self, images: Tensor) -> tuple[Tensor, int, int]:
        """Embeds a batch; sizes that are no multiple of the patch are zero-padded.

        Args:
            images: (B, in_channels, H, W).

        Returns:
            (B * H' * W', embed_dims) tokens, H' and W'.
        """
        height, width = images.shape[-2:]
        pad_bottom, pad_right = -height % self.patch_size, -width % self.patch_size
        if not (is_certain(pad_bottom == 0) and is_certain(pad_right == 0)):
            images = F.pad(images, (0, pad_right, 0, pad_bottom))
        # Channels-last, the convolution writes tokens: nothing is left to transpose.
        feature_map = self.projection(images.contiguous(memory_format=torch.channels_last))
        height, width = feature_map.shape[-2:]
        tokens = feature_map.permute(0, 2, 3, 1).reshape(-1, feature_map.shape[1])
        return tokens if self.norm is None else norm_tokens(tokens, self.norm), height, width


class PatchMerging(nn.Module):
    """Joins 2 x 2 neighboring tokens into one of twice the channels.

    The four neighbors of a channel stand in a row, as MMDetection has them; files with Microsoft's
    order are permuted when they are loaded.

    Args:
        embed_dims: Channels C of a token.
        norm: Layer norm over 4 C channels, or None.
    """

    def __init__(self, embed_dims: int, norm: nn.LayerNorm | None) -> None:
        super().__init__()
        self.norm = norm
        self.reduction = nn.Linear(4 * embed_dims, 2 * embed_dims, bias=False)

    def forward(self, tokens: Tensor, batch_size: int, height: int, width: int) -> Tensor:
        """Merges; odd sizes are zero-padded.

        Args:
            tokens: (B * H * W, C).
            batch_size: Images B.
            height: Height H of the map in tokens.
            width: Width W of the map in tokens.

        Returns:
            (B * ceil(H / 2) * ceil(W / 2), 2 * C).
        """
        feature_map = tokens.view(batch_size, height, width, -1)
        if not (is_certain(height % 2 == 0) and is_certain(width % 2 == 0)):
            feature_map = F.pad(feature_map, (0, 0, 0, width % 2, 0, height % 2))
        rows, cols = (height + 1) // 2, (width + 1) // 2
        pairs = feature_map.view(batch_size * rows, 2, cols, 2, -1)
        cut = chunks(pairs, chunk_bytes(_MERGED_BYTES)) if use_chunks(tokens) else (pairs,)
        first, merged = 0, tokens
        for chunk in cut:
            # First whole tokens are moved, then one large matrix is transposed: both are fast.
            neighbors = chunk.permute(1, 3, 0, 2, 4).reshape(4, -1)
            quads = neighbors.t().reshape(-1, 4 * chunk.shape[-1])
            made = linear(self.reduction, quads if self.norm is None else self.norm(quads))
            if len(cut) == 1:
                return made
            if first == 0:
                merged = made.new_empty(batch_size * rows * cols, made.shape[1])
            merged[first : first + len(made)] = made
            first += len(made)
        return merged


class WindowAttention(nn.Module):
    """Multi-head self-attention inside windows, with Swin's relative position bias.

    Args:
        embed_dims: Channels C.
        num_heads: Attention heads; divides `embed_dims`.
        window_size: Side of a window in tokens.
        qkv_bias: Whether queries, keys and values have a bias.
        qk_scale: Factor on query-key products; (C / heads)**-0.5 by default.
        attn_drop_rate: Dropout of attention weights.
        proj_drop_rate: Dropout of the output.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        window_size: int,
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        attn_drop_rate: float = 0.0,
        proj_drop_rate: float = 0.0,
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.window_size = window_size
        self.scale = qk_scale
        self.attn_drop_rate = attn_drop_rate
        self.relative_position_bias_table = nn.Parameter(
            torch.zeros((2 * window_size - 1) ** 2, num_heads)
        )
        self.qkv = nn.Linear(embed_dims, 3 * embed_dims, bias=qkv_bias)
        self.proj = nn.Linear(embed_dims, embed_dims)
        self.proj_drop = nn.Dropout(proj_drop_rate)

    def forward(self, tokens: Tensor, masks: Masks | None = None) -> Tensor:
        """Attends inside each window.

        Args:
            tokens: (W, N, C) normed tokens. Those before the window's own have no place: there is
                no bias between them and any token.
            masks: What windows must not see; None for nothing.

        Returns:
            (W, N, C).
        """
        bias = relative_position_bias(self.relative_position_bias_table, self.window_size)
        before = tokens.shape[1] - bias.shape[1]
        if before:
            bias = F.pad(bias, (before, 0, before, 0))
        dropout = self.attn_drop_rate if self.training else 0.0
        qkv = linear(self.qkv, tokens)
        out = attend(qkv, self.num_heads, bias, masks, self.scale, dropout)
        return self.proj_drop(linear(self.proj, out))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        # Other implementations store this derived index; ours computes it.
        state_dict.pop(prefix + 'relative_position_index', None)
        super()._load_from_state_dict(state_dict, prefix, *args)


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
                    qkv_bias=qkv_bias,
                    qk_scale=qk_scale,
                    attn_drop_rate=attn_drop_rate,
                    proj_drop_rate=drop_rate,
                )
            }
        )
        self.norm2 = norm(embed_dims)
        expand = nn.Sequential(
            nn.Linear(embed_dims, hidden_dims), activation(), nn.Dropout(drop_rate)
        )
        reduce = nn.Linear(hidden_dims, embed_dims)
        self.ffn = nn.ModuleDict({'layers': nn.Sequential(expand, reduce, nn.Dropout(drop_rate))})
        self.drop_path_rate = drop_path_rate

    def forward(
        self,
        own: Tensor | MapWindows,
        windows: Windows,
        carriers: Tensor | None = None,
        masks: Masks | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Computes the block.

        Args:
            own: (W, N, C) tokens of the windows to compute, padding 0.
            windows: Where they lie.
            carriers: (W, K, C) tokens that windows take along, before their own; None for none.
            masks: What windows must not see; by default what lies beyond an edge of the map.

        Returns:
            (W, N, C) tokens, or (W, K + N, C) with carriers, and the FFN's branch, which is still
            to be added to them.
        """
        if masks is None:
            masks = edge_masks(windows)
        if self.with_cp and self.training and torch.is_grad_enabled():
            return checkpoint(self._compute, own, windows, carriers, masks, use_reentrant=False)
        return self._compute(own, windows, carriers, masks)

    def _compute(
        self,
        own: Tensor | MapWindows,
        windows: Windows,
        carriers: Tensor | None,
        masks: Masks | None,
    ) -> tuple[Tensor, Tensor]:
        rate = self.drop_path_rate if self.training else 0.0
        normed = norm_windows(own, self.norm1, windows, self.zero_padding_after_norm)
        if carriers is not None:
            own = own.read() if isinstance(own, MapWindows) else own
            normed = torch.cat([self.norm1(carriers), normed], dim=1)
            own = torch.cat([carriers, own], dim=1)
        attended = self.attn['w_msa'](normed, masks)
        tokens, normed = add_and_norm(own, attended, self.norm2, windows, rate)
        fed_forward = apply_layers(self.ffn['layers'], normed)
        return tokens, drop_path(fed_forward, rate, windows) if rate else fed_forward


class SwinStage(nn.Module):
    """The blocks of one resolution and the merging that ends it; a backbone computes them.

    Args:
        number: Index of the stage.
        blocks: The blocks, plain and shifted in turn.
        downsample: Merging to the next stage, or None.
    """

    blocks: Sequence[SwinBlock]

    def __init__(
        self, number: int, blocks: Sequence[SwinBlock], downsample: PatchMerging | None
    ) -> None:
        super().__init__()
        self.number = number
        self.blocks = nn.ModuleList(blocks)  # type: ignore[assignment]
        self.downsample = downsample


class SwinBackbone(PretrainedBackbone, WindowPruning):
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
        convert_weights: Accepted because Swin configs name it; layouts are recognized by their
            keys.
        frozen_stages: Stages up to this number are frozen: 0 the patch embedding, 1 also the first
            stage, and so on; -1 none.
        init_cfg: `dict(type='Pretrained', checkpoint=...)` takes a file of any layout in
            `sparsevit_mm.checkpoints.layouts`. If the images have more or fewer than the three
            channels of the file, `channels='rgb'` or `'bgr'` in it says what their first three are;
            further ones start from the mean.
        pruning_ratios: The pruning schedule: a number; one number a stage; or a list a stage of 1,
            ceil(depth / 2) or depth numbers. It can be set any time, also as `pruning_schedule`.
        importance: What windows are ranked by: 'l2', the L2 norm of the activation as in the paper;
            'contrast', the deviation of a window's tokens from their mean, which finds objects on
            plain ground; 'peak', the largest such deviation; 'learned', what a probe takes for an
            object; 'random'; or a dict whose `type` is one of one's own in
            `pruning.importance.IMPORTANCES`.
        allocation: How a ratio becomes windows: 'image', the same share of every image as in the
            paper; 'batch', the best windows of all images of a batch, as many in all; or
            dict(type='batch', group_size=6), those of every six images in a row, such as the
            cameras of one frame.

    Attributes:
        arch: The sizes, a `SwinArch`.

    Raises:
        ConfigError: If an argument is outside what is allowed.
    """

    stages: Sequence[SwinStage]

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
        *,
        pruning_ratios: Any = 0.0,
        importance: str | Mapping[str, Any] = 'l2',
        allocation: str | Mapping[str, Any] = 'image',
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
            raise ConfigError(f"padding is {padding!r}, but must be 'swin' or 'sparsevit'.")
        if strides is not None and tuple(strides) != (patch_size, *[2] * (num_stages - 1)):
            raise ConfigError(
                f'strides is {tuple(strides)}, but must be the patch size and then 2 for every '
                f'further stage: {(patch_size, *[2] * (num_stages - 1))}.'
            )
        if not out_indices or not set(out_indices) <= set(range(num_stages)):
            raise ConfigError(
                f'out_indices is {tuple(out_indices)}, but must name stages from 0 to '
                f'{num_stages - 1}.'
            )
        if not -1 <= frozen_stages <= num_stages:
            raise ConfigError(
                f'frozen_stages is {frozen_stages}, but must lie between -1 and {num_stages}.'
            )
        if not 0 <= drop_path_rate < 1:
            raise ConfigError(
                f'drop_path_rate is {drop_path_rate}, but must be at least 0 and below 1.'
            )
        self.out_indices = tuple(sorted(set(out_indices)))
        self.frozen_stages = frozen_stages
        last_stage = self.out_indices[-1]
        if last_stage < num_stages - 1:
            self.arch = replace(self.arch, last_stage=last_stage)

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
        # Nothing is built beyond the last output, so every parameter takes part in training.
        for stage, dims, depth in zip(
            range(last_stage + 1), self.arch.stage_dims, self.arch.depths
        ):
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
            is_last = stage == last_stage
            merging = (
                None if is_last else PatchMerging(dims, norm(4 * dims) if patch_norm else None)
            )
            stages.append(SwinStage(stage, blocks, merging))
        self.stages = nn.ModuleList(stages)  # type: ignore[assignment]
        for stage in self.out_indices:
            self.add_module(f'norm{stage}', norm(self.arch.stage_dims[stage]))
        self.set_pruning(pruning_ratios, importance, allocation)
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
        if is_certain(batch_size == 0):
            return maps_of_nothing(self, images)
        tokens, height, width = self.patch_embed(images)
        if self.absolute_pos_embed is not None:
            embedding = resize_position_embedding(
                self.absolute_pos_embed, self.position_grid, (height, width)
            )
            tokens = (tokens.view(batch_size, height * width, -1) + embedding).flatten(0, 1)
        tokens = self.drop_after_pos(tokens)
        outputs = []
        for number, stage in enumerate(self.stages):
            tokens = self.compute_stage(stage, tokens, batch_size, height, width)
            self.score_stage(number, tokens, height, width)
            if number in self.out_indices:
                norm = getattr(self, f'norm{number}')
                to_map = norm_to_channels_last if self._is_channels_last else norm_to_nchw
                outputs.append(to_map(tokens, norm, batch_size, height, width))
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

    def attention_blocks(self) -> list[nn.Module]:
        """The blocks that compute windows, first to last."""
        return [block for stage in self.stages for block in stage.blocks]

    def train(self, mode: bool = True) -> Self:
        """Switches between training and evaluation; frozen stages stay in evaluation."""
        super().train(mode)
        self._freeze()
        return self

    def load_pretrained(self, entry: Mapping[str, Any]) -> LoadReport:
        """Loads a Swin, see `PretrainedBackbone`."""
        return load_pretrained_swin(
            self,
            entry['checkpoint'],
            entry.get('prefix'),
            self.own_parameters,
            entry.get('channels'),
        )

    def _load_from_state_dict(
        self, state_dict: dict[str, Tensor], prefix: str, *args: Any, **kwargs: Any
    ) -> None:
        """Interpolates position tables of another window or image size before they are loaded."""
        resized = []
        for name, weight in list(state_dict.items()):
            if name.startswith(prefix):
                state_dict[name] = resize_to_fit(self, name[len(prefix) :], weight)
                if state_dict[name] is not weight:
                    resized.append(name)
        if resized:
            print_log(
                f'{type(self).__name__}: {len(resized)} position tables are interpolated to '
                f'another window or image size ({resized[0]}{", …" * (len(resized) > 1)}).',
                logger='current',
            )
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)

    def reset_parameters(self) -> None:
        """Swin's initialization: truncated normal weights and bias tables, zero biases."""
        for name, parameter in self.named_parameters():
            if name.endswith(('relative_position_bias_table', 'absolute_pos_embed')):
                trunc_normal_(parameter, std=0.02)
        super().reset_parameters()

    def _freeze(self) -> None:
        frozen: list[nn.Module] = []
        if self.frozen_stages >= 0:
            frozen += [self.patch_embed, self.drop_after_pos]
            if self.absolute_pos_embed is not None:
                self.absolute_pos_embed.requires_grad = False
        for stage in range(min(self.frozen_stages, len(self.stages))):
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
            f"norm_cfg is {dict(norm_cfg)}, but must be dict(type='LN'), with eps if wanted."
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
