"""Draws training images with their annotations, as they come out of the config's pipeline."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from _arguments import add_cfg_options, say_written, tool_parser

from sparsevit_mm.apis.browse_dataset import browse_dataset
from sparsevit_mm.apis.user_errors import user_errors_exit


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = tool_parser(__doc__)
    parser.add_argument('config', help='config file of a detector, segmentor or 3D detector')
    parser.add_argument('--out-dir', default='outputs', help='where the pictures go')
    parser.add_argument('--num', type=int, default=20, help='how many images; fewer if there are')
    parser.add_argument('--seed', type=int, default=0, help='seed of the random augmentations')
    add_cfg_options(parser, 'train_dataloader.dataset.data_root=DIR')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Draws and says what was written."""
    args = parse_args(argv)
    with user_errors_exit():
        for path in browse_dataset(
            args.config, args.out_dir, args.num, args.seed, cfg_options=args.cfg_options
        ):
            print(path)
    say_written('drawings', args.out_dir)


if __name__ == '__main__':
    main()
