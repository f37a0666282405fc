"""Predicts on a picture or a folder of pictures, and draws which windows were computed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from _arguments import (
    add_cfg_options,
    add_checkpoint,
    add_optimize,
    add_schedule,
    say_written,
    tool_parser,
)

from sparsevit_mm.apis.image_demo import demonstrate
from sparsevit_mm.apis.user_errors import user_errors_exit


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = tool_parser(__doc__)
    parser.add_argument('pictures', help='a picture of any kind and size, or a folder of pictures')
    parser.add_argument('config', help='config file of a detector or segmentor')
    text = 'checkpoint file or address; without it weights are random'
    add_checkpoint(parser, text, required=False)
    parser.add_argument('--out-dir', default='outputs', help='where the pictures go')
    parser.add_argument(
        '--infos',
        metavar='FILE',
        help='info file with the cameras, for networks that find 3D boxes',
    )
    parser.add_argument('--device', help='such as cpu or cuda:0; default: a GPU if there is one')
    parser.add_argument(
        '--score-thr', type=float, default=0.3, help='score below which detections are not drawn'
    )
    add_schedule(parser)
    add_optimize(parser)
    add_cfg_options(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Predicts, draws, and says what was written."""
    args = parse_args(argv)
    with user_errors_exit():
        report = demonstrate(
            args.pictures,
            args.config,
            args.checkpoint,
            out_dir=args.out_dir,
            infos=args.infos,
            device=args.device,
            score_thr=args.score_thr,
            ratios=args.ratios,
            schedule=args.schedule,
            optimize=args.optimize,
            cfg_options=args.cfg_options,
        )
    for path in [*report.predictions, *report.kept_windows]:
        print(path)
    say_written('drawings', args.out_dir)
    for note in report.notes:
        print(f'note: {note}', file=sys.stderr)
    for sentence in report.refused:
        print(f'error: {sentence}', file=sys.stderr)
    if report.refused:
        raise SystemExit(1)


if __name__ == '__main__':
    main()
