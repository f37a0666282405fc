"""Strips a training checkpoint down to its weights and names the file by its hash."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from _arguments import say_written, tool_parser

from sparsevit_mm.apis.publish_model import publish
from sparsevit_mm.apis.user_errors import user_errors_exit


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = tool_parser(__doc__)
    parser.add_argument('source', help='training checkpoint')
    parser.add_argument('target', help='file to write; name.pth becomes name-<hash>.pth')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Publishes and says where."""
    args = parse_args(argv)
    with user_errors_exit():
        path = publish(args.source, args.target)
    say_written('checkpoint', path)


if __name__ == '__main__':
    main()
