"""Writes MMDetection3D's infos of KITTI from images, labels and calibration, without LiDAR."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from _arguments import tool_parser

from sparsevit_mm.apis.user_errors import user_errors_exit
from sparsevit_mm.det3d.datasets.kitti_infos import SPLITS, SUFFIXES, make_infos


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = tool_parser(__doc__)
    parser.add_argument('root', help='folder with training/{image_2,label_2,calib} and ImageSets')
    parser.add_argument('--splits', nargs='+', default=SPLITS, help='files in ImageSets')
    parser.add_argument('--out-dir', help='where to write; default: root')
    parser.add_argument('--suffix', choices=SUFFIXES, default=SUFFIXES[0], help='kind of file')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Writes the files and says how many frames each has."""
    args = parse_args(argv)
    with user_errors_exit():
        written = make_infos(args.root, args.splits, args.out_dir, args.suffix)
    for path, frames in written.items():
        print(f'{path}: {frames} frames')


if __name__ == '__main__':
    main()
