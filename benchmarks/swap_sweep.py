"""Swaps the backbone of every config the installed frameworks ship, and runs one of each kind.

Every config is swapped to every wanted backbone, which checks its channel plan. Configs are grouped
by the types of their necks and heads, losses aside; one of each group then computes a loss on
random images. Each result is written at once, so an interrupted sweep goes on where it stopped.

    python benchmarks/swap_sweep.py --out benchmarks/results/swap_sweep.json
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import itertools
import json
import logging
import os
import platform
import re
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import MessageHub
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import InstanceData, PixelData
from mmengine.utils import get_installed_path
from rich.progress import track

from sparsevit_mm.apis.configs import register_framework
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.swap import BackboneSpec, swap_backbone
from sparsevit_mm.swap.unsupported import backbone_key, host_of
from sparsevit_mm.versions import __version__

FRAMEWORKS = ('mmdet', 'mmseg', 'mmdet3d')
BACKBONES = ('sparsevit-tiny', 'fastervit-0')
SIDE, SIDE_OF_QUERIES, SIDE_OF_DEFORMED = 128, 256, 512
"""Image sizes: more for models that choose among many cells, or bend a kernel at stride 128."""

_INDIFFERENT = (
    'act_cfg',
    'backbone',
    'bbox_coder',
    'conv_cfg',
    'norm_cfg',
    'train_cfg',
    'test_cfg',
)
"""Parts that have nothing to do with what a model takes from its backbone."""


def shipped_configs(framework: str) -> list[Path]:
    """Every config in the wheel of a framework that is no part of others."""
    root = Path(get_installed_path(framework)) / '.mim' / 'configs'
    return [
        path
        for path in sorted(root.rglob('*.py'))
        if '_base_' not in path.parts and '__pycache__' not in path.parts
    ]


def name_of(framework: str, path: Path) -> str:
    """A config's installed name, such as 'mmdet::retinanet/….py'."""
    root = Path(get_installed_path(framework)) / '.mim' / 'configs'
    return f'{framework}::{path.relative_to(root)}'


def signature(model: Mapping[str, Any]) -> str:
    """The types of a model and of everything in it but the backbone."""

    def types(value: Any) -> Any:
        if isinstance(value, Mapping):
            inner = {
                key: types(child)
                for key, child in value.items()
                if not key.startswith('loss') and key not in _INDIFFERENT
            }
            inner = {key: child for key, child in inner.items() if child}
            return {'type': value.get('type'), **inner} if 'type' in value else inner
        if isinstance(value, (list, tuple)):
            found = [types(child) for child in value]
            return found if any(found) else None
        return None

    parts = {key: model[key] for key in model if 'neck' in key or 'head' in key or 'coder' in key}
    if 'detector' in model:
        return f'{model["type"]} of {signature(model["detector"])}'
    return json.dumps([model['type'], types(parts)], sort_keys=True, default=str)


def plan(framework: str, path: Path, backbone: str) -> tuple[dict[str, str], Config | None]:
    """Swaps one config.

    Returns:
        What became of it, and the new config.
    """
    try:
        cfg = Config.fromfile(path)
    except Exception as error:  # what a shipped config asks for may be missing
        return dict(outcome='unreadable', reason=reason_of(error)), None
    if not isinstance(cfg.get('model'), Mapping) or 'type' not in cfg.model:
        return dict(outcome='no model', reason='it is a part of others'), None
    try:
        swap = swap_backbone(cfg, BackboneSpec(backbone, checkpoint=''))
    except ConfigError as error:
        return dict(outcome='refused', reason=reason_of(error)), None
    group = hashlib.sha256(signature(cfg.model).encode()).hexdigest()[:12]
    return dict(outcome='swapped', group=group), swap.cfg


