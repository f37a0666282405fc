"""Tests trained weights with windows shared out in several ways, see `trial`.

    python -m projects.allocation_study CONFIG CHECKPOINT --out FILE

The test frames go through the network in batches of frames of one size, drawn from different
scenes where there are several: the same batches for all.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.evaluator import Evaluator
from mmengine.registry import DefaultScope
from mmengine.runner import load_checkpoint

from projects.allocation_study.trial import Trial
from sparsevit_mm.apis.configs import load_config, register_framework
from sparsevit_mm.checks.configs import build_model
from sparsevit_mm.files import replace_text
from sparsevit_mm.registry import DATASETS


class Bench:
    """A trained network, its test frames, and frames to calibrate on.

    Args:
        config: Path of its config.
        checkpoint: Path of its weights.
        importance: What windows are ranked by.
        batch_size: Frames in a batch.
        seed: Seed of which frames are in a batch.
        most_frames: Test frames at most; None for all.
    """

    def __init__(
        self,
        config: str,
        checkpoint: str,
        importance: str,
        batch_size: int,
        seed: int,
        most_frames: int | None,
    ) -> None:
        options = {
            'model.backbone.type': 'sparsevit_mm.TrialSparseViT',
            'model.backbone.importance': importance,
        }
        self.cfg = load_config(config, options)
        register_framework(self.cfg)
        with DefaultScope.overwrite_default_scope(self.cfg.default_scope):
            self.model: Any = build_model(self.cfg).eval()
        load_checkpoint(self.model, checkpoint, map_location='cpu')
        self.batch_size = batch_size
        self.seed = seed
        self.most_frames = most_frames
        self.test = self.dataset(self.cfg.test_dataloader.dataset)

    def dataset(self, cfg: Any) -> Any:
        """Builds a data set of the config."""
        with DefaultScope.overwrite_default_scope(self.cfg.default_scope):
            return DATASETS.build(cfg)

    def batches(self, dataset: Any) -> list[list[int]]:
        """Indices of frames, in batches of frames of one size in random order."""
        by_size: dict[tuple[int, int], list[int]] = defaultdict(list)
        for index in range(len(dataset)):
            info = dataset.get_data_info(index)
            by_size[info['height'], info['width']].append(index)
        rng = random.Random(self.seed)
        found = []
        for size in sorted(by_size):
            frames = rng.sample(by_size[size], len(by_size[size]))
            count = max(1, round(len(frames) / self.batch_size))
            found += [list(part) for part in np.array_split(frames, count)]
        return found

    def batches_of(self, dataset: Any) -> Iterator[Any]:
        """The frames, collated."""
        frames = 0
        for indices in self.batches(dataset):
            if self.most_frames is not None and frames >= self.most_frames:
                return
            frames += len(indices)
            yield pseudo_collate([dataset[int(index)] for index in indices])

    @torch.no_grad()
    def collect(self, dataset: Any, ratio: float, trial: Trial) -> None:
        """Collects the scores of a data set's frames into the trial, which keeps as 'image'."""
        own = Trial('image', trial.relative_to, collected={})
        self._set(own, ratio)
        for batch in self.batches_of(dataset):
            self.model.backbone(self.model.data_preprocessor(batch)['inputs'])
        trial.collected = own.collected

    @torch.no_grad()
    def evaluate(self, trial: Trial, ratio: float) -> dict[str, Any]:
        """Metrics on the test frames, and the shares that were kept."""
        self._set(trial, ratio)
        with DefaultScope.overwrite_default_scope(self.cfg.default_scope):
            evaluator = Evaluator(self.cfg.test_evaluator)
        evaluator.dataset_meta = self.test.metainfo
        sizes: dict[int, int] = {}
        start = time.process_time()
        for batch in self.batches_of(self.test):
            evaluator.process(data_samples=self.model.test_step(batch), data_batch=batch)
            for sample in batch['data_samples']:
                sizes[len(sizes)] = int(np.prod(sample.img_shape))
        metrics = evaluator.evaluate(len(sizes))
        result: dict[str, Any] = {key: float(value) for key, value in metrics.items()}
        pixels = np.array([sizes[number] for number in range(len(sizes))], float)
        shares = [np.array(found) for _, found in sorted(trial.shares.items())]
        images = np.mean(shares, axis=0)
        result['mean_share'] = float(images.mean())
        result['cost_share'] = float((images * pixels).sum() / pixels.sum())
        result['shares'] = [round(float(share), 3) for share in images]
        result['seconds'] = round(time.process_time() - start, 1)
        return result

    def _set(self, trial: Trial, ratio: float) -> None:
        trial.shares = {}
        self.model.backbone.trial = trial
        self.model.backbone.pruning_ratios = ratio


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the trials that are asked for and writes their results."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument('config')
    parser.add_argument('checkpoint')
    parser.add_argument('--importance', default='contrast')
    parser.add_argument('--ratios', nargs='+', type=float, default=[0.5, 0.7])
    parser.add_argument('--allocations', nargs='+', default=['image', 'batch', 'calibrated'])
    parser.add_argument('--relative-to', nargs='+', default=['median'])
    parser.add_argument('--most', type=float, default=100.0)
    parser.add_argument('--calibrate-on', default='val', choices=['train', 'val', 'test'])
    parser.add_argument('--batch-size', type=int, default=5)
    parser.add_argument('--most-frames', type=int)
    parser.add_argument('--seed', type=int, default=0, help='of the batches that frames fall into')
    parser.add_argument('--out', required=True)
    options = parser.parse_args(arguments)
    bench = Bench(
        options.config, options.checkpoint, options.importance, options.batch_size,
        options.seed, options.most_frames,
    )  # fmt: skip
    out = Path(options.out)
    results = json.loads(out.read_text()) if out.exists() else []
    plan = itertools.product(options.ratios, options.allocations, options.relative_to)
    for ratio, allocation, relative_to in plan:
        if allocation == 'image' and relative_to != options.relative_to[0]:
            continue  # the same for all
        trial = Trial(allocation, relative_to, options.most)
        about: dict[str, Any] = {}
        if allocation == 'calibrated':
            bench.collect(_other_split(bench, options.calibrate_on), ratio, trial)
            trial.calibrate(ratio)
            trial.collected = None
            about = {'calibrated_on': options.calibrate_on, 'most': options.most}
        found = bench.evaluate(trial, ratio)
        about |= {'relative_to': relative_to} if allocation != 'image' else {}
        about = {
            'checkpoint': Path(options.checkpoint).name,
            'config': Path(options.config).stem,
            'importance': options.importance,
            'batch_size': options.batch_size,
            'seed': options.seed,
            'skipped': ratio,
            'allocation': allocation,
            **about,
        }
        results.append(about | found)
        replace_text(out, json.dumps(results, indent=1) + '\n')
        words = {
            key: found.get(key) for key in ('coco/bbox_mAP', 'cost_share', 'mean_share', 'seconds')
        }
        print(ratio, allocation, relative_to, words, flush=True)


def _other_split(bench: Bench, split: str) -> Any:
    """Frames of another split, read as the test frames are."""
    cfg = bench.cfg.test_dataloader.dataset.copy()
    cfg.ann_file = cfg.ann_file.replace('test', split)
    cfg.data_prefix = {key: path.replace('test', split) for key, path in cfg.data_prefix.items()}
    return bench.dataset(cfg)


if __name__ == '__main__':
    main()
