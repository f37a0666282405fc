"""Puts one of our backbones into any config of the OpenMMLab frameworks."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from _arguments import add_importance, add_schedule, say_written, tool_parser

from sparsevit_mm.apis.schedules import read_schedule
from sparsevit_mm.apis.swap_backbone import swap_to_file
from sparsevit_mm.apis.user_errors import user_errors_exit
from sparsevit_mm.swap.spec import FOR_OWN_DATA, backbone_names


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = tool_parser(__doc__)
    parser.add_argument('config', help="a config's path, or an installed one such as mmdet::….py")
    parser.add_argument(
        '--backbone',
        required=True,
        metavar='NAME',
        help=f'one of {", ".join(backbone_names())}',
    )
    add_schedule(parser)
    add_importance(parser, FOR_OWN_DATA)
    parser.add_argument(
        '--checkpoint', help='weights to start from; default: the released ImageNet ones; "" none'
    )
    parser.add_argument(
        '--channels',
        metavar='rgb|bgr',
        help='for images of other than three channels: what the first three are, to take the '
        'weights in, with their mean for further channels; default: the weights are left out',
    )
    parser.add_argument('--out', help='the new config; default: <config>_<backbone>.py here')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Swaps, writes, and says what changed."""
    args = parse_args(argv)
    out = args.out or f'{Path(args.config).stem}_{args.backbone}.py'
    with user_errors_exit():
        swap = swap_to_file(
            args.config,
            args.backbone,
            out,
            ratios=read_schedule(args.ratios, args.schedule),
            checkpoint=args.checkpoint,
            channels=args.channels,
            importance=args.importance,
        )
    for change in swap.changes:
        print(f'{".".join(map(str, change.path))}: {change.reason}')
    for path, reason in swap.kept:
        print(f'{".".join(map(str, path))}: {reason}')
    say_written('config', out)


if __name__ == '__main__':
    main()
