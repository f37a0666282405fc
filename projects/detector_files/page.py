"""Results of detectors and their files as tables of a page."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import Any

from projects.markdown import table

NAMES = {
    'torch': 'torch',
    'torch, inference form': 'torch, inference form',
    'onnxruntime': 'ONNX Runtime',
    'openvino': 'OpenVINO',
    'onnxruntime int8': 'ONNX Runtime, int8',
    'openvino int8': 'OpenVINO, int8',
}
"""What was measured, as the page calls it."""

INT8 = ('onnxruntime int8', 'openvino int8')
NOT_MEASURED = 'Not measured.'


def tables(results: Mapping[str, Any]) -> dict[str, str]:
    """All tables by their name on the page.

    Args:
        results: Of every case by its name, such as 'retinanet, dense': what the steps `agreement`,
            `int8` and `time` found, as far as they were run.
    """
    return {
        'agreement': _agreement(results),
        'int8': _int8(results),
        'time': _times(results),
    }


def _agreement(results: Mapping[str, Any]) -> str:
    files = ('onnxruntime', 'openvino')
    rows = [
        [
            name,
            *('{} of {}'.format(*of['agreement']['same'][file]) for file in files),
            *(_text(of['agreement']['average_precision'][key]) for key in ('torch', *files)),
        ]
        for name, of in results.items()
        if 'agreement' in of
    ]
    same = [f'same, {NAMES[file]}' for file in files]
    precision = [f'AP, {NAMES[key]}' for key in ('torch', *files)]
    return table(['', *same, *precision], rows) if rows else NOT_MEASURED


def _int8(results: Mapping[str, Any]) -> str:
    rows = []
    for name, of in results.items():
        if 'int8' in of and 'agreement' in of:
            precision = {
                **of['agreement']['average_precision'],
                **of['int8']['average_precision'],
            }
            rows.append([name, *(_text(precision[key]) for key in ('torch', *INT8))])
    head = ['', 'AP, float32', *(f'AP, {NAMES[key]}' for key in INT8)]
    return table(head, rows) if rows else NOT_MEASURED


def _times(results: Mapping[str, Any]) -> str:
    rows = []
    for threads in sorted({number for of in results.values() for number in of.get('time', {})}):
        for name, of in results.items():
            timed = of.get('time', {}).get(threads)
            if timed is None:
                continue
            dense = results[f'{name.rpartition(", ")[0]}, dense'].get('time', {}).get(threads)
            rows.append([name, threads, *(_time(timed, dense, file) for file in NAMES)])
    if not rows:
        return NOT_MEASURED
    machines = ', '.join(sorted({of['machine'] for of in results.values() if 'time' in of}))
    return f'On {machines}:\n\n' + table(['', 'threads', *NAMES.values()], rows)


def _text(precision: Mapping[str, float]) -> str:
    """Average precision of boxes in percent, and that of masks in brackets."""
    masks = f' ({precision["segm"] * 100:.1f})' if 'segm' in precision else ''
    return f'{precision["bbox"] * 100:.1f}{masks}'


def _time(timed: Mapping[str, Any], dense: Mapping[str, Any] | None, file: str) -> str:
    """Median in milliseconds and, of a sparse one, the share of the dense one's."""
    middle = median(timed[file])
    share = '' if dense is None or dense is timed else f' ({middle / median(dense[file]):.2f})'
    return f'{middle:.0f}{share}'
