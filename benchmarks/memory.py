"""Peak memory of one inference at a high resolution on the CPU, each network in its own process.

python benchmarks/memory.py --side 2688 --out benchmarks/results/memory_cpu.json
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
from pathlib import Path

OURS = 'from sparsevit_mm import SparseViT as Network'
NETWORKS = {
    'mmdet Swin-T': 'from mmdet.models.backbones import SwinTransformer as Swin; net = Swin()',
    'SparseViT-T, dense': f'{OURS}; net = Network()',
    'SparseViT-T, ratio 0.6': f'{OURS}; net = Network(pruning_ratios=0.6)',
}

CHILD = """
import json, resource, sys, time, warnings
warnings.filterwarnings('ignore')
import torch
torch.manual_seed(0)
{make}
net.eval()
side = int(sys.argv[1])
images = torch.rand(1, 3, side, side)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.perf_counter()
with torch.inference_mode():
    net(images)
seconds = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps(dict(seconds=seconds, before_mib=before / 1024, peak_mib=peak / 1024)))
"""


def measure(side: int) -> dict[str, dict[str, float]]:
    """Runs every network once on one image of side x side pixels.

    Returns:
        For each: seconds, and the process's memory in MiB before and at the peak of the inference.
    """
    found = {}
    for name, make in NETWORKS.items():
        done = subprocess.run(
            [sys.executable, '-c', CHILD.format(make=make), str(side)],
            capture_output=True,
            text=True,
            check=True,
        )
        found[name] = json.loads(done.stdout.strip().splitlines()[-1])
        found[name]['inference_mib'] = found[name]['peak_mib'] - found[name]['before_mib']
    return found


def main() -> None:
    """Measures, writes and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--side', type=int, default=2688, help='side of the image in pixels')
    parser.add_argument('--out', type=Path)
    args = parser.parse_args()
    import torch

    report = dict(
        command=f'python benchmarks/memory.py --side {args.side}',
        machine=f'{platform.machine()} CPU, {torch.get_num_threads()} threads',
        versions=dict(torch=torch.__version__),
        networks=measure(args.side),
    )
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(report, indent=2) + '\n')
    for name, row in report['networks'].items():
        print(f'{name}: {row["inference_mib"]:.0f} MiB for the inference, {row["seconds"]:.1f} s')


if __name__ == '__main__':
    main()
