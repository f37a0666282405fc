"""Every benchmark runs, small, and writes what the page and the plots read."""

from functools import partial

import pytest
import torch

from benchmarks import (
    backbone,
    end_to_end,
    inference_form,
    memory,
    networks,
    operators,
    product_libraries,
    run_all,
    side_by_side,
    sparse_heads,
    training,
)
from benchmarks.conditions import command_of
from benchmarks.floors import Rates, measure_rates
from benchmarks.peers import MissingPeer
from benchmarks.plan import sections
from benchmarks.plots import draw
from benchmarks.results_file import load, row_of, save_section
from benchmarks.side_by_side import Case, compare, using_threads
from benchmarks.training import saved_bytes
from sparsevit_mm import SparseViT
from sparsevit_mm.ops import backend

CPU = torch.device('cpu')

needs_onednn = pytest.mark.skipif(not backend.HAS_ONEDNN, reason='needs oneDNN and torch 2.4')


@pytest.fixture
def small(monkeypatch):
    """Two small networks, one that is missing and one that fails, in place of the large ones."""

    def missing(height, width):
        raise MissingPeer('peer does not import here: no module.')

    def failing(height, width):
        raise ValueError('only other sizes.')

    found = {
        'SparseViT-T dense': lambda h, w: SparseViT(embed_dims=12, num_heads=(1, 1, 2, 2)).eval(),
        'peer': missing,
        'other': failing,
    }
    monkeypatch.setattr(side_by_side, 'NETWORKS', found)
    rates = partial(measure_rates, sides=(32,), copied=2**16)
    monkeypatch.setattr(backbone, 'measure_rates', rates)
    return found


@needs_onednn
def test_backbones_take_turns_and_say_what_they_measured(small, tmp_path):
    cases = [Case(64, 64), Case(64, 64, batch=2, dtype='bf16')]
    with using_threads(1):
        section = backbone.measure(list(small), cases, device=CPU, runs=3, warmup=0, command='x')
    assert section['device'] == 'cpu'
    assert section['machine']
    assert set(section['rates']) == {'fp32', 'bf16'}
    row = row_of(section, 'SparseViT-T dense', batch=2, dtype='bf16')
    assert len(row['milliseconds']) == 3
    assert min(row['milliseconds']) <= row['quartiles'][0] <= row['median']
    assert row['cpu_median'] > 0
    assert row['over_floor'] == pytest.approx(
        row['cpu_median'] / max(row['floor'].values()), abs=1e-3
    )
    single = row_of(section, 'SparseViT-T dense', batch=1)
    assert row['gmacs'] == pytest.approx(2 * single['gmacs'], rel=1e-2)
    assert row_of(section, 'peer') is None
    reasons = [row['skipped'] for row in section['rows'] if 'skipped' in row]
    assert len(reasons) == 4
    assert 'MissingPeer: peer does not import here: no module.' in reasons

    file = tmp_path / 'results' / 'cpu.json'
    save_section(file, 'swin 672', section)
    save_section(file, 'other', dict(rows=[]))
    assert list(load(file)) == ['other', 'swin 672']
    draw(load(file), tmp_path / 'plot.png')
    assert (tmp_path / 'plot.png').stat().st_size > 10_000


def test_a_graph_needs_a_gpu(small):
    rates = Rates(1e9, 1e9)
    (row,) = compare(['SparseViT-T dense'], Case(64, 64, mode='graph'), rates, device=CPU, runs=1)
    assert row['skipped'].startswith('ConfigError: images are on cpu')


