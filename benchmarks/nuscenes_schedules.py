"""Searches ratios for the SparseViT rows of the paper's nuScenes table, on the six-camera demo.

The paper prints what its nuScenes schedules cost but not the schedules, and its adapted BEVDet is
not released. Here the demo's adapted BEVDet stands in for it: its backbone has Swin-T's depths, so
that its schedules fit Swin-T. Candidates cost what Swin-T would cost at the paper's inputs, and are
compared by the demo network's loss on a few frames that it was not trained on. Every evaluation is
on disk at once; an interrupted run goes on where it stopped.

    python tools/make_demo_data.py --six-cameras
    python tools/train.py projects/street_scenes/configs/bevdet_sparsevit-mini_*.py
    python benchmarks/nuscenes_schedules.py
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.evaluator import Evaluator
from mmengine.registry import DefaultScope
from mmengine.runner import Runner, load_checkpoint

from sparsevit_mm.apis.configs import load_config, register_framework
from sparsevit_mm.apis.user_errors import user_errors_exit
from sparsevit_mm.checks.configs import build_model, check_checkpoint_exists, check_weights_fit
from sparsevit_mm.engine.schedule_evaluator import ScheduleEvaluator
from sparsevit_mm.files import replace_text
from sparsevit_mm.models.swin_arch import SwinArch
from sparsevit_mm.pruning.schedule import PruningSchedule
from sparsevit_mm.search.budget import Budget
from sparsevit_mm.search.cost import MACS, MacsCost
from sparsevit_mm.search.evolution import EvolutionSettings, Proposal, evolve
from sparsevit_mm.search.records import (
    Evaluation,
    EvaluationLog,
    check_same_search,
    save_settings,
)
from sparsevit_mm.search.space import SearchSpace
from sparsevit_mm.versions import __version__

NAME = 'bevdet_sparsevit-mini_adaptation_demo6-112x336'
CONFIG = f'projects/street_scenes/configs/{NAME}.py'
CHECKPOINT = f'work_dirs/{NAME}/iter_400.pth'
CAMERAS = 6
MARGIN = 0.04e9
"""MACs that a schedule may be away from the printed ones, whose last digit is then right."""
MAX_DRAWS = 500_000
"""Few schedules lie in so narrow a budget, and drawing one costs next to nothing."""


@dataclass(frozen=True)
class Row:
    """A SparseViT row of the paper's nuScenes table.

    Attributes:
        name: As the configs call it.
        height: Input height in pixels.
        width: Input width in pixels.
        macs: Printed MACs of the backbone over six cameras.
    """

    name: str
    height: int
    width: int
    macs: float


ROWS = (
    Row('114g', 288, 792, 113.9e9),
    Row('78g', 256, 704, 78.4e9),
    Row('58g', 256, 704, 58.6e9),
)


class Judge:
    """Losses of the demo network by schedule, each computed once.

    Args:
        fitness: Computes them.
        log: What is known already.
    """

    def __init__(self, fitness: ScheduleEvaluator, log: EvaluationLog) -> None:
        self._fitness, self._log = fitness, log

    def loss(
        self, schedule: PruningSchedule, cost: float, origin: str, generation: int | None = None
    ) -> float:
        """Mean loss over the frames."""
        found = self._log.find(schedule)
        if found is None:
            start = time.monotonic()
            metrics = self._fitness.measure(schedule)
            seconds = round(time.monotonic() - start, 2)
            found = Evaluation(schedule, cost, origin, generation, metrics, seconds)
            self._log.add(found)
        return found.metrics['loss']


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__.partition('\n')[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument('--config', default=CONFIG, help='config of the adapted demo network')
    parser.add_argument('--checkpoint', default=CHECKPOINT, help='its weights')
    parser.add_argument('--frames', type=int, default=4, help='validation frames looked at')
    parser.add_argument('--evaluations', type=int, default=40, help='schedules evaluated for a row')
    parser.add_argument('--population', type=int, default=16, help='schedules in a generation')
    parser.add_argument('--parents', type=int, default=4, help='schedules that make the next one')
    parser.add_argument('--seed', type=int, default=0, help='seed of the searches')
    parser.add_argument(
        '--work-dir', default='work_dirs/nuscenes_schedules', help='where evaluations are kept'
    )
    parser.add_argument(
        '--out', default='benchmarks/results/nuscenes_schedules.json', help='the result'
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Searches all rows and writes what was found."""
    args = parse_args(argv)
    with user_errors_exit():
        result = search(args)
        Path(args.out).parent.mkdir(parents=True, exist_ok=True)
        replace_text(Path(args.out), json.dumps(result, indent=2) + '\n')
    for name, row in result['rows'].items():
        print(f'{name}: {row["ratios"]} at {row["macs"] / 1e9:.2f} GMACs, loss {row["loss"]:.4f}')


