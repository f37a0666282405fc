"""Makes the heads of every config the installed frameworks ship sparse, and says what came of it.

Configs are swapped to SparseViT as `benchmarks.swap_sweep` does and grouped by the types of their
necks and heads; of each group one model is built, with a block a stage in its backbone. Neck and
head compute small maps densely and with half of their windows. Results are written one by one, so
an interrupted sweep goes on where it stopped.

    python -m benchmarks.head_sweep --out benchmarks/results/head_sweep.json
"""

from __future__ import annotations

import argparse
import logging
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS, DefaultScope
from rich.progress import track
from torch import Tensor, nn

from benchmarks.swap_sweep import (
    begun_report,
    name_of,
    plan,
    reason_of,
    shipped_configs,
    write_report,
)
from sparsevit_mm.apis.configs import register_framework
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.models.sparse_heads import find_two_passes, make_heads_sparse
from sparsevit_mm.swap.unsupported import backbone_key, host_of

SIDES = (160, 224)
FRAMEWORKS = ('mmdet', 'mmseg')
BACKBONE = 'sparsevit-tiny'


def try_heads(cfg: Config) -> dict[str, str]:
    """Makes the heads of a swapped config's model sparse, and computes them.

    Returns:
        'applied'; 'refused' with the reason; 'does not build' with the reason, where the framework
        cannot build the model here; or 'failed' with the reason.
    """
    torch.manual_seed(0)
    host: Any = host_of(cfg.model)
    model_cfg = deepcopy(dict(host))
    if 'teacher_ckpt' in model_cfg:
        model_cfg['teacher_ckpt'] = None  # nothing is fetched
    model_cfg[backbone_key(host)] = {**model_cfg[backbone_key(host)], 'depths': (1, 1, 1, 1)}
    if not model_cfg.get('data_preprocessor'):
        model_cfg['data_preprocessor'] = cfg.get('data_preprocessor')
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope')):
        try:
            model: nn.Module = revert_sync_batchnorm(MODELS.build(model_cfg))
            model.eval()  # returns nothing in some models
        except Exception as error:  # the framework's own
            return dict(outcome='does not build', reason=reason_of(error))
        try:
            make_heads_sparse(model)
        except ConfigError as error:
            return dict(outcome='refused', reason=reason_of(error))
        except Exception as error:
            return dict(outcome='failed', reason=reason_of(error))
        try:
            for passes in find_two_passes(model):
                _compare(passes)
        except Exception as error:
            return dict(outcome='failed', reason=reason_of(error))
    return dict(outcome='applied')


@torch.no_grad()
def _compare(passes: Any) -> None:
    """Computes neck and head densely and sparsely: finite, and of the same shapes."""
    parts = passes.parts
    maps = parts.backbone(torch.rand(1, 3, *SIDES))
    shapes = []
    for ratio in (0.0, 0.5):
        ratios = tuple(ratio * can for can in passes.stages)
        parts.backbone.pruning_schedule = dict(ratios=0.0, head_ratios=ratios)
        given = maps if parts.whole_neck is None else parts.whole_neck(maps)
        outputs = flat(parts.head.module(given))
        assert all(bool(output.isfinite().all()) for output in outputs), 'a map is not finite'
        shapes.append([tuple(output.shape) for output in outputs])
    assert shapes[0] == shapes[1], f'the shapes are {shapes[1]}, but must be {shapes[0]}'


def flat(outputs: Any) -> list[Tensor]:
    """The maps in whatever a head returns."""
    if isinstance(outputs, Tensor):
        return [outputs]
    if isinstance(outputs, Mapping):
        outputs = list(outputs.values())
    if isinstance(outputs, (list, tuple)):
        return [found for each in outputs for found in flat(each)]
    return []


def sweep(out: Path, frameworks: Sequence[str] = FRAMEWORKS, every: int = 1) -> dict[str, Any]:
    """Tries one config of each group, going on from what `out` has.

    Args:
        out: JSON file of the results.
        frameworks: Frameworks whose configs are swept.
        every: Only each so-manieth config, for a sample.

    Returns:
        The results: `runs`, by framework and group, and `counts` of their outcomes.
    """
    report = begun_report(out, 'python -m benchmarks.head_sweep')
    seen, runs = report.setdefault('configs', {}), report.setdefault('runs', {})
    for framework in frameworks:
        register_framework(Config(dict(default_scope=framework)))
        for path in track(shipped_configs(framework)[::every], description=framework):
            name = name_of(framework, path)
            if name in seen and (seen[name] in runs or seen[name].startswith('no ')):
                continue
            found, cfg = plan(framework, path, BACKBONE)
            if cfg is None:
                seen[name] = f'no swap: {found["outcome"]}'
                continue
            bends = 'DCN' in str(
                {key: cfg.model[key] for key in cfg.model if 'backbone' not in key}
            )
            seen[name] = f'{framework} {found["group"]}{" deformable" * bends}'
            if seen[name] not in runs:
                runs[seen[name]] = dict(config=name, **try_heads(cfg))
                write_report(out, report)
    report['counts'] = counts(report)
    write_report(out, report)
    return report


def counts(report: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """How many groups, and how many configs in them, had each outcome."""
    groups = Counter(run['outcome'] for run in report['runs'].values())
    configs = Counter(
        report['runs'][key]['outcome'] if key in report['runs'] else key
        for key in report['configs'].values()
    )
    return dict(groups=dict(groups), configs=dict(configs))


def main(argv: Sequence[str] | None = None) -> None:
    """Sweeps, and prints the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', type=Path, default=Path('benchmarks/results/head_sweep.json'))
    parser.add_argument('--frameworks', nargs='+', default=FRAMEWORKS, choices=FRAMEWORKS)
    parser.add_argument('--every', type=int, default=1, help='only each so-manieth config')
    args = parser.parse_args(argv)
    warnings.filterwarnings('ignore')
    logging.disable(logging.WARNING)
    for kind, found in sweep(args.out, args.frameworks, args.every)['counts'].items():
        print(kind, found)


if __name__ == '__main__':
    main()
