"""Measures an exported file on the test set of a config, with the config's own metric."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from _arguments import add_cfg_options, tool_parser

from sparsevit_mm.apis.test_onnx import evaluate_file
from sparsevit_mm.apis.user_errors import user_errors_exit
from sparsevit_mm.deployment.runtimes import RUNTIMES


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = tool_parser(__doc__)
    parser.add_argument('config', help='config file, for its test set and metric')
    parser.add_argument('file', help='written by export_onnx.py --part predictions')
    parser.add_argument('--runtime', help=f'one of {", ".join(RUNTIMES)}; what is installed')
    parser.add_argument('--threads', type=int, help='CPU threads; as many as the runtime takes')
    add_cfg_options(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Measures, and prints the metrics."""
    args = parse_args(argv)
    with user_errors_exit():
        metrics = evaluate_file(
            args.config,
            args.file,
            runtime=args.runtime,
            threads=args.threads,
            cfg_options=args.cfg_options,
        )
    for name, value in metrics.items():
        print(f'{name}: {value:.4f}')


if __name__ == '__main__':
    main()
