"""What an arm costs: MACs and time of the whole model and of its parts."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
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

_PARTS = ('backbone', 'neck', 'bbox_head', 'rpn_head', 'decode_head')
"""What is timed of a model that has it; MMSegmentation's decode heads and RoI heads have no call of
their own, and are in the rest."""


def model_gmacs(run: StudyRun, case: Case) -> dict[str, float]:
    """Mean GMACs on a test frame, as `tools/get_flops.py` counts them.

    Returns:
        Those of the whole 'model' and of its parts.
    """
    cfg = load_config(run.config_file, run.test_options(case))
    register_framework(cfg)
    model = build_model(cfg)
    backbone = find_prunable_backbone(model)
    divisor = cfg.model.data_preprocessor.get('pad_size_divisor', 1)
    sizes: Counter[tuple[int, int]] = Counter()
    for frame in _frames(cfg):
        height, width = (-(-side // divisor) * divisor for side in frame['inputs'].shape[1:])
        sizes[height, width] += 1
    total: Counter[str] = Counter()
    for size, number in sizes.items():
        report = cost_report(model, cfg, *size, 1, backbone)
        for part, macs in {'model': report.macs, **report.parts}.items():
            total[part] += macs * number
    return {part: round(macs / sizes.total() / 1e9, 3) for part, macs in total.items()}


def interleaved_ms(
    cases: Mapping[str, tuple[StudyRun, Case]], frames: Sequence[int], repeats: int
) -> dict[str, dict[str, float]]:
    """Processor time of the whole model, from the batch to the boxes, in milliseconds.

    The cases take turns on every frame, so that whatever else the machine does meets all of them.
    Several threads would be added up: start it with OMP_NUM_THREADS=1.

    Args:
        cases: What to time, by name, each with the study whose weights it uses.
        frames: Indices of test frames.
        repeats: How often each frame is seen; the median counts.

    Returns:
        For each case the mean over the frames, of the whole 'model' and of its parts.
    """
    models, data = {}, {}
    for name, (run, case) in cases.items():
        cfg = load_config(run.config_file, run.test_options(case))
        register_framework(cfg)
        model: Any = build_model(cfg).eval()
        load_checkpoint(model, str(run.weights(case.weights)), map_location='cpu')
        models[name], data[name] = TimedModel(model), _frames(cfg)
    taken: dict[str, list[dict[str, float]]] = {name: [] for name in cases}
    for frame in frames:
        batches = {name: pseudo_collate([data[name][frame]]) for name in cases}
        rounds: dict[str, list[dict[str, float]]] = {name: [] for name in cases}
        for _ in range(repeats):
            for name, timed in models.items():
                rounds[name].append(timed.seconds(batches[name]))
        for name, seconds in rounds.items():
            taken[name].append(_reduced(median, seconds))
    return {
        name: {part: round(1e3 * value, 1) for part, value in _reduced(fmean, seconds).items()}
        for name, seconds in taken.items()
    }


class TimedModel:
    """A detector that tells the processor time of its parts.

    A sparse neck asks the head what to skip: that time is the head's.

    Args:
        model: The detector, in evaluation mode.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self._taken: defaultdict[str, float] = defaultdict(float)
        self._running = ['model']
        self._since = 0.0
        for name in _PARTS:
            part = getattr(model, name, None)
            if part is not None:
                part.register_forward_pre_hook(self._starts(name))
                part.register_forward_hook(self._ends)

    def seconds(self, batch: Any) -> dict[str, float]:
        """Processor time of a batch: of the whole 'model', and of the parts' forward passes."""
        self._taken.clear()
        self._since = time.process_time()
        with torch.no_grad():
            self.model.test_step(batch)
        self._count()
        return {**self._taken, 'model': sum(self._taken.values())}

    def _starts(self, name: str) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            self._count()
            self._running.append(name)

        return hook

    def _ends(self, *_: Any) -> None:
        self._count()
        self._running.pop()

    def _count(self) -> None:
        """Gives the time since it was last given to the part that is running."""
        now = time.process_time()
        self._taken[self._running[-1]] += now - self._since
        self._since = now


def _reduced(
    mean: Callable[[list[float]], float], found: Sequence[Mapping[str, float]]
) -> dict[str, float]:
    return {part: mean([seconds[part] for seconds in found]) for part in found[0]}


def _frames(cfg: Any) -> Any:
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        return Runner.build_dataloader({**cfg.test_dataloader, 'num_workers': 0}).dataset
