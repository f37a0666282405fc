"""Collects the study's results and tests the claim: every arm against the dense curve."""

from __future__ import annotations

import json
from collections import ChainMap, Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from projects.aerial_study.plan import ARMS, Arm
from projects.importance_study.plan import DATA_SETS, FOUND, LONGER, SIZE
from projects.importance_study.run import StudyRun
from projects.markdown import table
from projects.seeds import NOT_RUN, OFF_THE_CURVE, Statistic, above_curve, mean_and_spread
from sparsevit_mm.pruning.schedule import PruningSchedule
from sparsevit_mm.search.results import show_ratios

METRICS = {
    'AP': 'coco/bbox_mAP',
    'AP small': 'coco/bbox_mAP_s',
    'recall at 300': 'coco/bbox_AR@300',
    'mIoU': 'mIoU',
}
"""Metrics by name in tables; one that results lack is left out."""

COSTS = {'gmacs': 'GMACs', 'ms': 'ms'}
"""Costs of the whole model that a comparison holds equal, by name in tables."""

BACKBONE, NECK, WHOLE = 'backbone', 'neck', 'model'
"""Parts of a model whose costs are named; all others are heads."""


def collect(work_dir: Path, seeds: Sequence[int], costs: Mapping[str, Any]) -> dict[str, Any]:
    """All results that are there.

    Args:
        work_dir: Folder of the study.
        seeds: Seeds that count.
        costs: For each network and arm `gmacs` and `ms`, each of 'model' and its parts.

    Returns:
        For each network and arm the metrics in percent by seed, the costs, and the shares of
        object pixels and of all pixels that are computed. Where each seed has a schedule of its
        own, the costs are those of the mean, and `by_seed` has each and the schedule.
    """
    found: dict[str, Any] = {}
    for network, arms in ARMS.items():
        for arm in arms:
            runs = [StudyRun(DATA_SETS[arm.data], seed, work_dir) for seed in seeds]
            tested = {
                str(run.seed): json.loads(run.result_file(arm.case).read_text())
                for run in runs
                if run.result_file(arm.case).exists()
            }
            if arm.differs_by_seed:
                paid = _costs_by_seed(arm, [r for r in runs if str(r.seed) in tested], costs)
            else:
                paid = _costs(arm, seeds[0], costs)
            found.setdefault(network, {})[arm.name] = {
                'seeds': {seed: _percent(record['metrics']) for seed, record in tested.items()},
                'computed': {
                    seed: {what: record[what]['overall'] for what in ('objects', 'pixels')}
                    for seed, record in tested.items()
                },
                **paid,
            }
    return found


def cost_name(arm: Arm, seed: int) -> str:
    """Name of an arm's costs, which belong to a seed where each has a schedule of its own."""
    return f'{arm.name}, seed {seed}' if arm.differs_by_seed else arm.name


def _costs(arm: Arm, seed: int, costs: Mapping[str, Any]) -> dict[str, Any]:
    """Costs of an arm, or of one that computes the same with other weights; none if unknown."""
    known = [
        (other, costs[network][cost_name(other, seed)])
        for network, arms in ARMS.items()
        for other in arms
        if other.data == arm.priced_as and other.costs_the_same_as(arm)
        if cost_name(other, seed) in costs.get(network, {})
    ]
    if not known:
        return {}
    ranked_alike = [one for one in known if one[0].case.importance == arm.case.importance]
    own_first = sorted(ranked_alike or known, key=lambda one: one[0].name != arm.name)
    paid = ChainMap(*(found for _, found in own_first))
    is_timed = ranked_alike or not (arm.case.ratio or arm.case.search)  # a ranking takes time
    return {cost: value for cost, value in paid.items() if is_timed or cost != 'ms'}


def _costs_by_seed(arm: Arm, runs: Sequence[StudyRun], costs: Mapping[str, Any]) -> dict[str, Any]:
    by_seed = {str(run.seed): _costs(arm, run.seed, costs) for run in runs}
    paid: dict[str, Any] = {}
    for cost in COSTS:
        known = [each[cost] for each in by_seed.values() if cost in each]
        if known and len(known) == len(runs):
            paid[cost] = {part: round(fmean(one[part] for one in known), 3) for part in known[0]}
    for run in runs:
        by_seed[str(run.seed)]['schedule'] = run.found_schedule(arm.case).to_dict()
    return {**paid, 'by_seed': by_seed}


def _percent(metrics: Mapping[str, float]) -> dict[str, float]:
    # MMDetection reports nothing if nothing is detected at all.
    known = {name: metrics[key] for name, key in METRICS.items() if key in metrics}
    return {
        name: round(value if name == 'mIoU' else 100 * value, 2)
        for name, value in (known or {'AP': 0.0}).items()
    }