def test_training_steps_change_weights_and_keep_less_at_higher_ratios(monkeypatch):
    small = dict(embed_dims=12, depths=(2, 2, 2, 2), num_heads=(1, 1, 2, 2))
    monkeypatch.setattr(training, 'SparseViT', lambda **own: SparseViT(**small, **own))
    monkeypatch.setitem(networks.SCHEDULES, 'cfg2', [0.6, 0.0, 0.2, 0.0])
    monkeypatch.setattr(training, 'STEPS', ('dense', 'adaptation', 'cfg2', 'uniform 0.6'))
    step = training.TrainingStep('adaptation', torch.rand(1, 3, 64, 64))
    before = step.network.patch_embed.projection.weight.clone()
    schedules = set()
    for _ in range(3):
        step()
        schedules.add(str(step.network.pruning_schedule))
    assert len(schedules) == 3
    assert not torch.equal(before, step.network.patch_embed.projection.weight)

    section = training.measure((224, 224), 1, device=CPU, runs=1, warmup=0)
    kept = [row_of(section, name)['activations_mib'] for name in ('dense', 'cfg2', 'uniform 0.6')]
    assert kept == sorted(kept, reverse=True)
    assert kept[2] < 0.7 * kept[0]


def test_saved_bytes_leave_parameters_out():
    weight = torch.rand(8, 8, requires_grad=True)
    images = torch.rand(4, 8)
    assert saved_bytes(lambda: (images @ weight).exp().sum(), [weight]) == 4 * 8 * 4 * 2


def test_a_whole_detector_is_taken_apart():
    small = {'model.backbone.depths': (1, 1, 1, 1), 'model.test_cfg.rpn.max_per_img': 10}
    section = end_to_end.measure(
        (64, 64), device=CPU, runs=1, schedules=('dense', 'uniform 0.6'), options=small
    )
    for row in section['rows']:
        assert set(row['parts']) == {'backbone', 'neck', 'rpn_head', 'roi_head'}
        assert 0 < sum(row['parts'].values()) <= row['median']


def test_detectors_in_their_inference_form_take_turns_with_the_stock_one(monkeypatch):
    depths = dict(depths=(1, 1, 1, 1))
    small = {'model.backbone.depths': (1, 1, 1, 1), 'model.test_cfg.rpn.max_per_img': 10}
    forms = dict(inference_form.FORMS)
    stock = partial(inference_form.with_stock_backbone, **depths)
    monkeypatch.setattr(inference_form, 'FORMS', forms | {inference_form.STOCK: ('dense', stock)})
    monkeypatch.setitem(networks.SCHEDULES, 'cfg2', 0.5)
    section = inference_form.measure((64, 64), device=CPU, runs=1, options=small)
    assert [row['network'] for row in section['rows']] == list(forms)
    assert min(row['cpu_median'] for row in section['rows']) > 0


@pytest.mark.parametrize('name', sparse_heads.CASES)
def test_whole_models_take_turns_at_their_schedules(name, monkeypatch):
    small = {'model.backbone.depths': (1, 1, 1, 1), 'model.backbone.pruning_ratios': 0.0}
    if name.startswith('UPerNet'):
        small['model.decode_head.channels'] = 16
    if name == 'Mask R-CNN':
        small['model.test_cfg.rpn.max_per_img'] = 10
    monkeypatch.setitem(networks.SCHEDULES, 'cfg2', 0.5)
    given = dict(device=CPU, runs=1, shape=(64, 64), options=small)
    rows = sparse_heads.measure([name], **given)['rows']
    ratios = sparse_heads.CASES[name].head_ratios
    schedules = ['dense', 'backbone at cfg2', *map(sparse_heads.with_heads, ratios)]
    assert [row['network'] for row in rows] == [f'{name}, {s}' for s in schedules] * 2
    for row, dense in zip(rows, [rows[0]] * len(schedules) + [rows[len(schedules)]] * 10):
        assert row['over_dense'] == pytest.approx(row['cpu_median'] / dense['cpu_median'], abs=1e-3)
        assert row.get('proposals') == (10 if name == 'Mask R-CNN' else None)


