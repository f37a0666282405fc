"""Counts the MACs of a config at an input size: the backbone dense and pruned, and the model."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from mmengine.config import DictAction

from sparsevit_mm.apis.get_flops import count_config
from sparsevit_mm.apis.launch import user_errors_exit


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--shape',
        nargs=2,
        type=int,
        required=True,
        metavar=('HEIGHT', 'WIDTH'),
        help="size of the network's input in pixels",
    )
    parser.add_argument('--batch', type=int, default=1, help='images; MACs are summed over them')
    schedule = parser.add_mutually_exclusive_group()
    schedule.add_argument(
        '--ratios', help='pruning ratios, such as 0.5 or "[[0.6], [0], [0.2, 0.4, 0.5], [0]]"'
    )
    schedule.add_argument('--schedule', metavar='FILE', help='JSON file with a pruning schedule')
    parser.add_argument('--out', metavar='FILE', help='JSON file to write the figures to')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='replace fields of the config',
    )
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


if __name__ == '__main__':
    main()
