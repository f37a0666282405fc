"""The latency table's bookkeeping, on a clock that the test keeps. No test asserts a duration."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from sparsevit_mm import PruningSchedule, SparseViT
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.profiling.macs import backbone_macs
from sparsevit_mm.pruning.importance import ContrastImportance, L2Importance
from sparsevit_mm.pruning.selection import num_kept_windows
from sparsevit_mm.search import measure
from sparsevit_mm.search.latency_table import LatencyTable
from sparsevit_mm.search.measure import BackboneBench, ModelBench
from sparsevit_mm.search.space import SearchSpace

DEPTHS = (2, 3)
SPACE = SearchSpace(DEPTHS, (0.0, 0.3, 0.6))


def small_net():
    return SparseViT(embed_dims=8, depths=DEPTHS, num_heads=(1, 2), out_indices=(1,))


@pytest.fixture
def clock(monkeypatch):
    """A clock that each window of a block moves by its stage's number + 1, in seconds."""
    now = [0.0]
    monkeypatch.setattr('time.perf_counter', lambda: now[0])
    select = measure.WindowSelection

    def computed(selection: select):
        now[0] += selection.num_kept * (selection.stage + 1) / 1e3

    computed.now = now
    return computed


def with_clock(net, clock):
    """Moves the clock in the blocks, whoever observes them."""
    compute = type(net).compute_stage

    class Ticking(type(net)):
        def compute_stage(self, *args):
            observer = self.window_observer

            def both(selection):
                clock(selection)
                if observer is not None:
                    observer(selection)

            self.window_observer = both
            try:
                return compute(self, *args)
            finally:
                self.window_observer = observer

    net.__class__ = Ticking
    return net


def test_table_holds_every_block_at_every_number_of_windows(clock):
    net = with_clock(small_net(), clock)
    bench = BackboneBench(net, 112, 112)
    told = []
    table = bench.measure_table(SPACE, runs=2, check=10, tell=lambda *now: told.append(now))
    assert told == [(number, len(told)) for number in range(1, len(told) + 1)]
    # 28 x 28 tokens are 16 windows, 14 x 14 are 4.
    assert table.num_windows == (16, 4)
    for stage, blocks in enumerate(table.blocks):
        assert len(blocks) == DEPTHS[stage]
        kept = {num_kept_windows(table.num_windows[stage], ratio) for ratio in SPACE.choices}
        for block in blocks:
            assert set(block) == kept
            assert block == pytest.approx({number: number * (stage + 1) for number in kept})
    assert table.constant == pytest.approx(0, abs=1e-6)
    assert len(table.check.measured) == 10
    assert max(table.check.errors) < 1e-9
    assert max(table.check.noise) < 1e-9
    assert table.price(PruningSchedule.dense(DEPTHS)) == pytest.approx(2 * 16 + 3 * 8)


def test_checked_schedules_are_not_those_the_table_is_made_from(monkeypatch):
    seen = {True: set(), False: set()}
    run = BackboneBench._timed_run

    def spy(self, schedule, note_blocks):
        seen[note_blocks].add(schedule)
        return run(self, schedule, note_blocks)

    monkeypatch.setattr(BackboneBench, '_timed_run', spy)
    BackboneBench(small_net(), 60, 60).measure_table(SPACE, runs=1, check=6)
    assert len(seen[False]) == 6
    assert not seen[True] & seen[False]


def test_backbone_stays_as_it_is():
    net = small_net().train()
    net.pruning_schedule = 0.3
    weights = {name: weight.clone() for name, weight in net.state_dict().items()}
    bench = BackboneBench(net, 60, 84, batch=2, dtype='bfloat16')
    latencies = bench.time([SPACE.uniform(0), SPACE.uniform(0.6)], runs=2)
    assert [len(latency.runs) for latency in latencies] == [2, 2]
    assert net.training and net.window_observer is None
    assert net.pruning_schedule == SPACE.uniform(0.3)
    for name, weight in net.state_dict().items():
        assert weight.dtype == torch.float32
        torch.testing.assert_close(weight, weights[name], rtol=0, atol=0)
    assert bench.conditions.dtype == 'bfloat16'
    assert (bench.conditions.batch, bench.conditions.width) == (2, 84)


@pytest.mark.parametrize('ratio', [0, 0.3, 0.6])
def test_counted_macs_are_what_runs(ratio):
    bench = BackboneBench(small_net(), 60, 84, batch=2)
    counted = bench.count_macs(SPACE.uniform(ratio))
    assert counted == backbone_macs(bench.prunable.arch, SPACE.uniform(ratio), 60, 84, 2).total


@pytest.mark.slow
def test_blocks_can_be_compiled():
    net = small_net()
    bench = BackboneBench(net, 60, 84, compile_mode='default')
    table = bench.measure_table(SPACE, runs=1, check=2)
    assert table.conditions.compile == 'default'
    assert all(block for stage in table.blocks for block in stage)


@pytest.mark.parametrize('wrong', [dict(batch=0), dict(height=-1), dict(dtype='int8')])
def test_wrong_conditions_are_one_sentence(wrong):
    with pytest.raises(ConfigError) as error:
        BackboneBench(small_net(), **{**dict(height=60, width=60), **wrong})
    assert '\n' not in str(error.value)


def test_stages_that_nothing_reads_cost_nothing(tmp_path):
    net = SparseViT(embed_dims=8, depths=DEPTHS, num_heads=(1, 2), out_indices=(0,))
    table = BackboneBench(net, 64, 64).measure_table(SPACE, runs=2, check=2)
    assert all(table.block_cost(1, block, 1) == 0 for block in range(3))
    assert table.price(SPACE.uniform(0.3)) > 0
    table.save(tmp_path / 'table.json')
    assert LatencyTable.load(tmp_path / 'table.json').blocks == table.blocks


