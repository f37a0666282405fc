"""The page's tables show what was measured, and say so where nothing was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from projects.detector_files.__main__ import main
from projects.detector_files.page import NAMES, NOT_MEASURED, tables

PAGE = Path(__file__).parents[1] / 'README.md'


def measured(dense_ms):
    masks = {'bbox': 0.11, 'segm': 0.058}
    return {
        'agreement': {
            'average_precision': {'torch': masks, 'onnxruntime': masks, 'openvino': masks},
            'same': {'onnxruntime': [5, 5], 'openvino': [4, 6]},
        },
        'int8': {'average_precision': {'onnxruntime int8': masks, 'openvino int8': {'bbox': 0.1}}},
        'time': {'2': {name: [dense_ms, dense_ms, 9e9] for name in NAMES}},
        'machine': 'a processor',
    }


def test_tables_hold_what_was_measured():
    found = tables({'retinanet, dense': measured(40), 'retinanet, cfg2': measured(10)})
    agreement, int8, times = (
        found[name].splitlines()[-1] for name in ('agreement', 'int8', 'time')
    )
    assert agreement.startswith('| retinanet, cfg2 | 5 of 5 | 4 of 6 | 11.0 (5.8) | 11.0 (5.8)')
    assert int8 == '| retinanet, cfg2 | 11.0 (5.8) | 11.0 (5.8) | 10.0 |'
    assert times.startswith('| retinanet, cfg2 | 2 | 10 (0.25) |')
    assert 'On a processor:' in found['time']


def test_what_was_not_measured_is_said():
    assert set(tables({'retinanet, dense': {}}).values()) == {NOT_MEASURED}


def test_what_is_known_is_not_measured_again(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv('SPARSEVIT_MM_DATA', raising=False)
    names = ('retinanet, dense', 'retinanet, cfg2')
    results = json.dumps({name: measured(40) for name in names}, indent=1) + '\n'
    (tmp_path / 'results.json').write_text(results)
    (tmp_path / 'page.md').write_text('# Files\n\n<!-- int8 -->\n<!-- end -->\n')
    flags = ['--work-dir', tmp_path, '--out', tmp_path / 'out.json', '--docs', tmp_path / 'page.md']
    main([str(flag) for flag in ['--detectors', 'retinanet', *flags]])
    assert (tmp_path / 'out.json').read_text() == results
    assert '| retinanet, cfg2 | 11.0 (5.8) |' in (tmp_path / 'page.md').read_text()
    with pytest.raises(SystemExit):
        main(['--detectors', 'mask-rcnn', '--work-dir', str(tmp_path)])
    assert 'SPARSEVIT_MM_DATA must name a folder that holds coco_mini' in capsys.readouterr().err


def test_the_page_shows_the_results_beside_it():
    results = json.loads((PAGE.parent / 'results' / 'detector_files.json').read_text())
    for name, text in tables(results).items():
        assert f'<!-- {name} -->\n\n{text}\n\n<!-- end -->' in PAGE.read_text()
