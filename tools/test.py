"""Evaluates a checkpoint: MMDetection, MMSegmentation or MMDetection3D."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from _arguments import (
    add_cfg_options,
    add_checkpoint,
    add_launcher,
    add_optimize,
    add_schedule,
    say_written,
    set_local_rank,
    tool_parser,
)

from sparsevit_mm.apis.test import test
from sparsevit_mm.apis.user_errors import user_errors_exit


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = tool_parser(__doc__)
    parser.add_argument('config', help='config file')
    add_checkpoint(parser, 'checkpoint file or address')
    parser.add_argument(
        '--work-dir', help='where the log goes; default: work_dirs/<name of the config>'
    )
    parser.add_argument(
        '--out', help='.pkl file for all predictions; in MMSegmentation also a folder of label maps'
    )
    parser.add_argument('--show', action='store_true', help='show predictions in a window')
    parser.add_argument('--show-dir', help='folder for pictures of predictions, in the log folder')
    parser.add_argument('--wait-time', type=float, default=2, help='seconds a shown picture stays')
    parser.add_argument('--tta', action='store_true', help='test-time augmentation')
    add_schedule(parser)
    add_optimize(parser)
    add_cfg_options(parser, 'test_dataloader.batch_size=4')
    add_launcher(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Evaluates."""
    args = parse_args(argv)
    set_local_rank(args)
    with user_errors_exit():
        test(
            args.config,
            args.checkpoint,
            work_dir=args.work_dir,
            out=args.out,
            show=args.show,
            show_dir=args.show_dir,
            wait_time=args.wait_time,
            tta=args.tta,
            ratios=args.ratios,
            schedule=args.schedule,
            optimize=args.optimize,
            cfg_options=args.cfg_options,
            launcher=args.launcher,
        )
    say_written('predictions', args.out)


if __name__ == '__main__':
    main()
