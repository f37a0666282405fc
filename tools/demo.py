"""Draws street scenes, trains a SparseViT detector on them, compares, and draws pictures."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import _projects  # noqa: F401
from _arguments import add_cfg_options, tool_parser

from projects.street_scenes.dataset import WideSettings
from projects.street_scenes.demo import Demo, run_demo
from sparsevit_mm.apis.user_errors import user_errors_exit

CONFIGS = Path(__file__).parents[1] / 'projects' / 'street_scenes' / 'configs'
CONFIG = CONFIGS / 'mask-rcnn_sparsevit-mini-heads_fpn_adaptation_demo-wide-448x896.py'
WORK_DIR, DATA = 'work_dirs/demo', 'data/demo_wide'


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    default = WideSettings()
    parser = tool_parser(__doc__)
    parser.add_argument('--seed', type=int, default=0, help='seed of scenes and training')
    parser.add_argument('--work-dir', type=Path, help=f'default: {WORK_DIR}, or …-seed<seed>')
    parser.add_argument('--data-root', type=Path, help=f'default: {DATA}, or …-seed<seed>')
    parser.add_argument('--training', type=int, default=default.training, help='training scenes')
    parser.add_argument(
        '--validation', type=int, default=default.validation, help='validation scenes'
    )
    parser.add_argument('--config', default=os.path.relpath(CONFIG), help='config of a detector')
    add_cfg_options(parser, default={})
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the demo, or what is left of it."""
    args = parse_args(argv)
    seed = '' if args.seed == 0 else f'-seed{args.seed}'
    with user_errors_exit():
        run_demo(
            Demo(
                config=args.config,
                seed=args.seed,
                work_dir=args.work_dir or Path(f'{WORK_DIR}{seed}'),
                data_root=args.data_root or Path(f'{DATA}{seed}'),
                settings=WideSettings(args.training, args.validation, seed=args.seed),
                cfg_options=args.cfg_options,
            )
        )


if __name__ == '__main__':
    main()
