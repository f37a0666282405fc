"""A trained network whose test frames share windows in several ways."""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.evaluator import Evaluator
from mmengine.registry import DefaultScope
from mmengine.runner import load_checkpoint
from PIL import Image
from torch import Tensor

from projects.allocation_study.trial import Trial
from sparsevit_mm.apis.configs import load_config, register_framework
from sparsevit_mm.checks.configs import build_model
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
        options: Fields of the config to replace.
    """

    def __init__(
        self,
        config: str,
        checkpoint: str,
        importance: str,
        batch_size: int = 5,
        seed: int = 0,
        most_frames: int | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        options = {
            **(options or {}),
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
            by_size[_size(dataset.get_data_info(index))].append(index)
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
            inputs = self.model.data_preprocessor(batch)['inputs']
            images = inputs if isinstance(inputs, Tensor) else inputs['imgs'].flatten(0, 1)
            self.model.backbone(images)
        trial.collected = own.collected

    def calibrate(self, trial: Trial, ratio: float, frames: Any) -> None:
        """Sets a trial's thresholds for a ratio.

        Args:
            trial: Its thresholds are set.
            ratio: What windows are skipped on average.
            frames: The data set that is looked at, see `other_split`.
        """
        self.collect(frames, ratio, trial)
        trial.calibrate(ratio)
        trial.collected = None

    @torch.no_grad()
    def evaluate(self, trial: Trial, ratio: float) -> dict[str, Any]:
        """Metrics on the test frames, and the shares that were kept."""
        self._set(trial, ratio)
        with DefaultScope.overwrite_default_scope(self.cfg.default_scope):
            evaluator = Evaluator(self.cfg.test_evaluator)
        evaluator.dataset_meta = self.test.metainfo
        samples, sizes = 0, []
        start = time.process_time()
        for batch in self.batches_of(self.test):
            evaluator.process(data_samples=self.model.test_step(batch), data_batch=batch)
            for sample in batch['data_samples']:
                views = 1 if isinstance(sample.img_path, str) else len(sample.img_path)
                sizes += [int(np.prod(sample.img_shape))] * views
                samples += 1
        metrics = evaluator.evaluate(samples)
        result: dict[str, Any] = {key: float(value) for key, value in metrics.items()}
        pixels = np.array(sizes, float)
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

    def other_split(self, split: str) -> Any:
        """Frames of another split, read as the test frames are.

        Args:
            split: 'train', 'val' or 'test'.
        """
        own = self.cfg.test_dataloader.dataset
        cfg = self.cfg[f'{split}_dataloader'].dataset.copy()
        cfg.update(pipeline=own.pipeline, data_root=own.data_root, test_mode=True)
        cfg.pop('filter_cfg', None)
        return self.dataset(cfg)


def _size(info: Mapping[str, Any]) -> tuple[int, int]:
    """Height and width of a frame's first image; data sets of label maps do not know them."""
    info = next(iter(info['images'].values())) if 'images' in info else info
    if 'height' in info:
        return info['height'], info['width']
    width, height = Image.open(info['img_path']).size
    return height, width