def run(cfg: Config) -> str:
    """Builds a swapped model and computes a loss on random images.

    Returns:
        'ran', or for models that read point clouds as well 'image branch ran'.

    Raises:
        Exception: Whatever the framework raises.
    """
    torch.manual_seed(0)
    for counter in ('iter', 'epoch'):  # some preprocessors and heads ask for them
        MessageHub.get_current_instance().update_info(counter, 0)
    host = host_of(cfg.model)
    assert host is not None
    model_cfg = deepcopy(dict(host))
    if 'teacher_ckpt' in model_cfg:
        model_cfg['teacher_ckpt'] = None  # nothing is fetched
    if not model_cfg.get('data_preprocessor'):
        model_cfg['data_preprocessor'] = cfg.get('data_preprocessor')
    scope = cfg.get('default_scope')
    with DefaultScope.overwrite_default_scope(scope), _where_configs_are(scope):
        model = revert_sync_batchnorm(MODELS.build(model_cfg))
        model.train()  # that of distilled detectors returns nothing
        for name, part in model.named_children():
            if 'backbone' not in name and hasattr(part, 'init_weights'):
                part.init_weights()
        for own in model.parameters(recurse=False):  # DETRs leave theirs to the whole model
            torch.nn.init.normal_(own)
        if scope == 'mmdet3d' and model_cfg['type'] not in ('FCOSMono3D',):
            branch = backbone_key(host)
            maps = getattr(model, branch)(torch.randn(1, 3, SIDE, SIDE))
            neck = getattr(model, 'img_neck' if branch == 'img_backbone' else 'neck')
            assert all(found.isfinite().all() for found in neck(maps))
            return 'image branch ran'
        errors = []
        for batch in {'mmdet': _detection, 'mmseg': _segmentation, 'mmdet3d': _mono3d}[scope](
            model_cfg
        ):
            try:
                with torch.no_grad():
                    data = model.data_preprocessor(batch, True)
                    total, _ = model.parse_losses(model(**data, mode='loss'))
            except Exception as error:
                errors.append(error)
                continue
            assert torch.isfinite(total), 'the loss is not finite'
            return 'ran'
    raise errors[0]


def try_run(cfg: Config, path: Path) -> dict[str, str]:
    """Runs a swapped model; where it fails, tries the original to see whether that ran.

    Returns:
        'ran', 'image branch ran', 'original does not run here', or 'failed', with the reason.
    """
    try:
        return dict(outcome=run(cfg))
    except Exception as error:
        reason = reason_of(error)
    try:
        original = Config.fromfile(path)
        for part in (original.model, original.model.get('detector') or {}):
            part.pop('pretrained', None)
        run(original)
    except Exception as error:
        return dict(outcome='original does not run here', reason=reason_of(error))
    return dict(outcome='failed', reason=reason)


@contextlib.contextmanager
def _where_configs_are(framework: str) -> Iterator[None]:
    """Teachers of distilled detectors are named by paths relative to the framework's root."""
    before = Path.cwd()
    os.chdir(Path(get_installed_path(framework)) / '.mim')
    try:
        yield
    finally:
        os.chdir(before)


