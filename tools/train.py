"""Trains the model of a config: MMDetection, MMSegmentation or MMDetection3D."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from _arguments import add_cfg_options, add_launcher, say_written, set_local_rank, tool_parser

from sparsevit_mm.apis.train import train
from sparsevit_mm.apis.user_errors import user_errors_exit


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = tool_parser(__doc__)
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--work-dir', help='where logs and checkpoints go; default: work_dirs/<name of the config>'
    )
    parser.add_argument('--amp', action='store_true', help='train in mixed precision')
    parser.add_argument(
        '--auto-scale-lr', action='store_true', help='scale the learning rate by the batch size'
    )
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CHECKPOINT',
        help='go on from this checkpoint, or without one from the last in the work dir',
    )
    add_cfg_options(parser, 'train_dataloader.batch_size=4')
    add_launcher(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Trains."""
    args = parse_args(argv)
    set_local_rank(args)
    with user_errors_exit():
        runner = train(
            args.config,
            work_dir=args.work_dir,
            amp=args.amp,
            auto_scale_lr=args.auto_scale_lr,
            resume=args.resume,
            cfg_options=args.cfg_options,
            launcher=args.launcher,
        )
    if runner.rank == 0:
        say_written('checkpoints and logs', runner.work_dir)


if __name__ == '__main__':
    main()
