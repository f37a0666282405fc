"""Draws street scenes and writes them as COCO instances, ADE20K-style label maps and 3D boxes."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import _projects  # noqa: F401
from _arguments import say_written, tool_parser

from projects.street_scenes.dataset import DemoSettings, WideSettings, make_dataset
from projects.street_scenes.six_cameras import SixCameraSettings, make_six_camera_dataset
from sparsevit_mm.apis.user_errors import user_errors_exit


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = tool_parser(__doc__)
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument(
        '--six-cameras',
        action='store_true',
        help='streets all around a vehicle with six cameras, as nuScenes infos',
    )
    kind.add_argument('--wide', action='store_true', help='small objects: a camera of a wide lens')
    parser.add_argument(
        '--root', help='folder; default: data/demo, data/demo_wide or data/demo_six_cameras'
    )
    one, wide, six = DemoSettings(), WideSettings(), SixCameraSettings()
    for name, what in (
        ('training', 'training scenes'),
        ('validation', 'validation scenes'),
        ('width', 'image width in pixels'),
        ('height', 'image height in pixels'),
    ):
        usual = f'default: {getattr(one, name)}, wide {getattr(wide, name)}, '
        usual += f'with six cameras {getattr(six, name)}'
        parser.add_argument(f'--{name}', type=int, help=f'{what}; {usual}')
    parser.add_argument('--seed', type=int, default=one.seed, help='seed of the scenes')
    parser.add_argument('--workers', type=int, help='processes; default: one a core')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Makes the data set and says where it is."""
    args = parse_args(argv)
    numbers = ('training', 'validation', 'width', 'height', 'seed')
    given = {name: getattr(args, name) for name in numbers if getattr(args, name) is not None}
    name = 'demo_six_cameras' if args.six_cameras else 'demo_wide' if args.wide else 'demo'
    root = args.root or f'data/{name}'
    with user_errors_exit():
        if args.six_cameras:
            made = make_six_camera_dataset(root, SixCameraSettings(**given), args.workers)
        else:
            settings = WideSettings if args.wide else DemoSettings
            made = make_dataset(root, settings(**given), args.workers)
    say_written('scenes' if made else 'scenes that were there already', root)


if __name__ == '__main__':
    main()