def _detection(model: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Batches of two images with boxes, masks and semantic maps of several kinds."""
    from mmdet.testing import demo_mm_inputs, demo_track_inputs

    text = json.dumps(model, default=str)
    queries = '"num_queries": ' in text or '"as_two_stage"' in text
    side = SIDE_OF_DEFORMED if 'DDODHead' in text else SIDE_OF_QUERIES if queries else SIDE
    if 'TrackDataPreprocessor' in text:
        yield demo_track_inputs(
            1, 2, [0], image_shapes=(3, side, side), num_items=None, num_classes=2, with_mask=True
        )
        return
    head = model.get('panoptic_head') or {}
    stuff = head.get('num_things_classes', 0) if head.get('num_stuff_classes') else 0
    for stride, with_mask in ((1, True), (8, True), (1, False)):
        batch = demo_mm_inputs(
            2,
            [[3, side, side]] * 2,
            num_items=[3, 4],
            num_classes=2,
            with_mask=with_mask,
            with_semantic=True,
            sem_seg_output_strides=stride,
        )
        for sample in batch['data_samples']:
            sample.gt_instances.labels.zero_()
            sample.proposals = InstanceData(bboxes=sample.gt_instances.bboxes + 2)  # of Fast R-CNN
            sample.set_metainfo(dict(batch_input_shape=(side, side), pad_shape=(side, side)))
            sample.gt_sem_seg.sem_seg.fill_(stuff)
        yield batch


def _segmentation(model: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    from mmseg.structures import SegDataSample

    side = SIDE_OF_QUERIES if 'num_queries' in json.dumps(model, default=str) else SIDE
    samples = []
    for number in range(2):
        sample = SegDataSample(gt_sem_seg=PixelData(data=torch.zeros(1, side, side).long()))
        sample.gt_sem_seg.data[:, number * 20 :, 40:] = 1
        sample.set_metainfo(dict(img_shape=(side, side), ori_shape=(side, side)))
        samples.append(sample)
    images = [torch.randint(0, 256, (3, side, side), dtype=torch.uint8) for _ in samples]
    yield dict(inputs=images, data_samples=samples)


def _mono3d(model: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    from mmdet3d.structures import CameraInstance3DBoxes, Det3DDataSample

    focal, samples = 100.0, []
    cam2img = [[focal, 0, SIDE / 2], [0, focal, SIDE / 2], [0, 0, 1]]
    for _ in range(2):
        boxes = torch.tensor([[0.5, 0.6, 6, 3.9, 1.6, 1.7, 0.4], [-1, 0.6, 9, 0.6, 1.7, 0.6, 1.0]])
        size = getattr(model['bbox_head'], 'bbox_code_size', 9) - 7
        boxes = torch.cat([boxes, torch.zeros(2, max(size, 0))], 1)
        center = boxes[:, :2] / boxes[:, 2:3] * focal + SIDE / 2
        half = focal / boxes[:, 2:3]
        sample = Det3DDataSample()
        sample.gt_instances_3d = InstanceData(
            bboxes_3d=CameraInstance3DBoxes(boxes, box_dim=boxes.shape[1]),
            labels_3d=torch.zeros(2).long(),
            centers_2d=center,
            depths=boxes[:, 2],
            attr_labels=torch.zeros(2).long(),
        )
        sample.gt_instances = InstanceData(
            bboxes=torch.cat([center - half, center + half], 1), labels=torch.zeros(2).long()
        )
        sample.set_metainfo(
            dict(
                cam2img=cam2img,
                img_shape=(SIDE, SIDE),
                ori_shape=(SIDE, SIDE),
                pad_shape=(SIDE, SIDE),
                scale_factor=1.0,
                box_type_3d=CameraInstance3DBoxes,
            )
        )
        samples.append(sample)
    images = [torch.randint(0, 256, (3, SIDE, SIDE), dtype=torch.uint8) for _ in samples]
    yield dict(inputs=dict(img=images), data_samples=samples)


def sweep(out: Path, frameworks: Sequence[str], every: int = 1) -> dict[str, Any]:
    """Plans all configs and runs one of each group, going on from what `out` has.

    Args:
        out: JSON file of the results.
        frameworks: Frameworks whose configs are swept.
        every: Only each so-manieth config, for a sample.

    Returns:
        The results.
    """
    report = begun_report(out, 'python benchmarks/swap_sweep.py')
    plans, runs = report.setdefault('plans', {}), report.setdefault('runs', {})
    for framework in frameworks:
        register_framework(Config(dict(default_scope=framework)))
    for backbone, framework in itertools.product(BACKBONES, frameworks):
        paths = shipped_configs(framework)[::every]
        for path in track(paths, description=f'{framework} {backbone}'):
            name = name_of(framework, path)
            entry = plans.setdefault(name, {})
            group = entry.get(backbone, {}).get('group')
            if backbone in entry and (not group or f'{framework} {backbone} {group}' in runs):
                continue
            entry[backbone], cfg = plan(framework, path, backbone)
            if cfg is None:
                continue
            key = f'{framework} {backbone} {entry[backbone]["group"]}'
            if key not in runs:
                runs[key] = dict(config=name, **try_run(cfg, path))
                write_report(out, report)
        write_report(out, report)
    report['table'] = summary(report)
    write_report(out, report)
    return report


def summary(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Counts by framework, family of configs and backbone."""
    counts: dict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
    for name, entry in report['plans'].items():
        framework, _, path = name.partition('::')
        for backbone, found in entry.items():
            row = counts[framework, path.partition('/')[0], backbone]
            row[found['outcome']] += 1
            if found['outcome'] == 'swapped':
                ran = report['runs'].get(f'{framework} {backbone} {found["group"]}', {})
                outcome = ran.get('outcome', 'not tried')
                row['runs' if outcome in ('ran', 'image branch ran') else outcome] += 1
    return [
        dict(framework=framework, family=family, backbone=backbone, **row)
        for (framework, family, backbone), row in sorted(counts.items())
    ]


def as_markdown(report: Mapping[str, Any]) -> str:
    """The results by family of configs, and the reasons of what was refused."""
    families: dict[str, dict[tuple[str, str], Counter[str]]] = defaultdict(dict)
    for row in report['table']:
        counts = Counter({key: value for key, value in row.items() if isinstance(value, int)})
        families[row['backbone']][row['framework'], row['family']] = counts
    first, second = BACKBONES
    totals = {name: sum(rows.values(), Counter()) for name, rows in families.items()}
    swapped, ran = totals[first]['swapped'], totals[first]['runs']
    reasons: Counter[tuple[str, str]] = Counter()
    for name, entry in report['plans'].items():
        if entry[first]['outcome'] in ('refused', 'unreadable'):
            reasons[name.partition('::')[0], _short(entry[first]['reason'])] += 1
    lines = [
        '# Every shipped config, swapped',
        '',
        'Made by `python benchmarks/swap_sweep.py --markdown docs/swap_sweep.md` from '
        '`benchmarks/results/swap_sweep.json`.',
        '',
        f'Each of the {len(report["plans"])} configs in the wheels of mmdet, mmseg and mmdet3d was '
        f'swapped to `{first}` and to `{second}`. One config of each group with the same necks and '
        f'heads then computes a loss on random images. Of the {swapped} that can be swapped, {ran} '
        f'({100 * ran / swapped:.1f}%) run. The originals of the others do not run on a CPU '
        'either (operators without a CPU kernel, missing packages, an error upstream). '
        f'Swapped configs that failed: {totals[first]["failed"]} and {totals[second]["failed"]}.',
        '',
        '| framework | family | configs | swapped | run | original does not run | refused '
        '| unreadable | no model |',
        '|---|---|---|---|---|---|---|---|---|',
    ]
    for (framework, family), row in families[first].items():
        other = families[second][framework, family]
        if other != row:
            raise ValueError(f'{family} differs between the backbones: {row}, {other}')
        kinds = ('swapped', 'refused', 'unreadable', 'no model')
        cells = [
            sum(row[kind] for kind in kinds),
            *(row[kind] for kind in ('swapped', 'runs', 'original does not run here')),
            *(row[kind] for kind in kinds[1:]),
        ]
        shown = ' | '.join(str(cell or '') for cell in cells)
        lines.append(f'| {framework} | {family} | {shown} |')
    lines += ['', '## Reasons', '', '| framework | configs | reason |', '|---|---|---|']
    for (framework, reason), count in reasons.most_common():
        lines.append(f'| {framework} | {count} | {reason} |')
    return '\n'.join(lines) + '\n'


def _short(reason: str) -> str:
    """A reason without what differs from config to config."""
    _, cannot, why = reason.partition(' cannot be swapped: ')
    if cannot:
        return why.rstrip('.')
    if 'mmpretrain' in reason:
        return 'it needs mmpretrain, which is not installed'
    if reason.startswith('FileNotFoundError'):
        return 'it inherits from a file that its wheel lacks'
    if 'cannot be looked at' in reason:
        return 'its own backbone cannot be built, for it names a type that its framework lacks'
    return reason.replace('|', '/')


def reason_of(error: Exception) -> str:
    """An error in a line, for a report."""
    # Without the folders of this machine.
    text = ' '.join(str(error).split()).partition(', the current sys.path')[0]
    text = re.sub(r'[^\s\'"]*/site-packages/', '', text)
    return f'{type(error).__name__}: {text[:160]}'


def begun_report(out: Path, command: str) -> dict[str, Any]:
    """What a file has of a sweep that was interrupted, with the versions and machine of today.

    Args:
        out: JSON file of the results; it need not exist.
        command: Makes the results.
    """
    report: dict[str, Any] = json.loads(out.read_text()) if out.exists() else {}
    return report | dict(
        command=command,
        versions={'sparsevit_mm': __version__, 'torch': torch.__version__, 'numpy': np.__version__},
        machine=f'{platform.machine()} CPU',
    )


def write_report(out: Path, report: Mapping[str, Any]) -> None:
    """Writes a report; the file appears when it is whole."""
    out.parent.mkdir(parents=True, exist_ok=True)
    scratch = out.with_suffix('.tmp')
    scratch.write_text(json.dumps(report, indent=1) + '\n')
    scratch.replace(out)


def main() -> None:
    """Sweeps and prints the totals."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', type=Path, default=Path('benchmarks/results/swap_sweep.json'))
    parser.add_argument('--frameworks', nargs='+', default=FRAMEWORKS, choices=FRAMEWORKS)
    parser.add_argument('--every', type=int, default=1, help='only each so-manieth config')
    parser.add_argument('--markdown', type=Path, help='also write the table by family here')
    args = parser.parse_args()
    warnings.filterwarnings('ignore')
    logging.disable(logging.WARNING)
    report = sweep(args.out, args.frameworks, args.every)
    if args.markdown:
        args.markdown.write_text(as_markdown(report))
    totals: dict[str, Counter[str]] = defaultdict(Counter)
    for row in report['table']:
        totals[row['backbone']].update({k: v for k, v in row.items() if isinstance(v, int)})
    for backbone, counts in totals.items():
        print(backbone, dict(counts))


if __name__ == '__main__':
    main()
