"""Measures images per second of the network of a config on this machine, with random weights."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from _arguments import add_cfg_options, tool_parser

from sparsevit_mm.apis.throughput import measure_throughput
from sparsevit_mm.apis.user_errors import user_errors_exit
from sparsevit_mm.profiling.inputs import DTYPES, check_device, conditions


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = tool_parser(__doc__)
    parser.add_argument('config', help='config of a classifier; of a detector the backbone is run')
    parser.add_argument(
        '--shape',
        type=int,
        nargs=2,
        default=(224, 224),
        metavar=('HEIGHT', 'WIDTH'),
        help='size of the images in pixels',
    )
    parser.add_argument('--batch', type=int, default=1, help='images at once')
    parser.add_argument('--device', help='such as cpu or cuda:0; default: a GPU if there is one')
    parser.add_argument('--dtype', default='float32', help=f'one of {", ".join(DTYPES)}')
    parser.add_argument('--training-form', action='store_true', help='do not fold norms and tables')
    parser.add_argument('--runs', type=int, default=20, help='timed runs')
    add_cfg_options(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Measures and prints one line."""
    args = parse_args(argv)
    with user_errors_exit():
        latency = measure_throughput(
            args.config,
            *args.shape,
            batch=args.batch,
            device=args.device,
            dtype=args.dtype,
            deploy=not args.training_form,
            runs=args.runs,
            cfg_options=args.cfg_options,
        )
    height, width = args.shape
    on = conditions(height, width, args.batch, args.dtype, check_device(args.device))
    print(f'{1000 * args.batch / latency.median:.1f} images/s, a batch of {args.batch}: {latency}')
    print(f'measured on {on}')


if __name__ == '__main__':
    main()
