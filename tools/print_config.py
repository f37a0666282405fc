"""Prints a config with everything it inherits, and writes it to a file if asked."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from mmengine.config import DictAction

from sparsevit_mm.apis.launch import dump_config, load_config, user_errors_exit


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument('--out', metavar='FILE', help='.py, .json or .yml file to write it to')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='replace fields of the config, such as train_dataloader.batch_size=4',
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Prints the config."""
    args = parse_args(argv)
    with user_errors_exit():
        cfg = load_config(args.config, args.cfg_options)
        if args.out is not None:
            dump_config(cfg, args.out)
    print(cfg.pretty_text)


if __name__ == '__main__':
    main()
