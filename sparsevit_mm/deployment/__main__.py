"""Runs a file with predictions on images: python -m sparsevit_mm.deployment FILE IMAGE."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from sparsevit_mm.deployment.onnx_detector import OnnxDetector
from sparsevit_mm.deployment.runtimes import RUNTIMES
from sparsevit_mm.errors import SparseVitError


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        prog='python -m sparsevit_mm.deployment',
        description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument('file', help='written by tools/export_onnx.py --part predictions')
    parser.add_argument('images', nargs='+', metavar='IMAGE', help='image files')
    parser.add_argument('--out-dir', help='folder for pictures of what was found')
    parser.add_argument('--threshold', type=float, default=0.3, help='lowest score of a box')
    parser.add_argument('--runtime', help=f'one of {", ".join(RUNTIMES)}; what is installed')
    parser.add_argument('--threads', type=int, help='CPU threads; as many as the runtime takes')
    parser.add_argument(
        '--camera',
        nargs=4,
        type=float,
        metavar=('FX', 'FY', 'CX', 'CY'),
        help='focal lengths and center in pixels of the images, for files that find 3D boxes',
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Predicts, prints what was found and writes pictures."""
    args = parse_args(argv)
    try:
        detector = OnnxDetector(args.file, args.runtime, args.threads)
        cam2img = None
        if args.camera is not None:
            fx, fy, cx, cy = args.camera
            cam2img = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
        for name in args.images:
            found = detector(name, cam2img)
            print(f'{name}:')
            for line in detector.lines(found, args.threshold):
                print(f'  {line}')
            if args.out_dir is not None:
                folder = Path(args.out_dir)
                folder.mkdir(parents=True, exist_ok=True)
                picture = detector.draw(name, found, args.threshold, cam2img)
                Image.fromarray(picture).save(folder / f'{Path(name).stem}.png')
    except SparseVitError as error:
        sys.exit(f'{error}')


if __name__ == '__main__':
    main()
