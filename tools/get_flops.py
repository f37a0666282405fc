"""Counts the MACs of a config at an input size: the backbone dense and pruned, and the model."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from _arguments import add_cfg_options, add_schedule, say_written, tool_parser

from sparsevit_mm.apis.get_flops import count_config
from sparsevit_mm.apis.user_errors import user_errors_exit


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = tool_parser(__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--shape',
        nargs=2,
        type=int,
        default=(None, None),
        metavar=('HEIGHT', 'WIDTH'),
        help="size of the network's input in pixels; default: what the test pipeline resizes to",
    )
    parser.add_argument('--batch', type=int, default=1, help='images; MACs are summed over them')
    add_schedule(parser)
    parser.add_argument('--out', metavar='FILE', help='JSON file to write the figures to')
    add_cfg_options(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Counts and prints a table."""
    args = parse_args(argv)
    with user_errors_exit():
        count_config(
            args.config,
            *args.shape,
            batch=args.batch,
            ratios=args.ratios,
            schedule=args.schedule,
            out=args.out,
            cfg_options=args.cfg_options,
        )
    say_written('counts', args.out)


if __name__ == '__main__':
    main()
