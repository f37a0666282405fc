"""Times several networks in one process, taking turns, and sets each beside its floors."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.floors import Rates, count_work
from benchmarks.networks import NETWORKS
from benchmarks.peers import MissingPeer
from sparsevit_mm.deployment.cuda_graph import capture
from sparsevit_mm.profiling.latency import measure_latency

DTYPES = {'fp32': torch.float32, 'fp16': torch.float16, 'bf16': torch.bfloat16}
MODES = ('eager', 'compiled', 'graph')


@dataclass(frozen=True)
class Case:
    """The circumstances that networks are compared under.

    Attributes:
        height: Height of the images in pixels.
        width: Width of the images in pixels.
        batch: Images at once.
        dtype: A key of `DTYPES`; weights and images are of this type.
        mode: One of `MODES`: 'compiled' by `torch.compile`, 'graph' replays a CUDA graph of the
            eager network.
        threads: Threads of a CPU; None for those that the process has.
    """

    height: int
    width: int
    batch: int = 1
    dtype: str = 'fp32'
    mode: str = 'eager'
    threads: int | None = None

    @property
    def fields(self) -> dict[str, Any]:
        """For a row: the threads only if they were chosen."""
        return {key: value for key, value in asdict(self).items() if value is not None}


@contextmanager
def using_threads(number: int | None) -> Iterator[None]:
    """Computes with so many threads; None for those that the process has."""
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def compare(
    names: Sequence[str],
    case: Case,
    rates: Rates,
    *,
    device: torch.device,
    runs: int,
    warmup: int = 3,
) -> list[dict[str, Any]]:
    """Times networks that take turns.

    Args:
        names: Keys of `NETWORKS`.
        case: The circumstances.
        rates: What the machine does at best in the case's dtype.
        device: Where.
        runs: Timed rounds.
        warmup: Rounds before.

    Returns:
        For each network a row: the case; `milliseconds` of every run, `median`, `quartiles`;
        on a CPU `cpu_median`, the processor time of a run, which other processes do not lengthen;
        on a GPU `peak_mib`; `gmacs`, `floor` and `over_floor`: by processor time for one thread,
        by the clock for several. A network that cannot run has
        `skipped`, the reason, instead.
    """
    rows, ready = [], {}
    for name in names:
        row: dict[str, Any] = dict(network=name, **case.fields)
        rows.append(row)
        try:
            ready[name] = _prepare(name, case, rates, device, row)
        except (MissingPeer, RuntimeError, ValueError, AssertionError, TypeError) as error:
            row['skipped'] = f'{type(error).__name__}: {error}'.splitlines()[0][:200]
            _free(device)
    if not ready:
        return rows
    clocks = {name: Clocked(run) for name, run in ready.items()}
    with using_threads(case.threads):
        timed = measure_latency(clocks, warmup=warmup, runs=runs, device=device)
    alone = (case.threads or torch.get_num_threads()) == 1
    for row in rows:
        if row['network'] not in timed:
            continue
        latency = timed[row['network']]
        row['milliseconds'] = [round(value, 3) for value in latency.runs]
        row['median'] = round(latency.median, 3)
        row['quartiles'] = [round(value, 3) for value in latency.quartiles]
        if device.type == 'cpu':
            row['cpu_median'] = round(clocks[row['network']].median(runs), 3)
        # The processor time of several threads is the sum of theirs; the floors are of the clock.
        spent = row.get('cpu_median', row['median']) if alone else row['median']
        row['over_floor'] = round(spent / max(row['floor'].values()), 3)
    return rows


class Clocked:
    """A candidate that notes the processor time of its calls.

    Of one thread that is the latency on an idle machine.
    """

    def __init__(self, run: Callable[[], Any]) -> None:
        self._run = run
        self._found: list[float] = []

    def __call__(self) -> None:
        """Does one run."""
        start = time.process_time()
        self._run()
        self._found.append((time.process_time() - start) * 1e3)

    def median(self, runs: int) -> float:
        """Milliseconds of processor time of the last runs."""
        return statistics.median(self._found[-runs:])


def time_forms(
    forms: Mapping[str, Callable[[], Any]],
    about: Mapping[str, Any],
    *,
    device: torch.device,
    runs: int,
    warmup: int = 3,
) -> list[dict[str, Any]]:
    """Times several ways to compute the same, in inference and taking turns.

    Args:
        forms: What does one run, by name.
        about: What they are given, for the rows.
        device: Where.
        runs: Timed rounds.
        warmup: Rounds before.

    Returns:
        A row for each form, with fields as those of `compare`.
    """
    clocks = {name: Clocked(run) for name, run in forms.items()}
    with torch.inference_mode():
        timed = measure_latency(clocks, warmup=warmup, runs=runs, device=device)
    rows = []
    for name, latency in timed.items():
        row = dict(network=name, **about)
        row |= dict(median=round(latency.median, 4), quartiles=latency.quartiles)
        if device.type == 'cpu':
            row['cpu_median'] = round(clocks[name].median(runs), 4)
        rows.append(row)
    return rows


def _prepare(
    name: str, case: Case, rates: Rates, device: torch.device, row: dict[str, Any]
) -> Callable[[], Any]:
    torch.manual_seed(0)
    network = NETWORKS[name](case.height, case.width)
    work = count_work(network, case.height, case.width)
    row['gmacs'] = round(work.flops * case.batch / 2e9, 4)
    row['floor'] = work.floors(rates, case.batch, DTYPES[case.dtype])
    images = torch.rand(case.batch, 3, case.height, case.width)
    network, images = (x.to(device, DTYPES[case.dtype]) for x in (network, images))
    run = _run_in_mode(network, images, case.mode)
    run()
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        torch.cuda.synchronize(device)
        row['peak_mib'] = round((torch.cuda.max_memory_allocated(device) - before) / 2**20, 1)
    return run


def _run_in_mode(network: nn.Module, images: Tensor, mode: str) -> Callable[[], Any]:
    if mode == 'graph':
        replay = capture(network, images)
        return lambda: replay(images)
    if mode == 'compiled':
        network.compile()

    def run() -> None:
        with torch.no_grad() if mode == 'compiled' else torch.inference_mode():
            network(images)

    return run


def _free(device: torch.device) -> None:
    gc.collect()
    if device.type == 'cuda':
        torch.cuda.empty_cache()
