"""What a case costs: MACs of the whole model, and its time beside that of all others."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean, median
from typing import Any

import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope
from mmengine.runner import Runner, load_checkpoint

from projects.importance_study.plan import Case
from projects.importance_study.run import StudyRun
from sparsevit_mm.apis.configs import load_config, register_framework
from sparsevit_mm.checks.configs import build_model
from sparsevit_mm.profiling.cost_report import cost_report
from sparsevit_mm.pruning.prunable import find_prunable_backbone


def model_gmacs(run: StudyRun, case: Case) -> float:
    """Mean GMACs of the whole model on a test frame, as `tools/get_flops.py` counts them."""
    cfg = load_config(run.config_file, run.test_options(case))
    register_framework(cfg)
    model = build_model(cfg)
    backbone = find_prunable_backbone(model)
    divisor = cfg.model.data_preprocessor.get('pad_size_divisor', 1)
    sizes: Counter[tuple[int, int]] = Counter()
    for frame in _frames(cfg):
        height, width = (-(-side // divisor) * divisor for side in frame['inputs'].shape[1:])
        sizes[height, width] += 1
    macs = {size: cost_report(model, cfg, *size, 1, backbone).macs for size in sizes}
    return sum(macs[size] * number for size, number in sizes.items()) / sizes.total() / 1e9


def interleaved_seconds(
    run: StudyRun, cases: Mapping[str, Case], frames: Sequence[int], repeats: int
) -> dict[str, float]:
    """Processor time of the whole model, from the batch to the boxes.

    The cases take turns on every frame, so that whatever else the machine does meets all of them.
    Several threads would be added up: start it with OMP_NUM_THREADS=1.

    Args:
        run: The study, whose weights are used.
        cases: What to time.
        frames: Indices of test frames.
        repeats: How often each frame is seen; the median counts.

    Returns:
        For each case the mean over the frames.
    """
    models, data = {}, {}
    for name, case in cases.items():
        cfg = load_config(run.config_file, run.test_options(case))
        register_framework(cfg)
        model: Any = build_model(cfg).eval()
        models[name] = model
        load_checkpoint(model, str(run.weights(case.weights)), map_location='cpu')
        data[name] = _frames(cfg)
    taken: dict[str, list[float]] = {name: [] for name in cases}
    for frame in frames:
        batches = {name: pseudo_collate([data[name][frame]]) for name in cases}
        rounds: dict[str, list[float]] = {name: [] for name in cases}
        for _ in range(repeats):
            for name, model in models.items():
                start = time.process_time()
                with torch.no_grad():
                    model.test_step(batches[name])
                rounds[name].append(time.process_time() - start)
        for name, seconds in rounds.items():
            taken[name].append(median(seconds))
    return {name: fmean(seconds) for name, seconds in taken.items()}


def _frames(cfg: Any) -> Any:
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        return Runner.build_dataloader({**cfg.test_dataloader, 'num_workers': 0}).dataset
