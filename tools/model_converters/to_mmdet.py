"""Converts a SparseViT, or a Swin of any known layout, to MMDetection's SwinTransformer."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from sparsevit_mm.apis.user_errors import user_errors_exit
from sparsevit_mm.checkpoints.converting import convert_to_mmdet


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', help='checkpoint of a bare backbone or of a whole model')
    parser.add_argument('target', help='file to write')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Converts and says what became of the tensors."""
    args = parse_args(argv)
    with user_errors_exit():
        print(convert_to_mmdet(args.source, args.target))
    print(f'checkpoint: {args.target}')


if __name__ == '__main__':
    main()
