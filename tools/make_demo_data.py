"""Draws street scenes and writes them as COCO instances and ADE20K-style label maps."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from sparsevit_mm.demo.dataset import DemoSettings, make_dataset
from sparsevit_mm.engine.launch import user_errors_exit


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    default = DemoSettings()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument('--root', default='data/demo', help='folder of the data set')
    parser.add_argument('--training', type=int, default=default.training, help='training scenes')
    parser.add_argument(
        '--validation', type=int, default=default.validation, help='validation scenes'
    )
    parser.add_argument('--width', type=int, default=default.width, help='image width in pixels')
    parser.add_argument('--height', type=int, default=default.height, help='image height in pixels')
    parser.add_argument('--seed', type=int, default=default.seed, help='seed of the scenes')
    parser.add_argument('--workers', type=int, help='processes; default: one a core')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Makes the data set and says where it is."""
    args = parse_args(argv)
    with user_errors_exit():
        settings = DemoSettings(args.training, args.validation, args.width, args.height, args.seed)
        made = make_dataset(args.root, settings, args.workers)
    print(f'{args.root}: {"made" if made else "there already"}.')


if __name__ == '__main__':
    main()