def search(args: argparse.Namespace) -> dict[str, Any]:
    """Searches all rows.

    Returns:
        JSON-ready: where the numbers come from, and for each row the best schedule.
    """
    check_checkpoint_exists(args.checkpoint, 'checkpoint')
    cfg = load_config(args.config)
    register_framework(cfg)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = build_model(cfg)
        check_weights_fit(model, args.checkpoint)
        load_checkpoint(model, args.checkpoint, map_location='cpu')
        loader = Runner.build_dataloader(labeled_frames(cfg, args.frames))
        fitness = ScheduleEvaluator(model, loader, Evaluator([]), 'loss')
        depths = tuple(cfg.model.backbone.depths)
        settings = EvolutionSettings(
            population=args.population,
            parents=args.parents,
            max_draws=MAX_DRAWS,
            max_evaluations=args.evaluations,
            seed=args.seed,
        )
        described = {
            'config': args.config,
            'checkpoint': hashlib.sha256(Path(args.checkpoint).read_bytes()).hexdigest(),
            'frames': args.frames,
            'evolution': asdict(settings),
            'versions': {'torch': torch.__version__, 'sparsevit_mm': __version__},
        }
        folder = Path(args.work_dir)
        folder.mkdir(parents=True, exist_ok=True)
        check_same_search(folder / 'search.json', described, resume=True)
        save_settings(folder / 'search.json', described)
        log = EvaluationLog(EvaluationLog.read(folder / 'candidates.jsonl'))
        log.write_to(folder / 'candidates.jsonl')
        judge = Judge(fitness, log)
        dense = judge.loss(PruningSchedule.dense(depths), 0.0, 'dense')
        rows = {row.name: _search_row(row, depths, settings, judge) for row in ROWS}
    return {'what': 'loss of the demo network; MACs of Swin-T', 'dense_loss': dense, **described,
            'rows': rows}  # fmt: skip


def _search_row(
    row: Row, depths: tuple[int, ...], settings: EvolutionSettings, judge: Judge
) -> dict[str, Any]:
    space = SearchSpace(depths)
    cost = MacsCost(SwinArch.build('tiny'), row.height, row.width, CAMERAS)
    budget = Budget(row.macs - MARGIN, row.macs + MARGIN, MACS)
    losses: dict[PruningSchedule, float] = {}

    def evaluate(proposal: Proposal) -> float:
        losses[proposal.schedule] = loss = judge.loss(
            proposal.schedule, proposal.cost, proposal.origin, proposal.generation
        )
        return -loss

    trace = evolve(space, cost, budget, settings, evaluate)
    best = min(losses, key=lambda schedule: losses[schedule])
    at_random = [losses[p.schedule] for p in trace.proposals if p.origin == 'random']
    return {
        'input': [row.height, row.width],
        'printed_macs': row.macs,
        'macs': cost.price(best),
        'ratios': [list(stage[::2]) for stage in best.ratios],
        'loss': losses[best],
        'random_schedules': {
            'evaluated': len(at_random), 'best_loss': min(at_random),
            'mean_loss': sum(at_random) / len(at_random),
        },
        'evaluations': len(trace.proposals),
        'draws': trace.draws,
    }  # fmt: skip


def labeled_frames(cfg: Config, frames: int) -> ConfigDict:
    """The first validation frames as the network is tested on them, with their boxes."""
    loader = deepcopy(cfg.val_dataloader)
    dataset = loader.dataset
    load, augment, _ = dataset.pipeline
    annotate, _, filter_range, filter_names, pack = cfg.train_pipeline[1:2] + cfg.train_pipeline[3:]
    still = ConfigDict(
        type='sparsevit_mm.BEVAugmentation',
        max_degrees=0.0,
        scale=(1.0, 1.0),
        flip_x_prob=0.0,
        flip_y_prob=0.0,
    )
    dataset.pipeline = [load, annotate, augment, still, filter_range, filter_names, pack]
    dataset.update(test_mode=False, indices=frames)
    loader.update(batch_size=1, num_workers=0, persistent_workers=False)
    return loader


if __name__ == '__main__':
    main()