def test_the_ranking_of_every_importance_is_measured(monkeypatch):
    """On a clock that only scoring moves, by the importance and the number of windows."""
    now, net = [0.0], small_net()
    monkeypatch.setattr('time.perf_counter', lambda: now[0])
    for kind, factor in ((L2Importance, 1), (ContrastImportance, 3)):

        def score(self, summary, grid, batch_size, factor=factor, score=kind.score):
            now[0] += factor * grid.num_windows / 1e3
            return score(self, summary, grid, batch_size)

        monkeypatch.setattr(kind, 'score', score)
    space = replace(SPACE, importances=('l2', 'contrast'))
    bench = BackboneBench(net, 60, 84)
    found = bench.measure_table(space, runs=2, check=0)
    # 15 x 21 tokens make 3 x 3 windows, then 8 x 11 make 2 x 2; both grids are ranked.
    assert found.conditions.importance == 'l2'
    assert set(found.rankings) == {'contrast'}
    assert found.rankings['contrast'] == pytest.approx((2 * 2 * 9, 2 * 2 * 4))
    assert bench.prunable.importance.name == 'l2'
    assert found.lacks(space.importances) == []


class SmallModel(torch.nn.Module):
    """A model around the small network, of which each part moves the clock in its own way.

    Args:
        net: The backbone.
        move: Moves the clock by milliseconds.
        crops: How often the backbone sees an image.
    """

    def __init__(self, net, move, crops=1):
        super().__init__()
        self.backbone, self.head, self.crops = net, torch.nn.Conv2d(16, 3, 1), crops
        self.move = move

    def test_step(self, data):
        self.move(data['before'])
        for _ in range(self.crops):
            (found,) = self.backbone(data['inputs'])
        self.head(found)
        self.move(data['after'])
        return found


def model_bench(clock, batches, crops=1):
    def move(milliseconds):
        clock.now[0] += milliseconds / 1e3

    model = SmallModel(with_clock(small_net(), clock), move, crops)
    return ModelBench(model, batches, 112, 112, network='of the test')


def batches(*pairs):
    images = torch.rand(1, 3, 112, 112)
    return [dict(inputs=images, before=before, after=after) for before, after in pairs]


def test_the_table_of_a_model_adds_up_to_the_whole_model(clock):
    """Against the fake clock: a schedule's price is what the whole model is measured to take."""
    bench = model_bench(clock, batches((5, 20)))
    table = bench.measure_table(SPACE, runs=2, check=10)
    assert table.conditions.of == 'model' and table.conditions.network == 'of the test'
    assert table.outside == pytest.approx(25)
    assert table.constant == pytest.approx(25)
    assert max(table.check.errors) < 1e-9
    schedules = [SPACE.uniform(ratio) for ratio in SPACE.choices]
    for schedule, latency in zip(schedules, bench.time(schedules, runs=2)):
        assert table.price(schedule) == pytest.approx(latency.median)
    assert table.price(schedules[0]) == pytest.approx(25 + 2 * 16 + 3 * 8)


def test_images_take_turns_and_their_median_counts(clock):
    bench = model_bench(clock, batches((0, 10), (0, 11), (0, 90)))
    table = bench.measure_table(SPACE, runs=6, check=3)
    assert table.outside == pytest.approx(11)
    assert table.price(SPACE.uniform(0)) == pytest.approx(11 + 2 * 16 + 3 * 8)
    (latency,) = bench.time([SPACE.uniform(0)], runs=6)
    assert sorted(latency.runs) == pytest.approx([10 + 56] * 2 + [11 + 56] * 2 + [90 + 56] * 2)


def test_every_crop_of_an_image_counts(clock):
    bench = model_bench(clock, batches((1, 2)), crops=3)
    table = bench.measure_table(SPACE, runs=2, check=4)
    assert bench.images_seen() == 3
    assert table.outside == pytest.approx(3)
    assert table.block_cost(0, 0, 16) == pytest.approx(3 * 16)
    assert max(table.check.errors) < 1e-9


@pytest.mark.parametrize('crops', [1, 3])
def test_counted_macs_of_a_model_are_those_of_its_parts(clock, crops):
    bench = model_bench(clock, batches((1, 2)), crops)
    head = 16 * 3 * 14 * 14
    for ratio in SPACE.choices:
        inside = backbone_macs(bench.prunable.arch, SPACE.uniform(ratio), 112, 112, crops).total
        assert bench.count_macs(SPACE.uniform(ratio)) == inside + head


def test_the_time_of_proposals_is_measured(clock):
    """On a clock that each proposal moves by a tenth of a millisecond."""
    bench = model_bench(clock, batches((0, 10)))
    rpn = torch.nn.Linear(1, 1)
    rpn.test_cfg = {'max_per_img': 1000}
    bench.module.rpn_head = rpn

    class WithProposals(SmallModel):
        def test_step(self, data):
            self.move(self.rpn_head.test_cfg['max_per_img'] / 10)
            return super().test_step(data)

    bench.module.__class__ = WithProposals
    bench = ModelBench(bench.module, bench.inputs, 112, 112)
    space = replace(SPACE, proposals=(300, 500))
    table = bench.measure_table(space, runs=2, check=4)
    assert table.proposals == pytest.approx({300: -70, 500: -50})
    assert table.outside == pytest.approx(10 + 100)
    schedule = replace(SPACE.uniform(0.3), proposals=300)
    (latency,) = bench.time([schedule], runs=2)
    assert table.price(schedule) == pytest.approx(latency.median)
