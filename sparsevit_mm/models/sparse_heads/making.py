"""Makes the neck and head of a built model sparse, by a call or from a config."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from sparsevit_mm.models.sparse_heads.finding import find_owners, find_parts
from sparsevit_mm.models.sparse_heads.two_passes import TwoPasses
from sparsevit_mm.registry import MODELS


def make_heads_sparse(
    model: nn.Module,
    head_ratios: Sequence[float] = (),
    pool: int = 2,
    ranking: str = 'head',
) -> nn.Module:
    """Makes the neck and head of a built model compute only the windows that matter.

    Served are the convolutions of the neck, of an RPN or dense head, or of a decode head, that look
    at neighbors at stride 1, at the resolutions of the backbone's stages. How many windows they
    skip is part of the backbone's `pruning_schedule`; at ratio 0 the model computes what it did.

    Args:
        model: A detector of MMDetection or segmentor of MMSegmentation whose backbone has a pruning
            schedule; it is changed in place. Parameters keep their names.
        head_ratios: For each stage of the backbone the share of windows that are skipped at its
            resolution; empty for what the schedule has.
        pool: Side of the squares of tokens whose means the coarse pass sees.
        ranking: What windows are ranked by, 'head' or 'backbone', see `TwoPasses`.

    Returns:
        The model.

    Raises:
        ConfigError: If an argument is not allowed, the backbone has no schedule, or the head cannot
            compute windows, with the reason.
    """
    for owner in find_owners(model):
        passes = TwoPasses(find_parts(owner), pool, ranking)
        passes.attach()
        if head_ratios:
            backbone = passes.parts.backbone
            backbone.pruning_schedule = replace(
                backbone.pruning_schedule, head_ratios=tuple(head_ratios)
            )
    return model


def find_two_passes(model: nn.Module) -> list[TwoPasses]:
    """What makes the neck and head of a model sparse: one for each backbone, none if nothing does.

    Args:
        model: Any model.
    """
    found = [getattr(module, 'two_passes', None) for module in model.modules()]
    return list({id(passes): passes for passes in found if passes is not None}.values())


@MODELS.register_module(name='SparseHeads')
def build_sparse_heads(
    of: str,
    head_ratios: Sequence[float] = (),
    head_pool: int = 2,
    head_ranking: str = 'head',
    **model: Any,
) -> nn.Module:
    """Builds a model of a framework and makes its neck and head sparse.

    It stands in a config for the type of the model:

        model = dict(type='sparsevit_mm.SparseHeads', of='MaskRCNN', head_ratios=[.7, .7, 0, 0])

    Args:
        of: The type of the model.
        head_ratios: See `make_heads_sparse`.
        head_pool: Its `pool`.
        head_ranking: Its `ranking`.
        **model: What the model takes.

    Returns:
        The model, of the type that was named.
    """
    built = MODELS.build(dict(type=of, **model))
    return make_heads_sparse(built, head_ratios, head_pool, head_ranking)
