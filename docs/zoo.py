"""Writes docs/model_zoo.md, the table of all configs, from the metafiles beside them.

python docs/zoo.py
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / 'docs' / 'model_zoo.md'

_INTRODUCTION = """\
# Model zoo

Every config that ships, by folder. The README of a folder has its recipe, the paper's other figures
and footnotes.

- **Input**: height × width that MACs are counted at; several configs use other sizes, too.
- **Ratios**: the share of windows that the blocks of each stage skip; *random*: training draws it.
- **Parameters, MACs**: of the backbone, *counted*; MACs for one image. `tools/get_flops.py` counts
  whole models.
- **Published**: metrics that the authors of the method printed for this row (*paper*).
- **Own**: what this project got with the config. *Not trained* means that tests build it and train
  a step, but that it was never trained to its end: no pretrained weights and no full data sets were
  at hand.
- **Initial weights**: whose file a config starts from, and the license that is stated for it. The
  repository that stores Microsoft's Swin weights is under MIT, that of FasterViT's authors under
  the NVIDIA Source Code License-NC. OpenMMLab and torchvision license their code (Apache-2.0 and
  BSD-3-Clause), but *state* no license for weights: ask them before you build a product on these.
  No weights are shipped.

Written by `python docs/zoo.py` from the `metafile.yml` of every folder; tests compare those with
the configs.
"""
_COLUMNS = (
    'config', 'trained', 'input', 'ratios', 'parameters, M', 'MACs, G', 'published, *paper*', 'own',
    'initial weights',
)  # fmt: skip
_DATA = {
    'coco': 'COCO', 'ade20k': 'ADE20K', 'cityscapes': 'Cityscapes', 'kitti': 'KITTI',
    'nuscenes': 'nuScenes', 'imagenet': 'ImageNet',
}  # fmt: skip


def page() -> str:
    """The page, with a table for each folder of configs."""
    sections = []
    for name in yaml.safe_load((ROOT / 'model-index.yml').read_text())['Import']:
        models = yaml.safe_load((ROOT / name).read_text()).get('Models') or []
        if models:
            folder = Path(name).parent
            collection = models[0]['In Collection'].replace(' + ', ' with ')
            title = f'{collection} on {_DATA[folder.name]}'
            rows = [_COLUMNS, ('---',) * len(_COLUMNS), *(_row(model) for model in models)]
            table = '\n'.join(f'| {" | ".join(row)} |' for row in rows)
            recipe = f'The recipe is in [{folder}/README.md](../{folder}/README.md).'
            sections.append((title, f'## {title}\n\n{recipe}\n\n{table}\n'))
    links = ' ·\n'.join(f'[{title}](#{_anchor(title)})' for title, _ in sections)
    return '\n'.join([_INTRODUCTION, f'{links}\n', *(section for _, section in sections)])


def _anchor(title: str) -> str:
    return title.lower().replace(' ', '-')


def _row(model: Mapping[str, Any]) -> tuple[str, ...]:
    about = model['Metadata']
    size = next(
        (about[key] for key in ('Test Size', 'Counted At', 'Input Size') if key in about), '–'
    )
    macs = next((value for key, value in about.items() if 'MACs' in key), '–')
    return (
        f'[{model["Name"]}](../{model["Config"]})',
        _length(about),
        size.replace('x', '×'),
        about['Pruning Ratios'],
        str(about['Parameters (M, backbone, counted)']),
        str(macs),
        _metrics(model, '(paper)') or '–',
        _metrics(model, '(measured)') or 'not trained',
        about['License of Initial Weights'],
    )


def _metrics(model: Mapping[str, Any], source: str) -> str:
    return ', '.join(
        f'{name.removesuffix(source).strip()} {value}'
        for result in model.get('Results') or ()
        for name, value in (result.get('Metrics') or {}).items()
        if name.endswith(source)
    )


def _length(about: Mapping[str, Any]) -> str:
    for unit in ('Epochs', 'Iterations'):
        if unit in about:
            return f'{about[unit]:,} {unit.lower()}'.replace(',', ' ')
    return '–'


if __name__ == '__main__':
    PAGE.write_text(page())
