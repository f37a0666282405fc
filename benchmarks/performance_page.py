"""Writes what pages say about speed from the results files, and draws the plot.

The tables of docs/performance.md, the targets in CONTRIBUTING.md, docs/images/performance_cpu.png:

python -m benchmarks.performance_page
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.counted import GPUS, LAUNCH_SECONDS, floors, totals
from benchmarks.kernel_tables import changes_table, most_table
from benchmarks.plots import draw
from benchmarks.results_file import load, row_of
from benchmarks.targets import SUMMARY, TARGETS, Sections, best

ROOT = Path(__file__).parents[1]
PAGES = ROOT / 'docs' / 'performance.md', ROOT / 'CONTRIBUTING.md'
PLOT = ROOT / 'docs' / 'images' / 'performance_cpu.png'
RESULTS = ROOT / 'benchmarks' / 'results'
NOT_MEASURED = ''
TIMES = ('median', 'quartiles', 'cpu_median')
PRODUCTS = {'pytorch': 'PyTorch', 'onednn': 'oneDNN'}


def summary_table(cpu: Sections, gpu: Sections) -> str:
    """What matters most, in a few rows."""
    lines = ['| what, beside what | times as fast, CPU | GPU |', '|---|---|---|']
    for row in SUMMARY:
        found = [
            read(sections) if read else None for read, sections in ((row.cpu, cpu), (row.gpu, gpu))
        ]
        lines.append(f'| {row.what} | {" | ".join(text or "not measured" for text in found)} |')
    return '\n'.join(lines)


def targets_table(cpu: Sections, gpu: Sections) -> str:
    """The targets, and what was measured on each device."""
    lines = ['| what | target | CPU | GPU |', '|---|---|---|---|']
    for target in TARGETS:
        found = [
            '–' if read is None else read(sections) or NOT_MEASURED
            for read, sections in ((target.cpu, cpu), (target.gpu, gpu))
        ]
        lines.append(f'| {target.what} | {target.wanted} | {" | ".join(found)} |')
    return '\n'.join(lines)


def latency_tables(sections: Sections) -> str:
    """A table for every section of backbones: latency, processor time, floor."""
    parts = []
    for name in sorted(sections, key=_in_order):
        section = sections[name]
        rows = [row for row in section['rows'] if 'floor' in row and 'median' in row]
        if not rows:
            continue
        lines = [
            f'**{name}**: `{section["command"]}`',
            '',
            '| network | size | batch | dtype | mode | threads | GMACs | ms (middle half) '
            '| processor ms | floor ms | over the floor |',
            '|---|---|---|---|---|---|---|---|---|---|---|',
        ]
        for row in rows:
            first, third = row['quartiles']
            floor = max(row['floor'].values())
            spent = row.get('cpu_median')
            lines.append(
                f'| {row["network"]} | {row["height"]}×{row["width"]} | {row["batch"]} '
                f'| {row["dtype"]} | {row["mode"]} | {row.get("threads", section["threads"])} '
                f'| {row["gmacs"]:.1f} '
                f'| {row["median"]:.0f} ({first:.0f}–{third:.0f}) '
                f'| {"" if spent is None else f"{spent:.0f}"} | {floor:.0f} '
                f'| {row["over_floor"]:.2f} |'
            )
        parts.append('\n'.join(lines))
    return '\n\n'.join(parts)


def _in_order(name: str) -> str:
    """Sorts names by the numbers in them: 448 before 1344."""
    return re.sub(r'\d+', lambda number: number[0].zfill(6), name)


def training_table(sections: Sections) -> str:
    """Steps of training: time, and what the forward keeps."""
    rows = sections.get('training', {}).get('rows', ())
    lines = ['| step | mean ms | median ms (middle half) | kept for the backward, MiB |']
    lines.append('|---|---|---|---|')
    for row in rows:
        if 'median' in row:
            first, third = row['quartiles']
            spread = f'{row["median"]:.0f} ({first:.0f}–{third:.0f})'
            lines.append(
                f'| {row["network"]} | {row["mean"]:.0f} | {spread} | {row["activations_mib"]} |'
            )
    return '\n'.join(lines)


def memory_table(sections: Sections) -> str:
    """Peak memory of one inference."""
    rows = [row for row in sections.get('memory', {}).get('rows', ()) if 'peak_mib' in row]
    lines = ['| network | size | MiB for the inference |', '|---|---|---|']
    lines += [
        f'| {row["network"]} | {row["height"]}×{row["width"]} | {row["inference_mib"]} |'
        for row in rows
    ]
    return '\n'.join(lines)


def operators_table(sections: Sections) -> str:
    """Where the time of each network goes."""
    lines = ['| network | share of the time in operators |', '|---|---|']
    for row in sections.get('operators', {}).get('rows', ()):
        if 'shares' in row:
            shares = ', '.join(f'`{name}` {share:.0%}' for name, share in row['shares'].items())
            lines.append(f'| {row["network"]} | {shares} |')
    return '\n'.join(lines)


def forms_table(sections: Sections, section: str, forms: Mapping[str, str]) -> str:
    """Several ways to compute the same, a row for each shape.

    Args:
        sections: What was measured on a CPU.
        section: Which of it.
        forms: What the table calls each form, in order.
    """
    rows = sections.get(section, {}).get('rows', ())
    first = next(iter(forms))
    shapes = [
        {key: value for key, value in row.items() if key not in ('network', *TIMES)}
        for row in rows
        if row['network'] == first
    ]
    header = [*(shapes[0] if shapes else ()), *(f'{title}, ms' for title in forms.values())]
    lines = [f'| {" | ".join(header)} |', '|---' * len(header) + '|']
    for shape in shapes:
        found = [row_of(sections[section], form, **shape) for form in forms]
        times = [f'{row["cpu_median"]:.2f}' for row in found if row is not None]
        lines.append(f'| {" | ".join(map(str, (*shape.values(), *times)))} |')
    return '\n'.join(lines)


def forms_of_detectors_table(sections: Sections) -> str:
    """Processor time of whole detectors in their inference form, over the first of them."""
    rows = sections.get('inference form', {}).get('rows', ())
    lines = ['| detector | processor ms | faster |', '|---|---|---|']
    for row in rows:
        faster = rows[0]['cpu_median'] / row['cpu_median']
        lines.append(f'| {row["network"]} | {row["cpu_median"]:.0f} | {faster:.2f}× |')
    return '\n'.join(lines)


def sparse_heads_table(sections: Sections) -> str:
    """Whole models, dense and sparse."""
    lines = ['| model | form | processor ms | over dense |', '|---|---|---|---|']
    lines += [
        f'| {row["network"]} | {row["form"]} | {row["cpu_median"]:.0f} | {row["over_dense"]:.2f} |'
        for row in sections.get('sparse heads', {}).get('rows', ())
    ]
    return '\n'.join(lines)


def parts_table(sections: Sections) -> str:
    """A whole detector, taken apart."""
    rows = sections.get('end to end', {}).get('rows', ())
    lines = ['| detector | ms (middle half) | backbone | neck | RPN | RoI heads |']
    lines.append('|---|---|---|---|---|---|')
    for row in rows:
        first, third = row['quartiles']
        parts = ' | '.join(f'{value:.0f}' for value in row['parts'].values())
        lines.append(
            f'| {row["network"]} | {row["median"]:.0f} ({first:.0f}–{third:.0f}) | {parts} |'
        )
    return '\n'.join(lines)


def floors_table(counted: list[dict[str, Any]], gpu: Sections) -> str:
    """What a forward pass asks for, its lower bounds on several GPUs, and what was measured."""
    lines = [
        '| network | operators | host ms | GFLOP | GB | '
        + ' | '.join(f'{name}, ms' for name in GPUS)
        + ' | measured, ms |',
        '|---' * (6 + len(GPUS)) + '|',
    ]
    for row in counted:
        total = totals(row['steps'])
        bounds = [floors(row['steps'], rates) for rates in GPUS.values()]
        section = f'swin {row["side"]}'
        time = best(gpu, section, row['network'], batch=row['batch'], dtype='fp16')
        cells = [
            row['network'],
            str(total['launches']),
            f'{total["launches"] * LAUNCH_SECONDS * 1e3:.1f}',
            f'{total["operations"] / 1e9:.0f}',
            f'{total["bytes"] / 1e9:.2f}',
            *(f'{bound["operations"]:.2f} / {bound["bytes"]:.2f}' for bound in bounds),
            NOT_MEASURED if time is None else f'{time:.2f}',
        ]
        lines.append(f'| {" | ".join(cells)} |')
    return '\n'.join(lines)


def steps_table(counted: list[dict[str, Any]], network: str) -> str:
    """The steps of one forward pass."""
    (row,) = [row for row in counted if row['network'] == network]
    every = totals(row['steps'])['bytes']
    lines = ['| step | operators | GFLOP | MB | share of the bytes |', '|---|---|---|---|---|']
    for name, step in sorted(row['steps'].items(), key=lambda item: -item[1]['bytes']):
        operations, moved = step.get('operations', 0) / 1e9, step['bytes']
        lines.append(
            f'| {name} | {step["launches"]} | {operations:.1f} | {moved / 1e6:.0f} '
            f'| {moved / every:.0%} |'
        )
    return '\n'.join(lines)


def conditions(sections: Sections, device: str) -> str:
    """The machine and the versions, in a sentence."""
    if not sections:
        return (
            f'{device}: not measured, none was at hand'
            if device == 'GPU'
            else f'{device}: not measured yet'
        )
    section: dict[str, Any] = next(iter(sections.values()))
    versions = ', '.join(f'{name} {number}' for name, number in section['versions'].items())
    threads = '1 thread' if section['threads'] == 1 else f'{section["threads"]} threads'
    return f'{device}: {section["machine"]} ({section["cpu_capability"]}), {threads}; {versions}'


def rewritten(page: str, results: Path = RESULTS) -> str:
    """The page with every generated part anew.

    Args:
        page: A page; parts stand between `<!-- name -->` and `<!-- end -->`.
        results: Folder of the results files.
    """
    cpu, gpu = (load(results / f'performance_{name}.json') for name in ('cpu', 'cuda'))
    counted = json.loads((results / 'counted.json').read_text())
    kernels, before = (
        json.loads((results / f'kernel_resources{name}.json').read_text())
        for name in ('', '_before')
    )
    parts: dict[str, Callable[[], str]] = {
        'summary': lambda: summary_table(cpu, gpu),
        'targets': lambda: targets_table(cpu, gpu),
        'cpu conditions': lambda: f'{conditions(cpu, "CPU")}.',
        'gpu conditions': lambda: f'{conditions(gpu, "GPU")}.',
        'cpu latency': lambda: latency_tables(cpu),
        'gpu latency': lambda: latency_tables(gpu) or 'Not measured: no GPU at hand.',
        'kernel resources': lambda: most_table(kernels),
        'kernel changes': lambda: changes_table(before, kernels),
        'counted floors': lambda: floors_table(counted, gpu),
        'counted steps': lambda: steps_table(counted, 'SparseViT-T cfg2'),
        'training': lambda: training_table(cpu),
        'memory': lambda: memory_table(cpu),
        'operators': lambda: operators_table(cpu),
        'products': lambda: forms_table(cpu, 'products', PRODUCTS),
        'detector': lambda: parts_table(cpu),
        'inference form': lambda: forms_of_detectors_table(cpu),
        'sparse heads': lambda: sparse_heads_table(cpu),
    }
    for name, write in parts.items():
        pattern = re.compile(rf'(<!-- {name} -->\n).*?(<!-- end -->)', re.DOTALL)
        page = pattern.sub(lambda found, w=write: f'{found[1]}{w()}\n{found[2]}', page)
    return page


def main() -> None:
    """Rewrites the pages and draws the plot."""
    for page in PAGES:
        page.write_text(rewritten(page.read_text()))
    draw(load(RESULTS / 'performance_cpu.json'), PLOT)


if __name__ == '__main__':
    main()
