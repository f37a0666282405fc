"""Collects the study's results and makes its tables: means over seeds and their spread."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from projects.importance_study.plan import (
    DATA_SETS,
    FORMS,
    FORMS_OF,
    LONGER,
    NEUTRAL,
    RATIOS,
    SCALES,
    Case,
    DataSet,
    compared_cases,
    form_cases,
    trial_cases,
)
from projects.importance_study.run import StudyRun
from projects.markdown import table as markdown_table
from projects.seeds import NOT_RUN, mean_and_spread


def collect(runs: Sequence[StudyRun]) -> dict[str, Any]:
    """All results that are there.

    Returns:
        For every data set, case and seed what `StudyRun.measure` found, and what it ran on.
    """
    found: dict[str, Any] = {'machines': [], 'versions': [], 'results': {}}
    for run in runs:
        cases = (*compared_cases(run.data), *trial_cases(run.data), *form_cases(run.data))
        for case in dict.fromkeys(cases):
            if not run.result_file(case).exists():
                continue
            record = json.loads(run.result_file(case).read_text())
            for key, value in (
                ('machines', record.pop('machine')),
                ('versions', record.pop('versions')),
            ):
                if value not in found[key]:
                    found[key].append(value)
            of_data = found['results'].setdefault(run.data.name, {})
            of_data.setdefault(case.key, {})[str(run.seed)] = record
    return found


def table(report: Mapping[str, Any], data: DataSet) -> str:
    """The Markdown table of a data set: every importance, and the dense network at every scale."""
    rows = []
    for name in data.importances:
        cells = [f'`{name}`']
        cells += [_metric(report, data, Case(name, name, ratio)) for ratio in RATIOS]
        sparsest = Case(name, name, RATIOS[-1])
        cells += [_share(report, data, sparsest, which) for which in ('objects', 'pixels')]
        rows.append([*cells, _stages(report, data, sparsest)])
    scales = (1.0, *SCALES)
    dense = ', '.join(
        f'{_metric(report, data, Case(LONGER, scale=scale))} at {scale:g}×' for scale in scales
    )
    head = [
        'adapted and tested with', *(_ratio_title(ratio) for ratio in RATIOS),
        f'objects at {RATIOS[-1]:.0%}', f'pixels at {RATIOS[-1]:.0%}', 'objects, each stage',
    ]  # fmt: skip
    skipping = f'{markdown_table(head, rows)}\n\n' if rows else ''
    return f'{skipping}Dense network, trained as long without skipping: {dense}.'


def costs(report: Mapping[str, Any], data: DataSet) -> str:
    """Mean GMACs of the backbone on a test frame, of every ratio and scale."""
    any_importance = data.importances[-1:]
    cases = {_ratio_title(r): Case(name, name, r) for name in any_importance for r in RATIOS}
    cases |= {f'dense at {scale:g}×': Case(LONGER, scale=scale) for scale in (1.0,) if not cases}
    cases |= {f'dense at {scale:g}×': Case(LONGER, scale=scale) for scale in SCALES}
    found = {
        name: fmean(record['macs'] for record in _records(report, data, case))
        for name, case in cases.items()
        if _records(report, data, case)
    }
    return ', '.join(f'{name} {macs / 1e9:.2f}' for name, macs in found.items())


def trials(report: Mapping[str, Any], data: DataSet) -> str:
    """The Markdown table of importances that are swapped in at test time."""
    rows = [
        [
            f'`{case.importance}`',
            _metric(report, data, case),
            *(_share(report, data, case, which) for which in ('objects', 'pixels')),
        ]
        for case in (*trial_cases(data), Case(NEUTRAL, NEUTRAL, RATIOS[-1]))
    ]
    head = ['tested with', f'{data.metric_title} at {RATIOS[-1]:.0%}', 'objects', 'pixels']
    return markdown_table(head, rows)


def tables(report: Mapping[str, Any]) -> dict[str, str]:
    """What stands on the page, by name: `<data set>` and `<data set> trials`.

    Args:
        report: From `collect`.
    """
    made = {}
    for data in DATA_SETS.values():
        ran = report['results'].get(data.name, {})
        main = [table(report, data), f'GMACs of the backbone: {costs(report, data)}.']
        made[data.name] = '\n\n'.join(main) if ran else f'*{NOT_RUN}*'
        made[f'{data.name} trials'] = trials(report, data)
    made['forms'] = forms(report)
    return made


def forms(report: Mapping[str, Any]) -> str:
    """The Markdown table of the metric in every inference form, of the data sets that have it."""
    rows = []
    for data in DATA_SETS.values():
        for ratio in (RATIOS[0], RATIOS[-1]):
            cases = [Case(FORMS_OF, FORMS_OF, ratio, form=form) for form in FORMS]
            if not all(_records(report, data, case) for case in cases):
                continue
            cells = [_metric(report, data, case) for case in cases]
            rows.append([f'{data.title}, {data.metric_title}, {_ratio_title(ratio)}', *cells])
    return markdown_table(['', 'plain', *FORMS[1:]], rows) if rows else f'*{NOT_RUN}*'


def _records(report: Mapping[str, Any], data: DataSet, case: Case) -> list[Mapping[str, Any]]:
    return list(report['results'].get(data.name, {}).get(case.key, {}).values())


def _metric(report: Mapping[str, Any], data: DataSet, case: Case) -> str:
    return mean_and_spread([record['metric'] for record in _records(report, data, case)])


def _share(report: Mapping[str, Any], data: DataSet, case: Case, which: str) -> str:
    found = [100 * record[which]['overall'] for record in _records(report, data, case)]
    return f'{fmean(found):.0f}%' if found else NOT_RUN


def _stages(report: Mapping[str, Any], data: DataSet, case: Case) -> str:
    found = [record['objects']['stages'] for record in _records(report, data, case)]
    return ' / '.join(f'{100 * fmean(stage):.0f}' for stage in zip(*found)) if found else NOT_RUN


def _ratio_title(ratio: float) -> str:
    return f'{ratio:.0%} skipped' if ratio else 'dense'
