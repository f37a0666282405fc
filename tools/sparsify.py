"""Makes a trained model with a Swin skip windows, and compares it with the dense one."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from _arguments import (
    add_cfg_options,
    add_checkpoint,
    add_importance,
    add_optimize,
    add_schedule,
    say_written,
    tool_parser,
)
from rich.console import Console

from sparsevit_mm.apis.schedules import read_schedule
from sparsevit_mm.apis.sparsify import comparison_table, sparsify_model
from sparsevit_mm.apis.user_errors import user_errors_exit
from sparsevit_mm.search.cost import PARTS


def share(text: str) -> float:
    """Reads '0.7x' or '0.7'."""
    return float(text.removesuffix('x'))


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = tool_parser(__doc__)
    parser.add_argument('config', help="a config's path, or an installed one such as mmdet::….py")
    add_checkpoint(parser, 'the trained weights')
    wanted = add_schedule(parser, required=True)
    wanted.add_argument(
        '--latency', type=share, metavar='0.7x', help='latency of the model over the dense one'
    )
    parser.add_argument(
        '--of',
        choices=PARTS,
        help='what is timed: the whole model on the first test image, from the batch to the '
        'predictions, or the backbone on noise; default: the model, but the backbone if there is '
        'no test set or --shape is given',
    )
    add_importance(parser, "the paper's l2")
    add_optimize(parser)
    parser.add_argument('--out-dir', default='sparse', help='where everything goes')
    parser.add_argument(
        '--shape',
        type=int,
        nargs=2,
        metavar=('HEIGHT', 'WIDTH'),
        help='input that MACs and latency are for; default: what the backbone sees of the first '
        'test image',
    )
    parser.add_argument('--no-test', action='store_true', help='do not evaluate')
    parser.add_argument('--pictures', type=int, default=3, help='how many images to draw')
    add_cfg_options(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Compares, prints, and says what was written."""
    args = parse_args(argv)
    with user_errors_exit():
        found = sparsify_model(
            args.config,
            args.checkpoint,
            args.out_dir,
            ratios=read_schedule(args.ratios, args.schedule),
            latency=args.latency,
            of=args.of,
            importance=args.importance,
            shape=None if args.shape is None else tuple(args.shape),
            evaluate=not args.no_test,
            num_images=args.pictures,
            optimize=args.optimize,
            cfg_options=args.cfg_options,
        )
    if found.dial is not None:
        print(found.dial)
    Console().print(comparison_table(found))
    for path in (found.config, found.checkpoint, *found.images):
        print(path)
    say_written('config, checkpoint, comparison and drawings', found.config.parent)


if __name__ == '__main__':
    main()