def against_curve(
    found: Mapping[str, Any], arms: Sequence[Arm], arm: Arm, cost: str, metric: str
) -> Statistic | None:
    """Difference between an arm and dense networks of equal cost.

    Args:
        found: Results of one network, see `collect`.
        arms: All arms of the network.
        arm: The arm that is compared.
        cost: A key of `COSTS`.
        metric: A key of `METRICS`.

    Returns:
        The difference in points for every seed that has all of the curve that any seed has; None
        if there is none, or no dense network is as cheap.
    """
    record = found[arm.name]
    curve = [found[other.name] for other in arms if other.curve]
    curve = [point for point in curve if point['seeds'] and cost in point]
    differences = []
    for seed, metrics in record['seeds'].items():
        levels = [point['seeds'].get(seed, {}) for point in curve]
        if cost not in record or any(metric not in level for level in (metrics, *levels)):
            continue
        points = [(point[cost]['model'], level[metric]) for point, level in zip(curve, levels)]
        paid = record.get('by_seed', {}).get(seed, record)
        difference = above_curve(points, paid[cost]['model'], metrics[metric])
        if difference is not None:
            differences.append(difference)
    return Statistic(tuple(differences)) if differences else None


def tables(report: Mapping[str, Any]) -> dict[str, str]:
    """All tables by their name on the page: `<network> <kind>`."""
    made = {}
    for network, arms in ARMS.items():
        found = report['arms'].get(network, {})
        tested = [arm for arm in arms if found.get(arm.name, {}).get('seeds')]
        for kind, make in _KINDS.items():
            made[f'{network} {kind}'] = make(found, tested) if tested else f'*{NOT_RUN}*'
        groups = report.get('emptiness', {}).get(network, ())
        made[f'{network} emptiness'] = _by_emptiness(found, tested, groups)
    made['hours'] = _hours(report.get('hours', {}))
    return made


def _hours(hours: Mapping[str, float]) -> str:
    """What the trainings, searches and tests of each data set took."""
    rows = [[DATA_SETS[name].title, f'{spent:.1f}'] for name, spent in hours.items()]
    rows.append(['in all', f'{sum(hours.values()):.1f}'])
    return table(['data and network, all seeds', 'hours'], rows) if hours else f'*{NOT_RUN}*'


def _by_emptiness(
    found: Mapping[str, Any], arms: Sequence[Arm], groups: Sequence[Mapping[str, Any]]
) -> str:
    """Differences from the dense curve at equal time, in groups of ever emptier frames.

    Costs are those of all frames: an arm and the curve see the same frames of a group.
    """
    known = [
        {name: dict(found[name], seeds={seed: {'AP': ap} for seed, ap in scores.items()})
         for name, scores in group['arms'].items() if name in found}
        for group in groups
    ]  # fmt: skip
    rows = []
    for arm in arms:
        if arm.curve or not all(arm.name in each for each in known):
            continue
        there = [[other for other in arms if other.name in each] for each in known]
        found_here = [
            against_curve(each, others, arm, 'ms', 'AP') for each, others in zip(known, there)
        ]
        if any(found_here):
            cells = [f'{one.text("+")}, {one.verdict}' if one else '' for one in found_here]
            rows.append([arm.name, *cells])
    shares = [' to '.join(f'{value:.0%}' for value in group['empty'][::2]) for group in groups]
    numbers = [len(group['frames']) for group in groups]
    head = [f'{share} empty, {number} frames' for share, number in zip(shares, numbers)]
    return (
        table(['AP against lower resolution at equal ms', *head], rows) if rows else f'*{NOT_RUN}*'
    )


def _figures(found: Mapping[str, Any], arms: Sequence[Arm]) -> str:
    """Metrics, costs, and which share of object pixels and of all pixels the backbone computes."""
    metrics = _metrics(found, arms)
    rows = []
    for arm in arms:
        record = found[arm.name]
        computed = [
            Statistic(tuple(100 * shares[what] for shares in record['computed'].values()))
            for what in ('objects', 'pixels')
        ]
        rows.append(
            [
                arm.name,
                *(f'{record[cost]["model"]:.1f}' if cost in record else NOT_RUN for cost in COSTS),
                *(
                    mean_and_spread(
                        each[metric] for each in record['seeds'].values() if metric in each
                    )
                    for metric in metrics
                ),
                *(f'{share.mean:.0f}%' for share in computed),
            ]
        )
    head = [
        'arm', 'GMACs of the model, *counted*', 'ms of the model, *measured*',
        *(f'{metric}, *measured*' for metric in metrics), 'objects computed', 'pixels computed',
    ]  # fmt: skip
    return table(head, rows)


