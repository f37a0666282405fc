"""Pipeline demo: dense training, adaptation, search and finetuning on drawn scenes."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import _projects  # noqa: F401
from _arguments import add_cfg_options, tool_parser

from projects.street_scenes.pipeline_demo import SCENES, PipelineDemo, run_pipeline_demo
from sparsevit_mm.apis.user_errors import user_errors_exit

CONFIGS = Path(__file__).parents[1] / 'projects' / 'street_scenes' / 'configs'


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = tool_parser(__doc__)
    parser.add_argument('--seed', type=int, default=0, help='seed of scenes, training and search')
    parser.add_argument(
        '--work-dir', type=Path, help='default: work_dirs/recipe, or recipe-seed<seed>'
    )
    parser.add_argument('--data-root', type=Path, help='default: data/recipe, or recipe-seed<seed>')
    parser.add_argument('--training', type=int, default=SCENES.training, help='training scenes')
    parser.add_argument(
        '--validation', type=int, default=SCENES.validation, help='validation scenes'
    )
    budget = parser.add_mutually_exclusive_group()
    budget.add_argument(
        '--macs', metavar='BOUNDS', help="budget of the model's MACs, such as 0.8x of dense"
    )
    budget.add_argument(
        '--latency',
        metavar='BOUNDS',
        help="budget of the model's latency, such as 0.8x or 35ms; "
        "default: 0.6x of the backbone's MACs",
    )
    parser.add_argument(
        '--scales', nargs='+', type=float, metavar='SCALE', help='input scales to choose from, too'
    )
    parser.add_argument('--evaluations', type=int, help='schedules the evolution evaluates')
    parser.add_argument('--configs', type=Path, default=CONFIGS, help='their folder')
    add_cfg_options(parser, of="every step's config", default={})
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the pipeline demo, or the rest of an interrupted one."""
    args = parse_args(argv)
    name = 'recipe' if args.seed == 0 else f'recipe-seed{args.seed}'
    with user_errors_exit():
        run_pipeline_demo(
            PipelineDemo(
                configs=args.configs,
                seed=args.seed,
                work_dir=args.work_dir or Path('work_dirs') / name,
                data_root=args.data_root or Path('data') / name,
                settings=replace(
                    SCENES, training=args.training, validation=args.validation, seed=args.seed
                ),
                cfg_options=args.cfg_options,
                search_options={
                    'budget': {'macs': args.macs, 'latency': args.latency},
                    'scales': args.scales,
                    'evolution': {'max_evaluations': args.evaluations},
                    'random_evaluations': args.evaluations,
                },
            )
        )


if __name__ == '__main__':
    main()
