"""The targets and the summary, and what the results files say about each.

On a CPU ratios are of processor time, which other processes on the machine do not lengthen; on a
GPU of latency.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from benchmarks.networks import FASTERVIT_VARIANTS
from benchmarks.results_file import row_of
from benchmarks.sparse_heads import CASES, FORMS, with_heads

Sections = dict[str, Any]
_DENSE = 'SparseViT-T dense'
_PYTORCH = ', pytorch'
_STOCK = "mmdet's Swin-T"


@dataclass(frozen=True)
class Target:
    """One row of a table.

    Attributes:
        what: What is compared.
        wanted: The target in words; nothing in the summary.
        cpu: Says what a CPU's sections show, None where they lack it.
        gpu: The same of a GPU's.
    """

    what: str
    wanted: str = ''
    cpu: Callable[[Sections], str | None] | None = None
    gpu: Callable[[Sections], str | None] | None = None


def ratio(sections: Sections, section: str, over: str, under: str, **case: Any) -> float | None:
    """How many times longer one network takes than another in one run.

    Args:
        sections: Of a results file.
        section: Name of the section that has both.
        over: The slower network.
        under: The faster one.
        **case: The circumstances; without a mode, each network's best is taken.
    """
    found = [best(sections, section, network, **case) for network in (over, under)]
    if found[0] is None or found[1] is None:
        return None
    return found[0] / found[1]


def best(sections: Sections, section: str, network: str, **case: Any) -> float | None:
    """The shortest median of a network over the modes that were measured, in milliseconds."""
    modes = [case.pop('mode')] if 'mode' in case else ['eager', 'compiled', 'graph']
    rows = [row_of(sections.get(section, {}), network, mode=mode, **case) for mode in modes]
    times = [row.get('cpu_median', row['median']) for row in rows if row is not None]
    return min(times, default=None)


def over_macs(sections: Sections, schedule: str, form: str = '', **case: Any) -> float | None:
    """Sparse time over what the dense time and the MACs promise, at 672 x 672."""
    section = sections.get('swin 672', {})
    sparse, dense = (f'SparseViT-T {name}{form}' for name in (schedule, 'dense'))
    shorter = ratio(sections, 'swin 672', sparse, dense, **case)
    rows = [row_of(section, name, **case) for name in (sparse, dense)]
    if shorter is None or rows[0] is None or rows[1] is None:
        return None
    return shorter / (rows[0]['gmacs'] / rows[1]['gmacs'])


def deviation_from_line(sections: Sections, network: str) -> float | None:
    """Largest deviation of the time per pixel from its mean over the sizes, from 448 on."""
    per_pixel = []
    for name, section in sections.items():
        row = row_of(section, network, batch=1, dtype='fp32', mode='eager')
        if name.startswith('resolution ') and row is not None:
            pixels = row['height'] * row['width']
            per_pixel.append(row.get('cpu_median', row['median']) / pixels)
    if len(per_pixel) < 2:
        return None
    mean = sum(per_pixel) / len(per_pixel)
    return max(abs(value / mean - 1) for value in per_pixel)


_CPU: dict[str, Any] = dict(batch=1, dtype='fp32', mode='eager')
_GPU: dict[str, Any] = dict(batch=4, dtype='fp16')
_GPU_128 = dict(_GPU, batch=128)
_FASTERVIT_0 = ('fastervit package 0', 'FasterViT-0 deployed')


def _times(value: float | None) -> str | None:
    return None if value is None else f'{value:.2f}×'


def _several(found: Iterable[tuple[str, float | None]], suffix: str = '') -> str | None:
    texts = [f'{name} {value:.2f}{suffix}' for name, value in found if value is not None]
    return ', '.join(texts) or None


def _sparse(case: dict[str, Any], form: str = '') -> Callable[[Sections], str | None]:
    return lambda sections: _several(
        (name, over_macs(sections, name, form, **case)) for name in ('cfg2', 'uniform 0.6')
    )


def _pytorch_alone(sections: Sections) -> str | None:
    dense = _times(ratio(sections, 'swin 672', 'mmdet Swin-T', f'{_DENSE}{_PYTORCH}', **_CPU))
    sparse = _sparse(_CPU, _PYTORCH)(sections)
    return None if dense is None or sparse is None else f'{dense}; {sparse}'


def _beside_macs(sections: Sections) -> str | None:
    """Where the line through the dense and the sparsest network meets no MACs at all."""
    rows = [
        row_of(sections.get('swin 672', {}), name, **_CPU)
        for name in (_DENSE, 'SparseViT-T uniform 0.6')
    ]
    if rows[0] is None or rows[1] is None:
        return None
    (dense, at_dense), (sparse, at_sparse) = ((row['cpu_median'], row['gmacs']) for row in rows)
    rest = (sparse * at_dense - dense * at_sparse) / (at_dense - at_sparse)
    return f'{rest:.0f} of {dense:.0f} ms'


def _fastervit(form: str, case: dict[str, Any], section: str) -> Callable[[Sections], str | None]:
    return lambda sections: _several(
        (
            (
                f'{variant}:',
                ratio(
                    sections,
                    section.format(variant),
                    f'fastervit package {variant}',
                    f'FasterViT-{variant}{form}',
                    **case,
                ),
            )
            for variant in FASTERVIT_VARIANTS
        ),
        '×',
    )


def _linear(sections: Sections) -> str | None:
    found = deviation_from_line(sections, _DENSE)
    return None if found is None else f'within {found:.0%}'


def _memory(sections: Sections) -> str | None:
    section = sections.get('memory', {})
    ours, theirs = (row_of(section, name) for name in (_DENSE, 'mmdet Swin-T'))
    if ours is None or theirs is None:
        return None
    return f'{ours["inference_mib"] / theirs["inference_mib"]:.2f}'


def _gpu_memory(sections: Sections) -> str | None:
    section, case = sections.get('swin 2688', {}), dict(_GPU, mode='eager')
    ours, theirs = (row_of(section, name, **case) for name in (_DENSE, 'mmdet Swin-T'))
    if ours is None or theirs is None:
        return None
    return f'{ours["peak_mib"] / theirs["peak_mib"]:.2f}'


def _of_it(share: str | None) -> str | None:
    return None if share is None else f'{share} of it'


def _training(sections: Sections) -> str | None:
    section = sections.get('training', {})
    ours, dense = (row_of(section, name) for name in ('adaptation', 'dense'))
    if ours is None or dense is None:
        return None
    memory = ours['activations_mib'] / dense['activations_mib']
    return f'{dense["mean"] / ours["mean"]:.2f}×, keeping {memory:.0%} for the backward'


def _end_to_end(sections: Sections) -> str | None:
    name, section = 'Mask R-CNN, SparseViT-T {}', sections.get('end to end', {})
    sparse, dense = (row_of(section, name.format(s)) for s in ('cfg2', 'dense'))
    if sparse is None or dense is None:
        return None
    share = sparse['parts']['backbone'] / sparse['median']
    return f'{dense["median"] / sparse["median"]:.2f}×; {share:.0%} of it is the backbone'


def _form_over_stock(sections: Sections, under: str) -> float | None:
    """How many times as long MMDetection's own detector takes as one of `inference_form`."""
    section = sections.get('inference form', {})
    stock, ours = (row_of(section, f'Mask R-CNN, {name}') for name in (_STOCK, under))
    if stock is None or ours is None:
        return None
    taken: float = stock['cpu_median'] / ours['cpu_median']
    return taken


