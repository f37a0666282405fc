"""model_converters, publish_model.py and verify_release.py on files that training wrote."""

from __future__ import annotations

import json

import pytest
import torch
import yaml

from tests.helpers.tiny_data import DETECTOR, write_config
from tests.tools.conftest import call_tool, files_below, load_tool


def state_dict(path):
    return torch.load(path, weights_only=True)['state_dict']


def test_a_trained_sparsevit_becomes_a_file_of_mmdet_and_back(trained, tmp_path, capsys):
    source, theirs, ours = trained / 'epoch_3.pth', tmp_path / 'mmdet.pth', tmp_path / 'ours.pth'
    call_tool('model_converters/to_mmdet', source, theirs)
    assert '4 index buffers added' in capsys.readouterr().out
    call_tool('model_converters/to_sparsevit_mm', theirs, ours)
    before, middle, after = state_dict(source), state_dict(theirs), state_dict(ours)
    assert len(middle) == len(before) + 4
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], weight) for name, weight in before.items())


def test_converted_file_is_tested_by_the_frameworks_own_swin(tiny, trained, tmp_path):
    """The dense network scores the same in both, at a size where both pad alike."""
    converted = tmp_path / 'mmdet.pth'
    call_tool('model_converters/to_mmdet', trained / 'epoch_3.pth', converted)
    sparse, plain = tiny.detector.read_text(), tiny.plain.read_text()
    scores = []
    for name, text, checkpoint in (
        ('sparse', sparse, trained / 'epoch_3.pth'),
        ('plain', plain, converted),
    ):
        config = tmp_path / f'{name}.py'
        config.write_text(text + '\ncustom_hooks = []\n')
        options = ['model.backbone.pruning_ratios=0.0'] if name == 'sparse' else []
        work_dir = tmp_path / name
        more = ['--cfg-options', *options] if options else []
        call_tool('test', config, checkpoint, '--work-dir', work_dir, *more)
        scores.append(json.loads(next(work_dir.glob('*/*.json')).read_text())['coco/bbox_mAP'])
    assert scores[0] == pytest.approx(scores[1], abs=1e-3)


def test_publish(trained, tmp_path, capsys):
    call_tool('publish_model', trained / 'epoch_3.pth', tmp_path / 'detector.pth')
    (path,) = tmp_path.iterdir()
    assert capsys.readouterr().out.strip() == f'checkpoint: {path}'
    content = torch.load(path, weights_only=True)
    assert content.keys() == {'meta', 'state_dict'}
    assert content['meta']['dataset_meta']['classes'] == ('person', 'car')
    assert path.stat().st_size < (trained / 'epoch_3.pth').stat().st_size / 2


@pytest.fixture
def release(tiny, trained, tmp_path):
    """A config with a metafile beside it that says what its checkpoint scores."""
    config = write_config(tmp_path / 'detector.py', DETECTOR, tiny.data)
    model = dict(
        Name='detector',
        Config='configs/detector.py',
        Results=[dict(Task='Object Detection', Metrics={'box AP (paper)': 42.0, 'ms (paper)': 3})],
    )
    (tmp_path / 'metafile.yml').write_text(yaml.safe_dump(dict(Models=[model])))
    return config, trained / 'epoch_3.pth'


def test_verify_release(release, tmp_path, capsys):
    out, work_dir = tmp_path / 'report.json', tmp_path / 'work'
    call_tool('verify_release', *release, '--work-dir', work_dir, '--out', out)
    report = json.loads(out.read_text())
    assert report['published'] == {'box AP (paper)': 42.0, 'ms (paper)': 3.0}
    (log,) = work_dir.glob('*/*.json')
    measured = json.loads(log.read_text())['coco/bbox_mAP'] * 100
    assert report['measured'] == {'box AP (paper)': pytest.approx(measured)}
    assert (report['missing'], report['left_over']) == ([], [])
    assert report['loaded'] == len(state_dict(release[1]))
    text = capsys.readouterr().out
    assert f'{report["loaded"]} tensors loaded, 0 missing, 0 left over' in text
    assert f'{measured - 42:+.1f}' in text


def test_verify_release_without_data(release, tmp_path, capsys):
    """What the file has too much is named; the model's own buffers are no news."""
    config, checkpoint = release
    weights = state_dict(checkpoint)
    weights['backbone.stages.0.blocks.0.attn.w_msa.relative_position_index'] = torch.zeros(1)
    weights['ghost.weight'] = torch.zeros(1)
    torch.save({'state_dict': weights}, tmp_path / 'more.pth')
    config.write_text(config.read_text().replace("data_root='", "data_root='nowhere/"))
    call_tool('verify_release', config, tmp_path / 'more.pth', '--load-only')
    assert '0 missing, 1 left over (ghost.weight)' in capsys.readouterr().out.replace('\n', ' ')


def wrong_cases(release, folder):
    config, checkpoint = release
    other = folder / 'other.py'
    other.write_text(config.read_text())
    (folder / 'alone').mkdir()
    alone = folder / 'alone' / 'detector.py'
    alone.write_text(config.read_text())
    (folder / 'garbage.pth').write_bytes(b'no checkpoint')
    gone = config.read_text().replace("data_root='", "data_root='nowhere/")
    config.write_text(gone)
    return {
        'no metafile': (alone, checkpoint, 'metafile.yml is missing'),
        'unknown to the metafile': (other, checkpoint, 'has no model whose Config is other.py'),
        'no data': (config, checkpoint, 'data_root is missing'),
        'broken': (config, folder / 'garbage.pth', 'is no checkpoint'),
        'no checkpoint': (config, folder / 'nope.pth', 'there is no such file'),
    }


@pytest.mark.parametrize(
    'case', ['no metafile', 'unknown to the metafile', 'no data', 'broken', 'no checkpoint']
)
def test_verify_release_of_something_wrong(case, release, tmp_path, capsys):
    config, checkpoint, message = wrong_cases(release, tmp_path)[case]
    args = ['--load-only'] if case == 'broken' else []
    before = files_below(tmp_path)
    with pytest.raises(SystemExit) as end:
        call_tool('verify_release', config, checkpoint, '--work-dir', tmp_path / 'work', *args)
    assert end.value.code == 1
    assert message in capsys.readouterr().err
    assert files_below(tmp_path) == before


@pytest.mark.parametrize(
    'tool', ['model_converters/to_mmdet', 'model_converters/to_sparsevit_mm', 'publish_model']
)
def test_tools_refuse_garbage(tool, tmp_path, capsys):
    garbage = tmp_path / 'garbage.pth'
    garbage.write_bytes(b'no checkpoint')
    with pytest.raises(SystemExit) as end:
        load_tool(tool).main([str(garbage), str(tmp_path / 'out.pth')])
    assert end.value.code == 1
    assert capsys.readouterr().err.startswith('error: ')
    assert files_below(tmp_path) == ['garbage.pth']
