"""Compares what windows are ranked by on your data, and says which importance to take."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial

from _arguments import add_cfg_options, add_checkpoint, say_written, tool_parser
from rich.console import Console

from sparsevit_mm.apis.rank_windows import SECONDS, rank_windows, ranking_table
from sparsevit_mm.apis.user_errors import user_errors_exit


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = tool_parser(
        __doc__,
        epilog='It looks at images of the validation set. Object pixels are those inside annotated '
        'boxes, or labeled with a class other than background.',
    )
    parser.add_argument('config', help='config file')
    add_checkpoint(parser, 'checkpoint file or address, best adapted to sparsity')
    parser.add_argument(
        '--ratios', type=float, nargs='+', default=[0.5, 0.7], help='uniform pruning ratios'
    )
    parser.add_argument(
        '--importances',
        nargs='+',
        metavar='NAME',
        help="what to compare with the backbone's own; default: those of this package",
    )
    parser.add_argument(
        '--num-images',
        type=int,
        help=f'how many images; default: as many as take about {SECONDS} seconds',
    )
    parser.add_argument(
        '--metric', help="key of the metric; default: the usual one of the config's evaluator"
    )
    parser.add_argument(
        '--objects',
        nargs='+',
        metavar='CLASS',
        help='classes that count as objects; default: all but background',
    )
    parser.add_argument('--device', help='such as cpu or cuda:0; default: a GPU if there is one')
    parser.add_argument('--out', metavar='FILE', help='JSON file to write the figures to')
    add_cfg_options(parser, 'val_dataloader.num_workers=0')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Compares, prints a table, and says which to take."""
    args = parse_args(argv)
    with user_errors_exit():
        found = rank_windows(
            args.config,
            args.checkpoint,
            ratios=args.ratios,
            importances=args.importances,
            num_images=args.num_images,
            metric=args.metric,
            objects=args.objects,
            device=args.device,
            out=args.out,
            cfg_options=args.cfg_options,
            say=partial(print, flush=True),
        )
    Console().print(ranking_table(found))
    print(f'Take {found.take}: {found.why}')
    say_written('ranking', args.out)


if __name__ == '__main__':
    main()
