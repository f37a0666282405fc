"""Loads a released checkpoint, evaluates it, and prints its published figures beside."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from _arguments import add_cfg_options, add_checkpoint, say_written, tool_parser
from rich.console import Console

from sparsevit_mm.apis.user_errors import user_errors_exit
from sparsevit_mm.apis.verify_release import verify_release


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = tool_parser(
        __doc__,
        epilog='The released Swin-T Mask R-CNN goes with the config of the dense network, a file '
        "of SparseViT's authors with that of its ratios, both in configs/sparsevit/coco.",
    )
    parser.add_argument('config', help='config file; the metafile.yml beside it has the figures')
    add_checkpoint(parser, 'checkpoint file')
    parser.add_argument(
        '--load-only', action='store_true', help='do not evaluate; needs no data set'
    )
    parser.add_argument('--work-dir', help='where the log goes, as in tools/test.py')
    parser.add_argument('--out', metavar='FILE', help='JSON file for the report')
    add_cfg_options(parser, 'model.backbone.padding=sparsevit')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Verifies and prints."""
    args = parse_args(argv)
    with user_errors_exit():
        report = verify_release(
            args.config,
            args.checkpoint,
            load_only=args.load_only,
            work_dir=args.work_dir,
            out=args.out,
            cfg_options=args.cfg_options,
        )
    print(report.load_sentence())
    Console().print(report.table())
    say_written('report', args.out)


if __name__ == '__main__':
    main()