@needs_onednn
def test_several_threads_are_compared_by_the_clock(small):
    """Their processor time is the sum of all; rates and floors are those of the clock."""
    rates = Rates(flops=440e9, bandwidth=1e15)
    case = Case(64, 64, threads=2)
    (row,) = compare(['SparseViT-T dense'], case, rates, device=CPU, runs=3, warmup=1)
    assert row['threads'] == 2
    floor = 2 * row['gmacs'] / 440 * 1e3
    assert row['floor']['products'] == pytest.approx(floor, abs=1e-3)
    assert row['over_floor'] == pytest.approx(row['median'] / max(row['floor'].values()), rel=1e-2)
    before = torch.get_num_threads()
    cases = [Case(64, 64, threads=number) for number in (1, 2)]
    section = backbone.measure(['SparseViT-T dense'], cases, device=CPU, runs=2, warmup=0)
    assert set(section['rates']) == {'fp32, 1 threads', 'fp32, 2 threads'}
    assert [row['threads'] for row in section['rows']] == [1, 2]
    assert torch.get_num_threads() == before


def test_operators_share_the_time(monkeypatch):
    small = dict(small=lambda h, w: SparseViT(embed_dims=12, num_heads=(1, 1, 2, 2)).eval())
    monkeypatch.setattr(operators, 'NETWORKS', small)
    with backend.use('pytorch'):
        (row,) = operators.measure((64, 64), ['small'], device=CPU)['rows']
    shares = list(row['shares'].values())
    assert shares == sorted(shares, reverse=True)
    assert 0.5 < sum(shares) <= 1
    assert 'addmm' in row['shares']


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason='torch has no oneDNN')
@needs_onednn
def test_both_libraries_compute_the_same_and_are_timed():
    given = torch.nn.Linear(8, 6), torch.randn(5, 8)
    with torch.no_grad():
        found = [product_libraries.by(name, *given)() for name in product_libraries.LIBRARIES]
    torch.testing.assert_close(*found)
    section = product_libraries.measure([(5, 8, 6)], device=CPU, runs=1)
    assert [row['network'] for row in section['rows']] == ['pytorch', 'onednn']
    assert min(row['cpu_median'] for row in section['rows']) > 0


def test_memory_is_measured_in_a_process_of_its_own():
    here = b'1' * 1600 * 2**20  # more than the process takes with all that it imports
    (row,) = memory.measure(448, ['SparseViT-T dense'])['rows']
    assert 0 < row['inference_mib'] < 500
    assert len(here) / 2**20 > row['peak_mib'] >= row['before_mib'] > 100


@pytest.mark.parametrize('device', ['cpu', 'cuda'])
def test_the_plan_has_arguments_that_are_understood(device, monkeypatch, tmp_path):
    modules = (
        backbone,
        training,
        end_to_end,
        inference_form,
        memory,
        operators,
        product_libraries,
        sparse_heads,
    )
    for module in modules:
        monkeypatch.setattr(module, 'measure', lambda *args, **kwargs: dict(rows=[]))
    plan = sections(device)
    assert len({section.name for section in plan}) == len(plan)
    out = tmp_path / 'all.json'
    run_all.main(['--device', device, '--out', str(out)])
    assert set(load(out)) == {section.name for section in plan}


def test_a_section_that_is_there_is_not_measured_again(monkeypatch, tmp_path):
    out = tmp_path / 'all.json'
    for section in sections('cpu', quick=True):
        save_section(out, section.name, dict(rows=[]))
    monkeypatch.setattr(backbone, 'measure', lambda *args, **kwargs: pytest.fail('measured'))
    run_all.main(['--quick', '--device', 'cpu', '--out', str(out)])
    with pytest.raises(SystemExit):
        run_all.main(['--quick', '--device', 'cpu', '--only', 'no such', '--out', str(out)])


def test_commands_leave_the_file_out():
    assert (
        command_of('a.b', ['--runs', '1', '--out', '/x y', '--z']) == 'python -m a.b --runs 1 --z'
    )
