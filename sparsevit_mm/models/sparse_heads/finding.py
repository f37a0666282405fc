"""Which neck and head of a model can compute windows, and which convolutions in them do."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sparsevit_mm.errors import ConfigError
from sparsevit_mm.models.sparse_heads.convolution import fits_windows
from sparsevit_mm.pruning.prunable import PrunableBackbone, find_prunable_backbone

HEADS = ('rpn_head', 'bbox_head', 'decode_head')

# Where the maps of a level meet those of others before its convolutions, only what these
# convolutions get is pooled: so every level of the coarse pass sees the others in full detail.
_LATE_POOLING = {'FPN': 'fpn_convs.', 'UPerHead': 'fpn_convs.'}

# What does not depend on what is pooled, or only where its own map is: the second pass need not
# compute it again.
_REPEATED = {
    'FPN': ('lateral_convs.', 'fpn_convs.'),
    'UPerHead': ('lateral_convs.', 'psp_modules.', 'bottleneck.', 'fpn_convs.'),
}

_ATTENTION = {
    'MultiScaleDeformableAttention',
    'MultiheadAttention',
    'MSDeformAttnPixelDecoder',
    'PixelDecoder',
    'WindowMSA',
}
_DEFORMABLE = {'DeformConv2d', 'ModulatedDeformConv2d', 'DeformConv2dPack', 'DynamicConv'}

_ROWS, _COLS = 16, 8  # of the first stage's map that the parts are tried on


@dataclass(frozen=True)
class Part:
    """A neck or head that computes windows.

    Attributes:
        name: Its name in the model.
        module: The module.
        calls: By the name of each convolution in it that can compute windows, the stages at whose
            resolutions it is called, one for each call.
        late: The stage of every convolution in front of which the coarse pass pools a map. Without
            any, it pools what the part is given.
        repeated: Convolutions that give the same in both passes where they get the same size.
        repeated_modules: Modules of such a convolution, a norm and an activation.
    """

    name: str
    module: nn.Module
    calls: dict[str, tuple[int, ...]]
    late: dict[str, int]
    repeated: frozenset[str]
    repeated_modules: frozenset[str]


@dataclass(frozen=True)
class Parts:
    """What follows a backbone.

    Attributes:
        backbone: The backbone.
        neck: The neck; None if the head reads the backbone's maps, or the neck has no convolution
            that can compute windows.
        whole_neck: The module of whatever neck the model has.
        head: The head.
        segments: Whether the head labels pixels; else it finds objects.
        levels: The stage that has the resolution of each map that the head is given; None for maps
            of other resolutions.
    """

    backbone: Any
    neck: Part | None
    whole_neck: nn.Module | None
    head: Part
    segments: bool
    levels: tuple[int | None, ...]

    @property
    def all(self) -> tuple[Part, ...]:
        """Neck and head, in the order in which they compute."""
        return (self.head,) if self.neck is None else (self.neck, self.head)

    @property
    def stages(self) -> tuple[bool, ...]:
        """At the resolutions of which stages windows can be skipped."""
        called = {s for part in self.all for calls in part.calls.values() for s in calls}
        if not self.segments:
            called &= set(self.levels)  # only the head's own maps can be ranked
        return tuple(stage in called for stage in range(len(self.backbone.arch.depths)))


def find_owners(model: nn.Module) -> list[nn.Module]:
    """Finds the modules of a model that own a ranked backbone and a head behind it.

    Args:
        model: A detector or segmentor, or a wrapper of one.

    Returns:
        The modules: one, or several of a model that has a student and a teacher.

    Raises:
        ConfigError: If there is none.
    """
    owners = [
        module
        for module in model.modules()
        if isinstance(getattr(module, 'backbone', None), PrunableBackbone)
        and any(getattr(module, name, None) is not None for name in HEADS)
    ]
    if not owners:
        find_prunable_backbone(model)  # says what is wrong with the backbone
        raise ConfigError(
            f'{type(model).__name__} has no head whose convolutions could compute windows: it must '
            f'have a {", ".join(HEADS[:-1])} or {HEADS[-1]} behind its backbone.'
        )
    return owners


def find_parts(owner: Any) -> Parts:
    """Finds neck and head of a model, and tries them on a small map.

    Args:
        owner: One of `find_owners`.

    Raises:
        ConfigError: If the head cannot compute windows, with the reason.
    """
    name = next(name for name in HEADS if getattr(owner, name, None) is not None)
    head = getattr(owner, name)
    neck = getattr(owner, 'neck', None)
    _check(owner, name, head, neck)
    backbone = owner.backbone
    maps = small_maps(backbone)
    sizes = {tuple(m.shape[2:]): s for m, s in zip(maps, sorted(backbone.out_indices))}
    parts: list[tuple[str, Any]] = [('neck', neck)] * (neck is not None) + [(name, head)]
    with evaluating(head, *([] if neck is None else [neck])), torch.no_grad():
        try:
            with _called_sizes(parts) as called:
                inputs = maps if neck is None else neck(maps)
                outputs = head(inputs)
        except (RuntimeError, TypeError, ValueError, AttributeError, AssertionError) as error:
            reason = f'it does not map feature maps to others ({error})'
            raise _refused(owner, name, head, reason) from error
    found = {part: _described(part, module, called[part], sizes, maps) for part, module in parts}
    levels = tuple(sizes.get(tuple(level.shape[2:])) for level in inputs)
    if 'inference_form' in dict(owner.named_children()):
        raise _refused(
            owner,
            name,
            head,
            'the model is in its inference form already, so make the heads sparse first',
        )
    if not any(part.calls for part in found.values()):
        raise _refused(
            owner,
            name,
            head,
            'no convolution of it looks at neighbors at stride 1 at a resolution of the backbone',
        )
    segments = isinstance(outputs, Tensor)
    if not segments:
        _check_levels(owner, name, head, outputs, inputs)
    has_neck = 'neck' in found and bool(found['neck'].calls)
    neck_part = found['neck'] if has_neck else None
    return Parts(backbone, neck_part, neck, found[name], segments, levels)


def small_maps(backbone: Any) -> tuple[Tensor, ...]:
    """Maps such as the backbone gives, of 16 x 8 tokens in the first stage."""
    weight = next(backbone.parameters())
    return tuple(
        weight.new_zeros(1, backbone.arch.stage_dims[s], -(-_ROWS // 2**s), -(-_COLS // 2**s))
        for s in sorted(backbone.out_indices)
    )


@contextlib.contextmanager
def evaluating(*modules: nn.Module) -> Iterator[None]:
    """Takes modules for evaluation, and gives each its mode back."""
    training = [part for module in modules for part in module.modules() if part.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


def _check(owner: Any, name: str, head: nn.Module, neck: nn.Module | None) -> None:
    if isinstance(head, nn.ModuleList):
        raise _refused(owner, name, head, 'it is a cascade of several heads')
    decoder = getattr(head, 'pixel_decoder', None)
    if decoder is not None:
        raise _refused(
            owner, name, head, f'its pixel decoder {type(decoder).__name__} attends to whole maps'
        )
    if hasattr(owner, 'view_transform'):
        raise _refused(
            owner, name, head, 'it reads a map seen from above, not those of the backbone'
        )
    children = [child for kind, child in owner.named_children() if 'coder' in kind]
    parts: list[nn.Module] = [head, *children, *([] if neck is None else [neck])]
    for part in parts:
        for module in part.modules():
            kinds = {kind.__name__ for kind in type(module).__mro__}
            if kinds & _ATTENTION:
                raise _refused(owner, name, head, f'{type(module).__name__} attends to whole maps')
            if kinds & _DEFORMABLE:
                reason = f'{type(module).__name__} reads where it wants to, not in windows'
                raise _refused(owner, name, head, reason)


def _refused(owner: nn.Module, name: str, head: nn.Module, reason: str) -> ConfigError:
    return ConfigError(
        f'{name} of {type(owner).__name__} is {type(head).__name__}, which cannot compute windows: '
        f'{reason}.'
    )


@contextlib.contextmanager
def _called_sizes(
    parts: Iterable[tuple[str, nn.Module]],
) -> Iterator[dict[str, dict[str, list[tuple[int, ...]]]]]:
    """Notes with which sizes the convolutions of each part are called."""
    called: dict[str, dict[str, list[tuple[int, ...]]]] = {}
    handles = []
    for part, module in parts:
        called[part] = defaultdict(list)
        for name, conv in module.named_modules():
            if isinstance(conv, nn.Conv2d):

                def note(_: nn.Module, inputs: Any, sizes: Any = called[part][name]) -> None:
                    sizes.append(tuple(inputs[0].shape[2:]))

                handles.append(conv.register_forward_pre_hook(note))
    try:
        yield called
    finally:
        for handle in handles:
            handle.remove()


def _described(
    name: str,
    module: Any,
    called: dict[str, list[tuple[int, ...]]],
    stages: dict[tuple[int, ...], int],
    maps: Sequence[Tensor],
) -> Part:
    convs = dict(module.named_modules())
    calls = {
        conv: tuple(stages[size] for size in sizes if size in stages)
        for conv, sizes in called.items()
        if type(convs[conv]) is nn.Conv2d and fits_windows(convs[conv])
    }
    calls = {conv: found for conv, found in calls.items() if found}
    kind = type(module).__name__
    begins = _LATE_POOLING.get(kind)
    # The levels of a dense head do not see each other.
    prefixes = _REPEATED.get(kind, ('',) if name in ('rpn_head', 'bbox_head') else ())
    repeated = frozenset(conv for conv in called if conv.startswith(prefixes))
    late = {}
    if begins is not None:
        late = {conv: found[0] for conv, found in calls.items() if conv.startswith(begins)}
        # What is the same in both passes has nothing coarse to fill windows with.
        calls = {
            conv: found for conv, found in calls.items() if conv in late or conv not in repeated
        }
    modules = frozenset(
        owner
        for owner, part in convs.items()
        if kind in _REPEATED and f'{owner}.conv' in repeated and _begins_with_conv(part)
    )
    return Part(name, module, calls, late, repeated, modules)


def _begins_with_conv(module: Any) -> bool:
    """Whether a module is mmcv's of a convolution, a norm and an activation, in that order."""
    is_plain = type(module).__name__ == 'ConvModule' and 'forward' not in module.__dict__
    return is_plain and module.order[0] == 'conv' and not module.with_explicit_padding


def _check_levels(
    owner: Any, name: str, head: nn.Module, outputs: Any, inputs: Sequence[Tensor]
) -> None:
    scores = outputs[0] if isinstance(outputs, (tuple, list)) and outputs else None
    is_levels = (
        isinstance(scores, (tuple, list))
        and len(scores) == len(inputs)
        and all(
            isinstance(score, Tensor) and score.ndim == 4 and score.shape[2:] == level.shape[2:]
            for score, level in zip(scores, inputs)
        )
    )
    if not is_levels:
        raise _refused(owner, name, head, 'it does not begin with a map of logits for every level')