def _form(under: str) -> Callable[[Sections], str | None]:
    return lambda sections: _times(_form_over_stock(sections, under))


def _with_sparse_heads(model: str) -> Callable[[Sections], str | None]:
    """Time of a model of `benchmarks.sparse_heads` over the dense one, in each form."""

    def read(sections: Sections) -> str | None:
        case, section = CASES[model], sections.get('sparse heads', {})
        found = []
        for form in FORMS:
            for ratios in case.head_ratios:
                row = row_of(section, f'{model}, {with_heads(ratios)}', form=form)
                name = f'{form}, heads {" / ".join(f"{ratio:g}" for ratio in ratios)}:'
                found.append((name, None if row is None else row['over_dense']))
        return _several(found)

    return read


def _two_threads(sections: Sections) -> str | None:
    """By the clock: the processor time of two threads is the sum of theirs."""
    section, found = sections.get('threads 672', {}), []
    for name in ('dense', 'cfg2'):
        rows = [row_of(section, f'SparseViT-T {name}', threads=number) for number in (1, 2)]
        if rows[0] is not None and rows[1] is not None:
            found.append((name, rows[0]['median'] / rows[1]['median']))
    return _several(found, '×')


def _over_dense(
    case: dict[str, Any], names: Iterable[str] = ('cfg2', 'uniform 0.6')
) -> Callable[[Sections], str | None]:
    """How many times as long the dense backbone takes as each of several schedules."""
    return lambda sections: _several(
        (
            (name, ratio(sections, 'swin 672', _DENSE, f'SparseViT-T {name}', **case))
            for name in names
        ),
        '×',
    )


def _saved(sections: Sections) -> str | None:
    left = ratio(sections, 'swin 672', 'SparseViT-T uniform 0.6', _DENSE, **_GPU)
    return None if left is None else f'{1 - left:.0%}'


def _peers(sections: Sections) -> str | None:
    case = dict(_GPU, mode='compiled')
    return _several(
        (
            (name, ratio(sections, 'swin 672', f'{name} Swin-T', _DENSE, **case))
            for name in ('timm', 'mmdet')
        ),
        '×',
    )


