"""Everything that can be measured on a machine, as sections: each a command with its arguments."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from benchmarks import (
    backbone,
    end_to_end,
    inference_form,
    memory,
    operators,
    product_libraries,
    sparse_heads,
    training,
)
from benchmarks.networks import COMPARED, FASTERVIT_VARIANTS

SIDES = (224, 448, 672, 896, 1344, 2688)
PLAIN = ('plain SparseViT-T cfg2', 'plain SparseViT-T uniform 0.6')


@dataclass(frozen=True)
class Section:
    """One part of the plan.

    Attributes:
        name: Its key in the JSON file.
        run: A benchmark's `main`.
        arguments: What it is called with, beside the device and the file.
    """

    name: str
    run: Callable[[Sequence[str]], None]
    arguments: tuple[str, ...] = field(default=())


def sections(device: str, quick: bool = False) -> list[Section]:
    """The plan of a device.

    Args:
        device: 'cpu' or 'cuda'.
        quick: Whether every section shrinks to a size at which it only shows that it runs.
    """
    return _quick() if quick else _gpu() if device == 'cuda' else _cpu()


def _cpu() -> list[Section]:
    swins = (
        '--networks',
        *('mmdet Swin-T', 'timm Swin-T', 'plain SparseViT-T cfg2'),
        *('SparseViT-T dense', 'SparseViT-T cfg2', 'SparseViT-T uniform 0.6'),
    )
    fastervits = [
        Section(
            f'fastervit {variant}',
            backbone.main,
            ('--networks', *fastervit_trio(variant), *_shapes(224), '--runs', runs),
        )
        for variant, runs in zip(FASTERVIT_VARIANTS, ('15', '11', '9', '7', '5'))
    ]
    pytorch = tuple(f'SparseViT-T {name}, pytorch' for name in COMPARED)
    dtypes = ('--batch', '1', '4', '--dtype', 'fp32', 'bf16', '--runs', '5')
    sweep = ('mmdet Swin-T', 'SparseViT-T dense', 'SparseViT-T cfg2')
    return [
        Section('swin 672', backbone.main, (*swins, *pytorch, *_shapes(672), '--runs', '15')),
        Section('swin 224', backbone.main, (*swins, *_shapes(224), *dtypes)),
        *(
            Section(
                f'resolution {side}',
                backbone.main,
                ('--networks', *nets, *_shapes(side), '--runs', runs, '--warmup', '1'),
            )
            for side, nets, runs in (
                (448, sweep, '11'),
                (672, sweep, '9'),
                (896, sweep, '7'),
                (1344, sweep[1:], '5'),
                (2688, sweep[1:], '3'),
            )
        ),
        Section(
            'compiled 672',
            backbone.main,
            ('--networks', *sweep, *_shapes(672), '--mode', 'compiled', '--runs', '5'),
        ),
        *fastervits,
        Section(
            'fastervit any resolution',
            backbone.main,
            ('--networks', *fastervit_trio('0'), '--shape', '640', '960', '--runs', '7'),
        ),
        *(
            Section(
                f'fastervit that skips windows {variant}',
                backbone.main,
                ('--networks', *dense_and_sparse(variant), '--shape', '640', '960', '--runs', runs),
            )
            for variant, runs in (('0', '15'), ('3', '7'))
        ),
        Section('training', training.main, ('--shape', '448', '448', '--runs', '8')),
        Section('end to end', end_to_end.main, ('--runs', '4')),
        Section('inference form', inference_form.main, ('--runs', '7')),
        Section('sparse heads', sparse_heads.main, ('--runs', '5')),
        Section(
            'threads 672',
            backbone.main,
            ('--networks', *sweep[1:], *_shapes(672), '--threads', *_threads(), '--runs', '7'),
        ),
        Section('memory', memory.main, ('--side', '2688')),
        Section('operators', operators.main),
        Section('products', product_libraries.main, ('--runs', '30')),
    ]


def _threads() -> list[str]:
    """1, 2, 4 … as far as there are cores."""
    return [str(2**power) for power in range((os.cpu_count() or 1).bit_length())]


def _gpu() -> list[Section]:
    every = (*backbone.SWINS, 'SparseViT-T uniform 0.3', *PLAIN)
    modes = ('--mode', 'eager', 'compiled', 'graph', '--dtype', 'fp32', 'fp16', 'bf16')
    found = [
        Section(
            f'swin {side}',
            backbone.main,
            ('--networks', *every, *_shapes(side), '--batch', '1', '4', *modes, '--runs', '50'),
        )
        for side in SIDES
    ]
    half = ('--dtype', 'fp16', '--mode', 'eager', 'compiled', 'graph', '--runs', '50')
    for variant in FASTERVIT_VARIANTS:
        trio = ('--networks', *fastervit_trio(variant))
        found += [
            Section(
                f'fastervit {variant}',
                backbone.main,
                (*trio, *_shapes(224), '--batch', '128', *half),
            ),
            Section(
                f'fastervit any resolution {variant}',
                backbone.main,
                (*trio, '--shape', '640', '960', '--batch', '4', *half),
            ),
        ]
    return [
        *found,
        Section(
            'training', training.main, ('--shape', '672', '672', '--batch', '2', '--runs', '50')
        ),
        Section('end to end', end_to_end.main, ('--runs', '50')),
        Section('operators', operators.main),
    ]


def _quick() -> list[Section]:
    swins = ('--networks', 'SparseViT-T dense', 'plain SparseViT-T cfg2')
    return [
        Section('swin 672', backbone.main, (*swins, *_shapes(64), '--runs', '1', '--warmup', '0')),
        Section('training', training.main, ('--shape', '64', '64', '--runs', '1')),
        Section('end to end', end_to_end.main, ('--shape', '64', '64', '--runs', '1')),
        Section('inference form', inference_form.main, ('--shape', '64', '64', '--runs', '1')),
        Section('sparse heads', sparse_heads.main, ('--shape', '64', '64', '--runs', '1')),
    ]


def fastervit_trio(variant: str) -> tuple[str, str, str]:
    """The package's network, ours, and ours in its inference form."""
    ours = f'FasterViT-{variant}'
    return f'fastervit package {variant}', ours, f'{ours} deployed'


def dense_and_sparse(variant: str) -> tuple[str, str]:
    """Our inference form, with all windows and with 60% of them skipped."""
    ours = f'FasterViT-{variant} deployed'
    return ours, f'{ours}, 0.6'


def _shapes(*sides: int) -> tuple[str, ...]:
    return tuple(word for side in sides for word in ('--shape', str(side), str(side)))
