"""Checks that the schedules of a run fit its model and rank windows as its config does.

Weights are adapted to one ranking. If a config's backbone names its `importance` outright, a
schedule that names another one is refused; to use it all the same, change the config. A backbone
that names none takes the schedule's, and a schedule that names none leaves the backbone's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.config import Config
from torch import nn

from sparsevit_mm.checks.configs import typed_configs
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.pruning.importance import build_importance
from sparsevit_mm.pruning.prunable import PrunableBackbone, find_prunable_backbone
from sparsevit_mm.pruning.schedule import PruningSchedule
from sparsevit_mm.registry import HOOKS, SCOPE


def check_importance(schedule: Any, cfg: Config, backbone: PrunableBackbone | None = None) -> None:
    """Checks a schedule against every backbone of a config that names its importance.

    Args:
        schedule: A schedule, or any other form `pruning_ratios` takes, which names no importance.
        cfg: The whole config.
        backbone: See `check_ranking`.

    Raises:
        ConfigError: As `check_ranking` does.
    """
    if isinstance(schedule, PruningSchedule):
        check_ranking(cfg, schedule.importance, 'the schedule', backbone)


def check_ranking(
    cfg: Config, wanted: str | None, owner: str, backbone: PrunableBackbone | None = None
) -> None:
    """Checks an importance against every backbone of a config that names its own.

    Args:
        cfg: The whole config.
        wanted: The importance; None fits any.
        owner: What names it, for the error.
        backbone: The backbone, if it gets the importance after its weights, of which what was
            learned is a part; None if before.

    Raises:
        ConfigError: If a backbone names another one, or the importance comes too late to be loaded.
    """
    if wanted is None:
        return
    for prefix, part in typed_configs(cfg.get('model'), 'model.'):
        own = part.get('importance', wanted)
        if (own.get('type') if isinstance(own, Mapping) else own) != wanted:
            raise ConfigError(
                f'importance of {owner} is {wanted!r}, but must be that of the config, whose '
                f'{prefix}importance is {own!r}: choose the same, or change the config '
                f'with: --cfg-options {prefix}importance={wanted}'
            )
    if backbone is None or backbone.importance.is_learned:
        return
    if build_importance(wanted).is_learned:
        raise ConfigError(
            f'importance of {owner} is {wanted!r}, but the backbone must name it, so that what was '
            'learned is loaded: in its config, which is mostly --cfg-options '
            f'model.backbone.importance={wanted}'
        )


def check_schedules(model: nn.Module, cfg: Config) -> None:
    """Checks that the hooks of this package in `custom_hooks` match a model.

    Args:
        model: Returned by `build_model`; its schedule is changed.
        cfg: The whole config.

    Raises:
        ConfigError: If an argument is wrong, a schedule does not fit or names another importance
            than the config, or the backbone has none.
    """
    for hook_cfg in cfg.get('custom_hooks') or []:
        if _is_ours(hook_cfg):
            hook = HOOKS.build(hook_cfg)
            backbone = find_prunable_backbone(model)
            schedule = getattr(hook, 'schedule', None)
            check_ranking(cfg, getattr(hook, 'importance', None), type(hook).__name__, backbone)
            if schedule is not None:
                check_importance(schedule, cfg, backbone)
                backbone.pruning_schedule = schedule


def _is_ours(cfg: Any) -> bool:
    HOOKS.import_from_location()
    kind = str(cfg.get('type')) if isinstance(cfg, Mapping) else ''
    scope, _, name = kind.rpartition('.')
    return scope.partition('.')[0] in ('', SCOPE) and name in HOOKS.module_dict