TARGETS = (
    Target(
        "SparseViT at ratio 0 over mmdet's Swin, 672², batch 1",
        '≥ 1.15×',
        cpu=lambda found: _times(ratio(found, 'swin 672', 'mmdet Swin-T', _DENSE, **_CPU)),
    ),
    Target(
        'sparse time / (dense time × MACs ratio), 672²',
        '≤ 1.05 on a CPU, ≤ 1.10 on a GPU (batch 4, fp16, best mode each)',
        cpu=_sparse(_CPU),
        gpu=_sparse(_GPU),
    ),
    Target('both rows above with `backend.use("pytorch")`', 'reported', cpu=_pytorch_alone),
    Target(
        'time besides MACs: the line through dense and uniform 0.6, extended to 0 MACs, 672²',
        'reported',
        cpu=_beside_macs,
    ),
    Target('uniform 0.6: latency saved over dense, 672²', '≥ 50%', gpu=_saved),
    Target(
        'cfg1, cfg2, cfg3 over dense, 672²',
        'above 1.16, 1.40, 1.45×',
        gpu=_over_dense(_GPU, ('cfg1', 'cfg2', 'cfg3')),
    ),
    Target("dense over timm's and mmdet's Swin, compiled, fp16", 'hoped ≥ 1.3×', gpu=_peers),
    Target('Mask R-CNN at cfg2 over dense, batch 1', 'reported', _end_to_end, _end_to_end),
    Target(
        "dense Mask R-CNN in its inference form over MMDetection's with its own Swin-T, 672²",
        '≥ 1.5×',
        cpu=_form('SparseViT-T dense, inference form float32'),
    ),
    Target(
        'the same in bfloat16',
        '≥ 2.2×',
        cpu=_form('SparseViT-T dense, inference form bfloat16'),
    ),
    Target(
        'the same in bfloat16, at cfg2',
        '≥ 3×',
        cpu=_form('SparseViT-T cfg2, inference form bfloat16'),
    ),
    *(
        Target(
            f'{model.split()[0]}, SparseViT-T at cfg2 with sparse heads, {CASES[model].side}²: '
            'time of the model over dense',
            wanted,
            _with_sparse_heads(model),
            _with_sparse_heads(model),
        )
        for model, wanted in (
            ('UPerNet', '≤ 0.70'),
            ('UPerNet 1024²', '≤ 0.70'),
            ('RetinaNet', '≤ 0.65'),
        )
    ),
    Target(
        'Mask R-CNN, the same, 672²: time of the model over dense, same proposals',
        '≤ 0.75',
        _with_sparse_heads('Mask R-CNN'),
        _with_sparse_heads('Mask R-CNN'),
    ),
    Target('two threads over one, 672²', '≥ 1.8×', cpu=_two_threads),
    Target(
        'FasterViT (deployed) over the package, 224²',
        '≥ 1.15× on a CPU (batch 1), ≥ 1.2× on a GPU (batch 128, fp16)',
        cpu=_fastervit(' deployed', _CPU, 'fastervit {}'),
        gpu=_fastervit(' deployed', _GPU_128, 'fastervit {}'),
    ),
    Target(
        'the same, not deployed',
        'reported',
        cpu=_fastervit('', _CPU, 'fastervit {}'),
        gpu=_fastervit('', _GPU_128, 'fastervit {}'),
    ),
    Target('latency against pixels, 448² to 2688²', 'linear within 10%', cpu=_linear),
    Target("peak memory of inference over mmdet's, 2688²", '≤ 0.8', _memory, _gpu_memory),
    Target('adaptation steps over dense ones', 'faster', _training, _training),
)

SUMMARY = (
    Target(
        "SparseViT-T that skips nothing, beside MMDetection's Swin-T, 672²",
        cpu=lambda found: _times(ratio(found, 'swin 672', 'mmdet Swin-T', _DENSE, **_CPU)),
        gpu=lambda found: _times(ratio(found, 'swin 672', 'mmdet Swin-T', _DENSE, **_GPU)),
    ),
    Target(
        'SparseViT-T that skips windows, beside one that skips nothing, 672²',
        cpu=_over_dense(_CPU),
        gpu=_over_dense(_GPU),
    ),
    Target(
        "Mask R-CNN at cfg2 in its inference form, beside MMDetection's with Swin-T, 672²",
        cpu=lambda found: _several(
            (
                (name, _form_over_stock(found, f'SparseViT-T cfg2, inference form {name}'))
                for name in ('float32', 'bfloat16')
            ),
            '×',
        ),
    ),
    Target(
        "FasterViT-0 in its inference form, beside its authors' package, 224²",
        cpu=lambda found: _times(ratio(found, 'fastervit 0', *_FASTERVIT_0, **_CPU)),
        gpu=lambda found: _times(ratio(found, 'fastervit 0', *_FASTERVIT_0, **_GPU_128)),
    ),
    Target(
        "Memory of an inference, beside MMDetection's Swin-T, 2688²",
        cpu=lambda found: _of_it(_memory(found)),
        gpu=lambda found: _of_it(_gpu_memory(found)),
    ),
)
