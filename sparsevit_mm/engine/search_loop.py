"""The search for the best schedule as an mmengine loop, selected by a config's `test_cfg`.

The loop never looks at the test set: its images are a held-out part of the training set, or, if
asked for, the validation set.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.dist import get_world_size, is_main_process
from mmengine.registry import DATASETS, DefaultScope
from mmengine.runner import Runner
from mmengine.runner.base_loop import BaseLoop
from rich.console import Console
from torch.utils.data import DataLoader

from sparsevit_mm.checks.configs import dataset_configs
from sparsevit_mm.engine.held_out import search_data
from sparsevit_mm.engine.input_scale import scaled_pipeline, size_divisor
from sparsevit_mm.engine.main_process import on_main_process
from sparsevit_mm.engine.schedule_evaluator import ScheduleEvaluator, unwrapped
from sparsevit_mm.engine.search_cost import SearchCost
from sparsevit_mm.engine.timed_images import TimedImages, timed_images
from sparsevit_mm.files import locked, replace_text, written_whole
from sparsevit_mm.pruning.allocation import Allocation
from sparsevit_mm.pruning.proposals import Proposals
from sparsevit_mm.pruning.prunable import find_prunable_backbone
from sparsevit_mm.pruning.schedule import PruningSchedule
from sparsevit_mm.registry import LOOPS
from sparsevit_mm.search.baselines import all_uniform_within, uniform_schedules
from sparsevit_mm.search.budget import Budget
from sparsevit_mm.search.cost import MACS, MODEL, AdditiveCost
from sparsevit_mm.search.evolution import (
    EvolutionSettings,
    Proposal,
    SearchTrace,
    evolve,
    random_search,
)
from sparsevit_mm.search.records import (
    Evaluation,
    EvaluationLog,
    check_same_search,
    fingerprint_of,
    save_settings,
)
from sparsevit_mm.search.results import Objective, SearchResult
from sparsevit_mm.search.settings import SearchSettings, is_loss
from sparsevit_mm.search.space import SearchSpace
from sparsevit_mm.versions import __version__
from sparsevit_mm.visualization.search_plots import draw_ratios, draw_search

_FEW_IMAGES = 20  # fewer tell nothing
SCHEDULE_FILE = 'schedule.json'
LOG_FILE = 'candidates.jsonl'
SETTINGS_FILE = 'search.json'
TABLE_FILE = 'latency_table.json'
LOCK_FILE = 'search.lock'


@LOOPS.register_module()
class ScheduleSearchLoop(BaseLoop):
    """Searches the best pruning schedule under a budget (SparseViT, evolutionary search).

    It leaves in the work dir: schedule.json, which `WindowPruningHook` and the tools take;
    candidates.jsonl with every evaluation, from which an interrupted search goes on; plots of
    metric over cost and of the ratios; and the latency table, if latency is the budget.

    Args:
        runner: The runner, its model without weights yet.
        dataloader: The test set's, never looked at.
        evaluator: The test set's, never looked at.
        **settings: Fields of `SearchSettings`.

    Attributes:
        progress: Called with the name of a search, its evaluations so far and in all, if set.

    Raises:
        ConfigError: If a setting is wrong.
    """

    def __init__(self, runner: Runner, dataloader: Any, evaluator: Any, **settings: Any) -> None:
        self.settings = SearchSettings.read(settings)
        self.progress: Callable[[str, int, int], None] | None = None
        self._folder = Path(runner.work_dir)
        loss = is_loss(self.settings.metric)
        self._data = search_data(runner.cfg, self.settings.split, self._folder, loss)
        loader = self._data.dataloader
        if loss:
            loader.batch_size = 1
        super().__init__(runner, loader)
        self._loaders = {1.0: self.dataloader}
        for scale in self.settings.scales:
            self._scaled(loader, scale)
        Proposals(unwrapped(runner.model)).check(self.settings.proposals or ())
        self._evaluator = runner.build_evaluator(self._data.evaluator or [])
        self._evaluator.dataset_meta = getattr(self.dataloader.dataset, 'metainfo', None)

    def run(self) -> dict[str, float]:
        """Searches, writes the results and returns the metrics of the best schedule."""
        self.runner.call_hook('before_test')
        self.runner.call_hook('before_test_epoch')
        with contextlib.ExitStack() as stack:
            on_main_process(lambda: stack.enter_context(locked(self._folder / LOCK_FILE)))
            result = self._search()
            find_prunable_backbone(self.runner.model).importance = self._own_importance
            if is_main_process():
                self._write(result)
        self.runner.call_hook('after_test')
        return dict(result.best.metrics)

    def _search(self) -> SearchResult:
        settings, objective = self.settings, self.settings.objective
        model, say = self.runner.model, self.runner.logger.info
        backbone = find_prunable_backbone(model)
        arch = backbone.arch
        space = SearchSpace(
            arch.depths,
            settings.choices,
            settings.per,
            arch.has_windows,
            settings.importances or (None,),
            settings.scales,
            settings.proposals or (None,),
            # They cost the backbone nothing, so there would be no reason to skip their windows.
            backbone.head_stages if settings.budget.of == MODEL else None,
        )
        self._own_importance = backbone.importance
        schedule_evaluator = ScheduleEvaluator(
            model,
            self.dataloader,
            self._evaluator,
            settings.metric,
            settings.fp16,
            self._loader_at,
        )
        search_cost = SearchCost(
            unwrapped(model),
            settings.budget,
            schedule_evaluator.input_shape,
            self._timed_images,
            _sha256(json.dumps(self.runner.cfg.model, default=str, sort_keys=True).encode()),
        )
        height, width = on_main_process(search_cost.shape)
        say(
            f'{len(self._data.names)} images ({self._data.split.part}); the backbone sees '
            f'{height} x {width}; {space.size} schedules to choose from'
        )
        if len(self._data.names) < _FEW_IMAGES:
            self.runner.logger.warning(
                f'the search looks at {len(self._data.names)} images, too few to tell schedules '
                'apart: hold out more with split.share, or look at the validation set with '
                "split.part='val'."
            )
        described = self._described(space, height, width)
        settings_path = self._folder / SETTINGS_FILE
        on_main_process(lambda: check_same_search(settings_path, described, settings.resume))
        cost = on_main_process(
            lambda: search_cost.of(space, self._folder / TABLE_FILE, settings.resume, say)
        )
        dense = PruningSchedule.dense(arch.depths)
        budget = Budget.parse(settings.budget.bounds, cost.unit, cost.price(dense))
        low, high = cost.reachable(space)
        say(
            f'budget of the {settings.budget.of}: {budget}; schedules cost {cost.show(low)} to '
            f'{cost.show(high)}'
        )
        budget.check_reachable(cost, space, settings.budget.of)

        log_path = self._folder / LOG_FILE
        fingerprint = fingerprint_of(described)
        known = on_main_process(
            lambda: EvaluationLog.read(log_path, fingerprint) if settings.resume else []
        )
        log = EvaluationLog(known, fingerprint)
        if len(log):
            say(f'{len(log)} evaluations are known from before')
        evaluator = _Evaluator(schedule_evaluator, objective, cost, log, say, self.progress)
        # The dense network comes first: it tells which metrics there are before anything is kept.
        first = evaluator.evaluation(dense, 'dense')
        if is_main_process():
            save_settings(settings_path, described)
            log.write_to(log_path)
        found: dict[str, list[Evaluation]] = {}
        ending: dict[str, Any] = {}
        if settings.uniform:
            schedules = uniform_schedules(space)
            found['uniform'] = [evaluator.evaluation(schedule, 'uniform') for schedule in schedules]
            within = all_uniform_within(space, cost, budget)
            tried = [evaluator.evaluation(schedule, 'uniform') for schedule in within]
            if tried:
                found['uniform within the budget'] = tried
        searches: dict[str, tuple[Callable[..., SearchTrace], EvolutionSettings]] = {
            'evolution': (evolve, settings.evolution)
        }
        if settings.random_evaluations:
            numbers = {**asdict(settings.evolution), 'max_evaluations': settings.random_evaluations}
            searches['random'] = (random_search, EvolutionSettings(**numbers))
        for name, (search, how) in searches.items():
            evaluator.begin(name, how.max_evaluations)
            trace = search(space, cost, budget, how, evaluator.propose)
            found[name] = [evaluator.evaluation(p.schedule, p.origin) for p in trace.proposals]
            ending[name] = {
                'evaluations': len(trace.proposals), 'draws': trace.draws, 'by': trace.ended_by,
            }  # fmt: skip
            say(f'{name}: {ending[name]}')
        of = settings.budget.of
        result = SearchResult(objective, budget, first, found, described, ending, of=of)
        return self._measured(result, search_cost, evaluator.seconds)

    def _timed_images(self, scale: float) -> TimedImages:
        """Images of the validation set; of the search, where the config has no validation set."""
        cfg, network = self.runner.cfg, unwrapped(self.runner.model)
        own, budget = self._loader_at(scale), self.settings.budget
        dataset, shape = own.dataset, budget.shape
        if cfg.get('val_dataloader') is not None:
            of_val = self._scaled(cfg.val_dataloader, scale).dataset
            with DefaultScope.overwrite_default_scope(cfg.get('default_scope')):
                dataset = DATASETS.build(of_val)
        if shape is not None and scale != 1:
            shape = (round(shape[0] * scale), round(shape[1] * scale))
        return timed_images(dataset, own.collate_fn, network.eval(), budget.batch, shape)

    def _loader_at(self, scale: float) -> DataLoader:
        """The images of the search at an input scale; each loader is built once."""
        if scale not in self._loaders:
            self._loaders[scale] = self.runner.build_dataloader(
                self._scaled(self._data.dataloader, scale), seed=self.runner.seed
            )
        return self._loaders[scale]

    def _scaled(self, loader: ConfigDict, scale: float) -> ConfigDict:
        """A data loader whose pipeline resizes to other sizes."""
        found = deepcopy(loader)
        if scale != 1:
            for field, dataset in dataset_configs(found, 'val_dataloader'):
                dataset.pipeline = scaled_pipeline(  # type: ignore[attr-defined]
                    dataset.pipeline,  # type: ignore[attr-defined]
                    scale,
                    size_divisor(self.runner.cfg),
                    f'{field}.pipeline',
                )
        return found

    def _measured(
        self, result: SearchResult, search_cost: SearchCost, seconds: float
    ) -> SearchResult:
        """Runs what was only predicted: the MACs, or the latency, of the result."""
        measured: float | None = None
        times: dict[str, Any] = {'seconds': round(seconds, 1), 'processes': get_world_size()}
        if is_main_process():
            times['device'] = search_cost.bench().conditions.device
            if result.budget.unit == MACS:
                best = result.best.schedule
                measured = search_cost.bench(best.scale).count_macs(best)
            else:
                schedules = [row.schedule for row in result.rows.values()]
                latencies = search_cost.time(schedules, self.settings.budget.runs)
                times['milliseconds'] = {
                    name: {'median': latency.median, 'quartiles': latency.quartiles}
                    for name, latency in zip(result.rows, latencies)
                }
        return replace(result, measured=measured, times=times)

    def _described(self, space: SearchSpace, height: int, width: int) -> dict[str, Any]:
        """What the outcome depends on; an interrupted search goes on only under the same."""
        settings, cfg = self.settings, self.runner.cfg
        evolution = asdict(settings.evolution)
        # More of the same may be asked for later.
        for end in ('max_draws', 'max_evaluations'):
            del evolution[end]
        budget = asdict(settings.budget)
        for name in ('table', 'runs'):
            del budget[name]
        loader = self._data.dataloader
        seen = [cfg.model, loader.dataset.pipeline, loader.batch_size, _metrics(cfg)]
        return {
            'metric': settings.metric,
            'less_is_better': settings.objective.less_is_better,
            'budget': {**budget, 'shape': [height, width]},
            'space': {'depths': space.depths, 'choices': space.choices, 'per': space.per},
            'head_stages': space.head_stages,
            'scales': space.scales,
            'proposals': settings.proposals,
            'importance': self._own_importance.name,
            'importances': settings.importances,
            'evolution': evolution,
            'split': {
                **asdict(self._data.split),
                'found': len(self._data.names),
                'sha256': _sha256('\n'.join(self._data.names).encode()),
                'annotations': self._data.annotations,
            },
            'fp16': settings.fp16,
            'checkpoint': _checkpoint_sha256(cfg.get('load_from'), self.runner.model),
            'network': _sha256(json.dumps(seen, default=str, sort_keys=True).encode()),
            'versions': {'torch': torch.__version__, 'sparsevit_mm': __version__},
        }

    def _write(self, result: SearchResult) -> None:
        path = self._folder / SCHEDULE_FILE
        data = result.to_dict()
        if self._own_importance.name is not None:
            data.setdefault('importance', self._own_importance.name)
        allocation = find_prunable_backbone(self.runner.model).allocation
        if allocation != Allocation():  # schedules that are drawn name none
            data['allocation'] = allocation.to_config()
        replace_text(path, json.dumps(data, indent=2) + '\n')
        for name, draw in (('metric_over_cost', draw_search), ('ratios', draw_ratios)):
            with written_whole(self._folder / f'{name}.png') as drawing:
                draw(result).savefig(drawing)
        Console().print(result.table())
        self.runner.logger.info(f'the best schedule is in {path}')


class _Evaluator:
    """Evaluates every schedule once, and reports the progress of the search.

    Args:
        evaluator: Evaluates the network under a schedule.
        objective: What counts.
        cost: Prices.
        log: What is known already.
        say: Takes a line for the log file and the console.
        progress: See `ScheduleSearchLoop`.
    """

    def __init__(
        self,
        evaluator: ScheduleEvaluator,
        objective: Objective,
        cost: AdditiveCost,
        log: EvaluationLog,
        say: Callable[[str], None],
        progress: Callable[[str, int, int], None] | None,
    ) -> None:
        self._evaluator, self._objective, self._cost = evaluator, objective, cost
        self._log, self._say, self._progress = log, say, progress
        self.seconds = 0.0

    def begin(self, name: str, total: int) -> None:
        """Starts to count for a search."""
        self._name, self._total, self._number = name, total, 0
        self._best: Evaluation | None = None

    def propose(self, proposal: Proposal) -> float:
        """Fitness of a schedule a search proposes."""
        known = self._log.find(proposal.schedule) is not None
        found = self.evaluation(proposal.schedule, proposal.origin, proposal.generation)
        self._best = self._objective.best([found] if self._best is None else [self._best, found])
        self._number += 1
        if self._progress is not None:
            self._progress(self._name, self._number, self._total)
        if not known:
            assert self._best is not None
            key = self._objective.metric
            self._say(
                f'{self._name} {self._number}/{self._total}: {key} {found.metrics[key]:.4g} (best '
                f'{self._best.metrics[key]:.4g}) at {self._cost.show(found.cost)}, generation '
                f'{proposal.generation}, {found.seconds:.1f} s'
            )
        return self._objective.fitness(found)

    def evaluation(
        self, schedule: PruningSchedule, origin: str, generation: int | None = None
    ) -> Evaluation:
        """What is known of a schedule, or becomes known now."""
        found = self._log.find(schedule)
        if found is None:
            start = time.monotonic()
            metrics = self._evaluator.measure(schedule)
            seconds = round(time.monotonic() - start, 2)
            cost = self._cost.price(schedule)
            found = Evaluation(schedule, cost, origin, generation, metrics, seconds)
            self.seconds += seconds
            self._log.add(found)
        return found


def _metrics(cfg: Config) -> list[Any]:
    """What the metrics of a config are told, but for where files lie."""
    told = cfg.get('val_evaluator') or cfg.get('test_evaluator') or []
    places = ('file', 'path', 'prefix', 'root', 'dir')
    return [
        {key: value for key, value in metric.items() if not key.endswith(places)}
        for metric in (told if isinstance(told, (list, tuple)) else [told])
        if isinstance(metric, Mapping)
    ]


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _checkpoint_sha256(path: str | None, model: torch.nn.Module) -> str | None:
    """Digest of a checkpoint; of the weights themselves if they come from an address."""
    if path is None:
        return None
    digest = hashlib.sha256()
    if '://' in path:
        for name, weight in sorted(model.state_dict().items()):
            digest.update(name.encode())
            digest.update(weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        return digest.hexdigest()
    with Path(path).open('rb') as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
