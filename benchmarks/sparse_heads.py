"""Times whole models with a sparse backbone, and with sparse heads too, over the same models dense.

A model is built once, from a shipped config and with random weights. Only its schedule changes from
run to run, so everything else is the same; box heads always get the proposals of the dense model.

    python -m benchmarks.sparse_heads --out benchmarks/results/performance_cpu.json
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from mmengine.config import Config
from mmengine.model import bias_init_with_prob
from torch import Tensor, nn

from benchmarks.backbone import parse_device
from benchmarks.conditions import command_of, describe
from benchmarks.networks import SCHEDULES
from benchmarks.peers import declare_torchvision_operators
from benchmarks.results_file import save_section
from benchmarks.side_by_side import Clocked
from sparsevit_mm import optimize_for_inference
from sparsevit_mm.apis.configs import register_framework
from sparsevit_mm.checks.configs import build_model
from sparsevit_mm.profiling.latency import measure_latency

CONFIGS = Path(__file__).parents[1] / 'configs' / 'sparsevit'
FORMS: dict[str, Callable[[nn.Module], Any]] = {
    'plain': lambda model: model,
    'inference form': optimize_for_inference,
}
DENSE = 'dense'
BACKBONE = 'backbone at cfg2'


@dataclass(frozen=True)
class Case:
    """A model.

    Attributes:
        config: Its config in `CONFIGS`.
        side: Height and width of its image in pixels.
        head_ratios: Those that are timed, each with the backbone at cfg2; the first are the
            config's.
    """

    config: str
    side: int
    head_ratios: tuple[tuple[float, ...], ...]


CASES = {
    'UPerNet': Case(
        'ade20k/sparsevit-t-cfg2-heads_upernet_8xb2-finetune-80k_ade20k-512x512.py',
        512,
        ((0.72, 0.0, 0.0, 0.0), (0.78, 0.0, 0.0, 0.0)),
    ),
    'UPerNet 1024²': Case(
        'ade20k/sparsevit-t-cfg2-heads_upernet_8xb2-finetune-80k_ade20k-512x512.py',
        1024,
        ((0.72, 0.0, 0.0, 0.0),),
    ),
    'RetinaNet': Case(
        'coco/retinanet_sparsevit-t-cfg2-heads_fpn_amp-finetune-3x_coco-672x672.py',
        672,
        ((0.0, 0.7, 0.5, 0.0), (0.0, 0.8, 0.6, 0.0)),
    ),
    'Mask R-CNN': Case(
        'coco/mask-rcnn_sparsevit-t-cfg2-heads_fpn_amp-finetune-3x_coco-672x672.py',
        672,
        ((0.7, 0.7, 0.0, 0.0), (0.85, 0.8, 0.0, 0.0)),
    ),
}


def with_heads(head_ratios: Sequence[float]) -> str:
    """What a row calls the model whose heads skip windows."""
    return f'{BACKBONE}, heads {" / ".join(f"{ratio:g}" for ratio in head_ratios)}'


def built(case: Case, options: Mapping[str, Any] | None = None) -> nn.Module:
    """Builds a model in evaluation.

    Args:
        case: Which.
        options: Fields of the config to replace.
    """
    torch.manual_seed(0)
    cfg = Config.fromfile(CONFIGS / case.config)
    cfg.merge_from_dict(dict(options or {}))
    register_framework(cfg)
    model: Any = build_model(cfg)
    if hasattr(model, 'bbox_head'):
        # As when its training starts: else it would suppress thousands of boxes of random scores.
        nn.init.constant_(model.bbox_head.retina_cls.bias, bias_init_with_prob(0.01))
    model.eval()
    return cast(nn.Module, model)


def predictor(model: Any, images: Tensor) -> Callable[[], Any]:
    """A function that predicts once, from images to boxes, masks or labels."""
    sides = tuple(images.shape[-2:])
    shapes = dict(img_shape=sides, ori_shape=sides, batch_input_shape=sides, pad_shape=sides)
    if hasattr(model, 'decode_head'):
        from mmseg.structures import SegDataSample as Sample
    else:
        from mmdet.structures import DetDataSample as Sample
    samples = [Sample(metainfo=dict(**shapes, scale_factor=(1.0, 1.0))) for _ in images]

    def predict() -> Any:
        with torch.inference_mode():
            return model(images, samples, mode='predict')

    return predict


def keep_proposals(model: Any) -> list[Any]:
    """Gives the RoI heads the proposals of the first run in every run; RPN still makes its own.

    Returns:
        A list that gets them.
    """
    first: list[Any] = []
    if not hasattr(model, 'roi_head'):
        return first
    own = model.roi_head.predict

    def predict(features: Any, proposals: Any, *args: Any, **kwargs: Any) -> Any:
        if not first:
            first.append(proposals)
        return own(features, first[0], *args, **kwargs)

    model.roi_head.predict = predict
    return first


def measure_model(
    name: str,
    form: str,
    *,
    device: torch.device,
    runs: int,
    shape: tuple[int, int] | None = None,
    options: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """Times one model at several schedules, which take turns.

    Args:
        name: A key of `CASES`.
        form: A key of `FORMS`.
        device: Where.
        runs: Timed rounds, after one that is not.
        shape: Height and width of the image in pixels, if not the case's.
        options: Fields of the config to replace.

    Returns:
        A row for each schedule; `over_dense` is by processor time on a CPU.
    """
    case, cfg2 = CASES[name], SCHEDULES['cfg2']
    model: Any = built(case, options).to(device)
    FORMS[form](model)
    height, width = shape or (case.side, case.side)
    predict = predictor(model, torch.randn(1, 3, height, width, device=device))
    proposals = keep_proposals(model)
    schedules: dict[str, Any] = {
        DENSE: 0.0,
        BACKBONE: cfg2,
        **{
            with_heads(ratios): dict(ratios=cfg2, head_ratios=ratios) for ratios in case.head_ratios
        },
    }

    def at(schedule: Any) -> Callable[[], None]:
        def run() -> None:
            model.backbone.pruning_schedule = schedule
            predict()

        return run

    at(schedules[DENSE])()  # the proposals are those of the dense model
    clocks = {schedule: Clocked(at(value)) for schedule, value in schedules.items()}
    timed = measure_latency(clocks, warmup=1, runs=runs, device=device)
    rows = []
    for schedule, latency in timed.items():
        row = dict(
            network=f'{name}, {schedule}',
            form=form,
            height=height,
            width=width,
            batch=1,
            milliseconds=[round(value, 3) for value in latency.runs],
            median=round(latency.median, 3),
            quartiles=[round(value, 3) for value in latency.quartiles],
        )
        if proposals:
            row['proposals'] = len(proposals[0][0])
        if device.type == 'cpu':
            row['cpu_median'] = round(clocks[schedule].median(runs), 3)
        rows.append(row)
    for row in rows:
        spent = [each.get('cpu_median', each['median']) for each in (row, rows[0])]
        row['over_dense'] = round(spent[0] / spent[1], 4)
    return rows


def measure(
    names: Sequence[str],
    forms: Sequence[str] = tuple(FORMS),
    *,
    device: torch.device,
    runs: int,
    shape: tuple[int, int] | None = None,
    options: Mapping[str, Any] | None = None,
    command: str = '',
) -> dict[str, Any]:
    """Times several models, see `measure_model`; `command` is what was typed."""
    declare_torchvision_operators()
    rows: list[dict[str, Any]] = []
    for name in names:
        for form in forms:
            found = measure_model(
                name, form, device=device, runs=runs, shape=shape, options=options
            )
            rows += found
            for row in found:
                print(
                    f'{row["network"]}, {form}: {row["median"]} ms, processor '
                    f'{row.get("cpu_median")} ms, over dense {row["over_dense"]}',
                    flush=True,
                )
    return dict(**describe(command, device), runs=runs, warmup=1, rows=rows)


def main(argv: Sequence[str] | None = None) -> None:
    """Measures, prints and adds a section to a JSON file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--models', nargs='+', choices=CASES, default=tuple(CASES))
    parser.add_argument('--forms', nargs='+', choices=FORMS, default=tuple(FORMS))
    parser.add_argument('--shape', type=int, nargs=2, metavar=('H', 'W'))
    parse_device(parser)
    args = parser.parse_args(argv)
    section = measure(
        args.models,
        args.forms,
        device=args.device,
        runs=args.runs,
        shape=None if args.shape is None else tuple(args.shape),
        command=command_of('benchmarks.sparse_heads', sys.argv[1:] if argv is None else argv),
    )
    if args.out is not None:
        save_section(args.out, args.section or 'sparse heads', section)


if __name__ == '__main__':
    main()
