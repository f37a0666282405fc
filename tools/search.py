"""Searches the best pruning schedule for a trained network under a latency or MACs budget."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from _arguments import add_cfg_options, add_checkpoint, add_launcher, set_local_rank, tool_parser

from sparsevit_mm.apis.search import search
from sparsevit_mm.apis.user_errors import user_errors_exit
from sparsevit_mm.search.cost import PARTS


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = tool_parser(
        __doc__,
        epilog="What is not given is the config's, if its test_cfg is a ScheduleSearchLoop, or the "
        "paper's.",
    )
    parser.add_argument('config', help='config file')
    add_checkpoint(parser, 'checkpoint file or address')
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument(
        '--latency',
        metavar='BOUNDS',
        help="the model's latency on this device: 35ms, 0.6x of dense, or a range 30ms..35ms",
    )
    budget.add_argument(
        '--macs', metavar='BOUNDS', help="the model's MACs: 29G, 0.6x of dense, or 0.55x..0.6x"
    )
    parser.add_argument(
        '--of',
        choices=PARTS,
        help='what the budget bounds: the whole model, from the batch to the predictions on images '
        'of the validation set, post-processing included (default), or the backbone, as in the '
        'papers',
    )
    parser.add_argument('--metric', help='such as mIoU, coco/segm_mAP or loss')
    parser.add_argument(
        '--split',
        choices=['held_out', 'val'],
        help='look at a held-out part of the training set (default), or at the validation set',
    )
    parser.add_argument('--share', type=float, help='share of the training set that is held out')
    parser.add_argument('--images', type=int, help='look at no more than so many images')
    parser.add_argument(
        '--shape',
        nargs=2,
        type=int,
        metavar=('HEIGHT', 'WIDTH'),
        help="size of the network's input that the budget is for; default: what most images have",
    )
    parser.add_argument('--batch', type=int, help='images that the budget is for')
    parser.add_argument(
        '--dtype', choices=['float32', 'float16', 'bfloat16'], help='type the latency is for'
    )
    parser.add_argument(
        '--compile',
        metavar='MODE',
        help="torch.compile the blocks: 'default', 'reduce-overhead', …",
    )
    parser.add_argument('--latency-table', metavar='FILE', help='a table measured before')
    parser.add_argument(
        '--importances',
        nargs='+',
        metavar='NAME',
        help='what windows are ranked by to choose from, such as l2 contrast; default: only the '
        "backbone's own",
    )
    parser.add_argument(
        '--scales',
        nargs='+',
        type=float,
        metavar='SCALE',
        help="input scales to choose from, such as 0.7 0.8 0.9 1.0; default: only the config's",
    )
    parser.add_argument(
        '--proposals',
        nargs='+',
        type=int,
        metavar='N',
        help='numbers of proposals of a two-stage detector to choose from, such as 300 500 1000; '
        "default: only the config's",
    )
    parser.add_argument('--evaluations', type=int, help='schedules to evaluate at most')
    parser.add_argument('--population', type=int, help='schedules in a generation')
    parser.add_argument('--parents', type=int, help='schedules that make the next generation')
    parser.add_argument('--seed', type=int, help='seed of the search')
    parser.add_argument(
        '--random', type=int, metavar='N', help='also evaluate N random schedules as a baseline'
    )
    parser.add_argument(
        '--resume', action='store_true', help='go on with the search in the work dir'
    )
    parser.add_argument(
        '--work-dir', help='where results go; default: work_dirs/<name of the config>'
    )
    add_cfg_options(parser, 'test_cfg.evolution.mutation_share=0.4')
    add_launcher(parser)
    return parser.parse_args(argv)


def settings_of(args: argparse.Namespace) -> dict[str, Any]:
    """The command line as settings of the search."""
    return {
        'metric': args.metric,
        'random_evaluations': args.random,
        'importances': args.importances,
        'scales': args.scales,
        'proposals': args.proposals,
        'resume': args.resume or None,
        'split': {'part': args.split, 'share': args.share, 'images': args.images},
        'budget': {
            'macs': args.macs,
            'latency': args.latency,
            'of': args.of,
            'shape': args.shape,
            'batch': args.batch,
            'dtype': args.dtype,
            'compile': args.compile,
            'table': args.latency_table,
        },
        'evolution': {
            'max_evaluations': args.evaluations,
            'population': args.population,
            'parents': args.parents,
            'seed': args.seed,
        },
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Searches."""
    args = parse_args(argv)
    set_local_rank(args)
    with user_errors_exit():
        search(
            args.config,
            args.checkpoint,
            settings=settings_of(args),
            work_dir=args.work_dir,
            cfg_options=args.cfg_options,
            launcher=args.launcher,
        )


if __name__ == '__main__':
    main()