def _claim(found: Mapping[str, Any], arms: Sequence[Arm]) -> str:
    """Differences from the dense curve with verdicts, at equal MACs and at equal time."""
    metrics = _metrics(found, [arm for arm in arms if arm.curve])
    if not metrics:
        return f'*{NOT_RUN}*'
    rows = []
    for cost, title in COSTS.items():
        for arm in arms:
            if arm.curve or cost not in found[arm.name]:
                continue
            cells = [f'{arm.name}, at equal {title}']
            for metric in metrics:
                difference = against_curve(found, arms, arm, cost, metric)
                cells.append(difference.text('+') if difference else '')
                cells.append(difference.verdict if difference else OFF_THE_CURVE)
            first = against_curve(found, arms, arm, cost, metrics[0])
            rows.append([*cells, first.each() if first else ''])
    head = [cell for metric in metrics for cell in (metric, 'verdict')]
    each = f'{metrics[0]}, each seed'
    return table(['against lower resolution', *head, each], rows)


def _own_size(found: Mapping[str, Any], arms: Sequence[Arm]) -> str:
    """Differences between sparse and dense networks that are all trained further at one size."""
    tuned = [
        replace(arm, curve=arm.case.weights.startswith(LONGER))
        for arm in arms
        if SIZE in arm.case.weights or FOUND in arm.case.weights
    ]
    return _claim(found, tuned) if tuned else f'*{NOT_RUN}*'


def _parts(found: Mapping[str, Any], arms: Sequence[Arm]) -> str:
    """Where the MACs and the time of every arm go."""
    rows = []
    for arm in arms:
        record = found[arm.name]
        cells = []
        for cost in COSTS:
            whole = record.get(cost)
            parts = _three_parts(whole) if whole else []
            rest = [whole[WHOLE] - sum(parts)] if whole and cost == 'ms' else []
            cells.append(' / '.join(f'{part:.1f}' for part in (*parts, *rest)) or NOT_RUN)
        rows.append([arm.name, *cells])
    head = ['arm', 'GMACs of backbone / neck / head', 'ms of backbone / neck / head / all else']
    return table(head, rows)


def _three_parts(whole: Mapping[str, float]) -> list[float]:
    heads = sum(paid for part, paid in whole.items() if part not in (WHOLE, BACKBONE, NECK))
    return [whole.get(BACKBONE, 0.0), whole.get(NECK, 0.0), heads]


def _schedules(found: Mapping[str, Any], arms: Sequence[Arm]) -> str:
    """What searches found, seed by seed."""
    rows = []
    for arm in arms:
        for seed, own in found[arm.name].get('by_seed', {}).items():
            schedule = PruningSchedule.from_dict(own['schedule'])
            heads = ' '.join(f'{ratio:g}' for ratio in schedule.head_ratios)
            rows.append(
                [
                    arm.name,
                    seed,
                    f'{schedule.scale:g}×',
                    show_ratios(PruningSchedule(schedule.ratios)),
                    heads,
                    f'{own["gmacs"]["model"]:.1f}' if 'gmacs' in own else NOT_RUN,
                    f'{found[arm.name]["seeds"][seed]["AP"]:.1f}',
                ]
            )
    head = ['found by', 'seed', 'size', 'backbone skips', 'neck and head skip', 'GMACs', 'AP']
    return table(head, rows) if rows else f'*{NOT_RUN}*'


def _verdict(found: Mapping[str, Any], arms: Sequence[Arm]) -> str:
    """What the claim's table says, in a sentence for each cost."""
    sentences = []
    metric = next(iter(_metrics(found, arms)), 'AP')
    for cost, title in COSTS.items():
        compared = {
            arm.name: against_curve(found, arms, arm, cost, metric) for arm in arms if not arm.curve
        }
        known = {name: difference for name, difference in compared.items() if difference}
        if not known:
            continue
        counts = Counter(difference.verdict for difference in known.values())
        best, difference = max(known.items(), key=lambda pair: pair[1].mean)
        each = ', '.join(f'{verdict}: {number}' for verdict, number in counts.most_common())
        sentences.append(
            f'At equal {title} of the whole model, {len(known)} arms are compared with lower '
            f'resolution ({each}). The largest difference in {metric} is {difference.text("+")} '
            f'({difference.verdict}), of *{best}*.'
        )
    return ' '.join(sentences) or f'*{NOT_RUN}*'


_KINDS = {
    'verdict': _verdict,
    'arms': _figures,
    'claim': _claim,
    'own size': _own_size,
    'parts': _parts,
    'schedules': _schedules,
}


def _metrics(found: Mapping[str, Any], arms: Sequence[Arm]) -> list[str]:
    known = {
        metric for arm in arms for each in found[arm.name]['seeds'].values() for metric in each
    }
    return [metric for metric in METRICS if metric in known]
