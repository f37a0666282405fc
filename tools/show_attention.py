"""Draws where a token of a FasterViT looks: inside its window and through the carrier tokens."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from _arguments import add_cfg_options, add_checkpoint, say_written, tool_parser

from sparsevit_mm.apis.show_attention import show_attention
from sparsevit_mm.apis.user_errors import user_errors_exit


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = tool_parser(__doc__)
    parser.add_argument('picture', help='a picture of any kind and size')
    parser.add_argument('config', help='config file of a model with a FasterViT')
    text = 'checkpoint file or address; without it weights are random'
    add_checkpoint(parser, text, required=False)
    parser.add_argument('--out', default='outputs/attention.png', help='where the drawing goes')
    parser.add_argument(
        '--place',
        type=float,
        nargs=2,
        default=(0.5, 0.5),
        metavar=('ROW', 'COLUMN'),
        help='the token, as shares of height and width; default: the middle',
    )
    parser.add_argument('--stage', type=int, default=2, help='attention stage, 2 or 3; default 2')
    parser.add_argument(
        '--block', type=int, default=-1, help='block of the stage; default the last'
    )
    parser.add_argument(
        '--long-side', type=int, default=896, help='pixels of the longer side of the input'
    )
    add_cfg_options(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Draws and says where."""
    args = parse_args(argv)
    with user_errors_exit():
        show_attention(
            args.picture,
            args.config,
            args.checkpoint,
            out=args.out,
            place=tuple(args.place),
            stage=args.stage,
            block=args.block,
            long_side=args.long_side,
            cfg_options=args.cfg_options,
        )
    say_written('drawing', args.out)


if __name__ == '__main__':
    main()
