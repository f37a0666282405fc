"""Tests trained weights with windows shared out in several ways, see `trial`.

    python -m projects.allocation_study CONFIG CHECKPOINT --out FILE

The test frames go through the network in batches of frames of one size, drawn from different
scenes where there are several: the same batches for all.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from projects.allocation_study.bench import Bench
from projects.allocation_study.trial import Trial
from sparsevit_mm.files import replace_text


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
            bench.calibrate(trial, ratio, bench.other_split(options.calibrate_on))
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


if __name__ == '__main__':
    main()
