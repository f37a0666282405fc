"""Prints a config with everything it inherits, and writes it to a file if asked."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from _arguments import add_cfg_options, say_written, tool_parser

from sparsevit_mm.apis.print_config import print_config
from sparsevit_mm.apis.user_errors import user_errors_exit


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = tool_parser(__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('--out', metavar='FILE', help='.py, .json or .yml file to write it to')
    add_cfg_options(parser, 'train_dataloader.batch_size=4')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the config."""
    args = parse_args(argv)
    with user_errors_exit():
        print_config(args.config, args.out, args.cfg_options)
    say_written('config', args.out)


if __name__ == '__main__':
    main()
