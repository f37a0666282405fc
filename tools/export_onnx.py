"""Exports a backbone, segmentor or detector as an ONNX file and checks it with ONNX Runtime."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from _arguments import add_cfg_options, add_checkpoint, add_schedule, say_written, tool_parser

from sparsevit_mm.apis.export_onnx import export_config
from sparsevit_mm.apis.schedules import read_schedule
from sparsevit_mm.apis.user_errors import user_errors_exit
from sparsevit_mm.deployment.description import INPUTS
from sparsevit_mm.deployment.parts import PARTS


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = tool_parser(__doc__)
    parser.add_argument('config', help='config file')
    add_checkpoint(parser, 'weights; random ones without', required=False)
    parser.add_argument('--out', default='model.onnx', help='.onnx, or .pt2 for torch.export')
    parser.add_argument(
        '--shape',
        nargs=2,
        type=int,
        required=True,
        metavar=('HEIGHT', 'WIDTH'),
        help='size of the images in pixels',
    )
    parser.add_argument(
        '--part',
        help=f'one of {", ".join(PARTS)}; predictions if the file can hold them, else backbone',
    )
    parser.add_argument(
        '--input',
        help=f'one of {", ".join(INPUTS)}; uint8 for predictions, else normalized',
    )
    parser.add_argument('--batch', type=int, default=1, help='images at once')
    parser.add_argument('--dynamic-batch', action='store_true', help='for any number of images')
    parser.add_argument(
        '--dynamic-size', action='store_true', help='for any size; FasterViT backbones only'
    )
    add_schedule(parser)
    parser.add_argument('--training-form', action='store_true', help='do not fold norms and tables')
    add_cfg_options(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Exports, and says what was written."""
    args = parse_args(argv)
    with user_errors_exit():
        exported = export_config(
            args.config,
            args.out,
            *args.shape,
            checkpoint=args.checkpoint,
            part=args.part,
            input_form=args.input,
            batch=args.batch,
            dynamic_batch=args.dynamic_batch,
            dynamic_size=args.dynamic_size,
            schedule=read_schedule(args.ratios, args.schedule),
            deploy=not args.training_form,
            cfg_options=args.cfg_options,
        )
    outputs = ', '.join('×'.join(map(str, shape)) for shape in exported.outputs)
    print(f'{exported.path}, {exported.part}: {"×".join(map(str, exported.inputs))} to {outputs}')
    if exported.parity is not None:
        print(exported.parity)
    say_written('file', exported.path)


if __name__ == '__main__':
    main()
