"""Quantizes an exported file to int8, calibrated on images of the config's data set."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from _arguments import add_cfg_options, tool_parser

from sparsevit_mm.apis.quantize_onnx import quantize_file
from sparsevit_mm.apis.user_errors import user_errors_exit
from sparsevit_mm.deployment.runtimes import RUNTIMES


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = tool_parser(__doc__)
    parser.add_argument('config', help='config file, for images of its training set')
    parser.add_argument('file', help='written by export_onnx.py --part predictions')
    parser.add_argument('--out', required=True, help='.onnx; .xml for OpenVINO')
    parser.add_argument(
        '--runtime', default=RUNTIMES[0], help=f'whose tools to use: {", ".join(RUNTIMES)}'
    )
    parser.add_argument('--images', type=int, default=64, help='how many to calibrate with')
    add_cfg_options(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Quantizes, and says what was written."""
    args = parse_args(argv)
    with user_errors_exit():
        images = quantize_file(
            args.config,
            args.file,
            args.out,
            runtime=args.runtime,
            images=args.images,
            cfg_options=args.cfg_options,
        )
    print(f'{args.out}: int8 for {args.runtime}, calibrated with {images} images')


if __name__ == '__main__':
    main()
