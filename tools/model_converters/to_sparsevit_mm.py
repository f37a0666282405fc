"""Converts a checkpoint of any known layout to this package's names, which are MMDetection's."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from sparsevit_mm.apis.user_errors import user_errors_exit
from sparsevit_mm.checkpoints.converting import convert_to_ours


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
        print(convert_to_ours(args.source, args.target))
    print(f'checkpoint: {args.target}')


if __name__ == '__main__':
    main()
