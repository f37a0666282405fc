"""The study's results as Markdown tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from projects.camvid_study.findings import (
    COSTS,
    METRICS,
    against_curve,
    against_variant,
    over_seeds,
)
from projects.camvid_study.plan import BUDGETS, CLASSES, SMALL_CLASSES, VARIANTS, Variant
from projects.markdown import table
from projects.seeds import OFF_THE_CURVE, Statistic

_BY_KEY = {variant.key: variant for variant in VARIANTS}
_SEARCHED = [
    _BY_KEY[key]
    for key in (
        'searched-0.5x-finetuned',
        'searched-0.5x-finetuned-at-once',
        'searched-0.7x-finetuned',
    )
]
"""Variants that are compared with lower resolution."""


def tables(report: Mapping[str, Any]) -> dict[str, str]:
    """All tables by their name on the page."""
    return {
        'variants': _variants(report),
        'claim': _claim(report),
        'reasons': _reasons(report),
        'classes': _classes(report),
        'schedules': _schedules(report),
        'windows': _windows(report),
    }


def _figure(found: Statistic | None, sign: str = '') -> str:
    return '' if found is None else found.text(sign)


def _variants(report: Mapping[str, Any]) -> str:
    rows = []
    for variant in VARIANTS:
        records = report['variants'].get(variant.key, {})
        if not records:
            continue
        latencies = [
            _figure(Statistic(tuple(record[part]['median'] for record in records.values())))
            if all(part in record for record in records.values())
            else ''
            for part in ('backbone_ms', 'network_ms')
        ]
        macs = Statistic(tuple(record['macs'] / 1e6 for record in records.values()))
        rows.append(
            [
                variant.name,
                f'{variant.size[0]}×{variant.size[1]}',
                f'{macs.mean:.0f}',
                *latencies,
                *(_figure(over_seeds(report, variant, classes)) for classes in METRICS.values()),
                str(len(records)),
            ]
        )
    head = [
        'variant', 'input', 'MMACs, *counted*', 'backbone ms, *measured*', 'network ms, *measured*',
        'mIoU, *measured*', 'small objects, *measured*', 'seeds',
    ]  # fmt: skip
    return table(head, rows)


def _compared(name: str, found: Mapping[str, Statistic | None]) -> list[str]:
    cells = [name]
    for statistic in found.values():
        cells.append(_figure(statistic, '+'))
        cells.append(statistic.verdict if statistic else OFF_THE_CURVE)
    return [*cells, (found['mIoU'] or Statistic(())).each()]


_HEAD = ['mIoU', 'verdict', 'small objects', 'verdict', 'mIoU, each seed']


def _claim(report: Mapping[str, Any]) -> str:
    rows = []
    for key, name in COSTS.items():
        for variant in _SEARCHED:
            if not report['variants'].get(variant.key):
                continue
            found = {
                what: against_curve(report, variant, key, classes)
                for what, classes in METRICS.items()
            }
            rows.append(_compared(f'{variant.name}, at {name}', found))
    return table(['searched sparsity against lower resolution', *_HEAD], rows)


def _reasons(report: Mapping[str, Any]) -> str:
    dense, at_once = _BY_KEY['dense-at-480-360'], _BY_KEY['searched-0.5x-finetuned-at-once']
    pairs: list[tuple[Variant, Variant]] = [
        (dense, _BY_KEY['dense-at-400-300']),
        (dense, _BY_KEY['dense-at-320-240']),
        (at_once, dense),
        (at_once, _BY_KEY['searched-0.5x-finetuned']),
    ]
    for budget in BUDGETS:
        searched = _BY_KEY[f'searched-{budget}-finetuned']
        adapted = _BY_KEY[f'searched-{budget}-adapted-only']
        pairs += [
            (searched, dense),
            (searched, _BY_KEY[f'uniform-{budget}-finetuned']),
            (searched, _BY_KEY[f'searched-{budget}-random-windows']),
            (searched, adapted),
            (adapted, _BY_KEY[f'uniform-{budget}-adapted-only']),
            (adapted, _BY_KEY[f'searched-{budget}-not-adapted']),
        ]
    pairs += [
        (_BY_KEY['dense-at-400-300'], _BY_KEY['the-same-at-400-300-not-trained-there']),
        (_BY_KEY['dense-at-320-240'], _BY_KEY['the-same-at-320-240-not-trained-there']),
    ]
    rows = []
    for variant, other in pairs:
        found = {
            what: against_variant(report, variant, other, classes)
            for what, classes in METRICS.items()
        }
        if found['mIoU'] is not None:
            rows.append(_compared(f'{variant.name} − {other.name}', found))
    return table(['difference', *_HEAD], rows)


def _classes(report: Mapping[str, Any]) -> str:
    variants = [
        variant
        for variant in VARIANTS
        if variant.priority < 2 and report['variants'].get(variant.key)
    ]
    rows = [
        [
            f'**{name}**' if name in SMALL_CLASSES else name,
            *(_figure(over_seeds(report, variant, [name])) for variant in variants),
        ]
        for name in CLASSES
    ]
    return table(['IoU, *measured*', *(variant.name for variant in variants)], rows)


def _schedules(report: Mapping[str, Any]) -> str:
    rows = []
    for budget in BUDGETS:
        for kind in ('searched', 'uniform'):
            records = report['variants'].get(f'{kind}-{budget}-adapted-only', {}) or report[
                'variants'
            ].get(f'{kind}-{budget}-finetuned', {})
            for seed, record in records.items():
                stages = ['/'.join(f'{r:g}' for r in stage[::2]) for stage in record['schedule']]
                rows.append([f'{kind} {budget}, seed {seed}', *stages])
                if kind == 'uniform':
                    break
    return table(['ratio of every pair of blocks', *(f'stage {n}' for n in range(4))], rows)


def _windows(report: Mapping[str, Any]) -> str:
    rows = []
    for budget, seeds in report.get('windows', {}).items():
        shares = {
            name: Statistic(tuple(100 * found['computed'][name] for found in seeds.values()))
            for name in CLASSES
        }
        rows.append([budget, *(f'{shares[name].mean:.0f}' for name in CLASSES)])
    return table(['% of the blocks that compute a pixel of', *CLASSES], rows)
