"""Times the model of a config in ONNX Runtime on the CPU, dense and sparse side by side."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch
from _arguments import add_cfg_options, add_checkpoint, say_written, tool_parser

from sparsevit_mm.apis.benchmark_onnx import benchmark_config
from sparsevit_mm.apis.schedules import parse_ratios
from sparsevit_mm.apis.user_errors import user_errors_exit
from sparsevit_mm.deployment.parts import PARTS
from sparsevit_mm.deployment.runtimes import RUNTIMES


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = tool_parser(__doc__)
    parser.add_argument('config', help='config file')
    add_checkpoint(parser, 'weights; random ones without', required=False)
    parser.add_argument(
        '--ratios',
        action='append',
        required=True,
        help='pruning ratios to compare with dense, such as 0.5 or '
        '"[[0.6], [0], [0.2, 0.4, 0.5], [0]]"; can be repeated',
    )
    parser.add_argument(
        '--shape', nargs=2, type=int, required=True, metavar=('HEIGHT', 'WIDTH'), help='in pixels'
    )
    parser.add_argument(
        '--part',
        help=f'one of {", ".join(PARTS)}; predictions if a file can hold them, else backbone',
    )
    parser.add_argument(
        '--runtime',
        nargs='+',
        default=[RUNTIMES[0]],
        metavar='NAME',
        help=f'what runs the files: {", ".join(RUNTIMES)}',
    )
    parser.add_argument('--batch', type=int, default=1, help='images at once')
    parser.add_argument('--runs', type=int, default=20, help='timed rounds')
    parser.add_argument('--with-torch', action='store_true', help='time the models on torch, too')
    parser.add_argument('--out', metavar='FILE', help='JSON file to write the figures to')
    add_cfg_options(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Times, and prints a line for each."""
    args = parse_args(argv)
    with user_errors_exit():
        timed = benchmark_config(
            args.config,
            *args.shape,
            schedules={'dense': 0.0, **{ratios: parse_ratios(ratios) for ratios in args.ratios}},
            checkpoint=args.checkpoint,
            part=args.part,
            batch=args.batch,
            runs=args.runs,
            runtimes=args.runtime,
            with_torch=args.with_torch,
            out=args.out,
            cfg_options=args.cfg_options,
        )
    for name, latency in timed.items():
        dense = timed[f'dense, {name.rpartition(", ")[2]}']
        print(f'{name}: {latency}, {latency.median / dense.median:.2f} of dense')
    print(f'on the CPU, {torch.get_num_threads()} threads, {args.runs} rounds in turn')
    say_written('latencies', args.out)


if __name__ == '__main__':
    main()
