"""Arguments that several tools take: fields of a config, a pruning schedule, a launcher."""

from __future__ import annotations

import argparse
import os
from typing import Any

from mmengine.config import DictAction

from sparsevit_mm.profiling.inputs import DTYPES


class HelpWithDefaults(argparse.HelpFormatter):
    """Adds its default to the help of every argument that has one worth telling."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        text, default = action.help, action.default
        told = default is None or isinstance(default, bool) or default in (argparse.SUPPRESS, {})
        if told or not action.option_strings or 'default' in (text or ''):
            return text
        if isinstance(default, (list, tuple)):
            return f'{text} (default: {" ".join(map(str, default))})'
        return f'{text} (default: %(default)s)'


def tool_parser(description: str | None, epilog: str | None = None) -> argparse.ArgumentParser:
    """Makes the parser of a tool, whose `--help` tells defaults.

    Args:
        description: What the tool does.
        epilog: What the help ends with.
    """
    return argparse.ArgumentParser(
        description=description, epilog=epilog, formatter_class=HelpWithDefaults
    )


class _Checkpoint(argparse.Action):
    """Takes a checkpoint once: as a positional, or with `--weights`."""

    def __init__(self, *args: Any, positional: argparse.Action | None = None, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.positional = positional

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        if values is None:
            return
        if getattr(namespace, self.dest, None) is not None:
            parser.error('the checkpoint is given twice: give it as a positional or with --weights')
        setattr(namespace, self.dest, values)
        if self.positional is not None:
            self.positional.nargs, self.positional.required = '?', False


def add_checkpoint(parser: argparse.ArgumentParser, text: str, *, required: bool = True) -> None:
    """Adds the positional `checkpoint` and, in its place, `--weights` of MMDetection's demos.

    Args:
        parser: Parser of the tool, which has the positionals before this one already.
        text: What the help says.
        required: Whether one of them must be given.
    """
    nargs: dict[str, Any] = {} if required else dict(nargs='?')
    positional = parser.add_argument('checkpoint', action=_Checkpoint, help=text, **nargs)
    parser.add_argument(
        '--weights',
        dest='checkpoint',
        action=_Checkpoint,
        positional=positional,
        metavar='CHECKPOINT',
        help='the checkpoint, if it is not given as a positional',
    )


def add_cfg_options(
    parser: argparse.ArgumentParser,
    example: str | None = None,
    *,
    of: str = 'the config',
    default: Any = None,
) -> None:
    """Adds `--cfg-options KEY=VALUE …`.

    Args:
        parser: Parser of the tool.
        example: A pair that the help shows, such as 'train_dataloader.batch_size=4'.
        of: Whose fields are replaced, for the help.
        default: What the argument is when it is not given.
    """
    such_as = f', such as {example}' if example else ''
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        default=default,
        metavar='KEY=VALUE',
        help=f'replace fields of {of}{such_as}',
    )


def add_schedule(parser: argparse.ArgumentParser, required: bool = False) -> Any:
    """Adds `--ratios` and `--schedule`, of which one may be given.

    Args:
        parser: Parser of the tool.
        required: Whether one of them must be given.

    Returns:
        The group that excludes the one with the other, for further alternatives.
    """
    group = parser.add_mutually_exclusive_group(required=required)
    group.add_argument(
        '--ratios',
        help='pruning ratios, such as 0.5 or "[[0.6], [0], [0.2, 0.4, 0.5], [0]]"; with those of '
        'sparse heads: \'{"ratios": 0.5, "head_ratios": [0.7, 0.5, 0, 0]}\'',
    )
    group.add_argument('--schedule', metavar='FILE', help='JSON file with a pruning schedule')
    return group


def add_importance(parser: argparse.ArgumentParser, default: str) -> None:
    """Adds `--importance`, which goes into the config that is written.

    Args:
        parser: Parser of a tool.
        default: What ranks windows if neither schedule nor config names anything, in words.
    """
    parser.add_argument(
        '--importance',
        metavar='NAME',
        help='what windows are ranked by, such as l2 or contrast; default: what the schedule file '
        f'or the config names, else {default}',
    )


def add_optimize(parser: argparse.ArgumentParser) -> None:
    """Adds `--optimize`."""
    parser.add_argument(
        '--optimize',
        nargs='?',
        const='float32',
        choices=list(DTYPES),
        help='use the inference form of the whole model, the same predictions in less time; '
        'bfloat16, and float16 on a GPU, compute in half precision (alone: float32)',
    )


def add_launcher(parser: argparse.ArgumentParser) -> None:
    """Adds `--launcher`, and `--local_rank`, which older launchers pass on."""
    parser.add_argument(
        '--launcher',
        choices=['none', 'pytorch', 'slurm', 'mpi'],
        default='none',
        help='what started the processes',
    )
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help='of launchers')


def say_written(what: str, path: object) -> None:
    """Prints the last line of a tool: what was written where; nothing if `path` is None."""
    if path is not None:
        print(f'{what}: {path}')


def set_local_rank(args: argparse.Namespace) -> None:
    """Hands `--local_rank` to mmengine, unless the launcher has set the environment already."""
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
