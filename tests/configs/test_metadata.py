"""READMEs, metafiles and model-index.yml agree with the configs and with what can be counted."""

from __future__ import annotations

import functools
import json
import re
import runpy
from pathlib import Path

import pytest
import torch
import yaml
from mmengine.config import Config

from projects.paper_tables.table import load_table, table_names
from sparsevit_mm.models.swin_arch import SwinArch
from sparsevit_mm.profiling import backbone_macs
from sparsevit_mm.pruning import PruningSchedule
from sparsevit_mm.registry import MODELS as BACKBONES

ROOT = Path(__file__).parents[2]
INDEX = ROOT / 'model-index.yml'
METAFILES = [ROOT / path for path in yaml.safe_load(INDEX.read_text())['Import']]
CONTENTS = {path: yaml.safe_load(path.read_text()) for path in METAFILES}
MODELS = [
    pytest.param(model, path, id=model['Name'])
    for path, content in CONTENTS.items()
    for model in content.get('Models', [])
]
FOLDERS = [path.parent for path, content in CONTENTS.items() if 'Models' in content]
DATA_SETS = {
    'coco': 'COCO',
    'ade20k': 'ADE20K',
    'cityscapes': 'Cityscapes',
    'kitti': 'KITTI',
    'nuscenes': 'nuScenes',
    'imagenet': 'ImageNet-1K',
}
IMAGES_IN_A_TABLE = {'coco': 4, 'nuscenes': 6}  # as the paper counts; one image elsewhere
NOT_PUBLISHED = {'search'}  # steps of recipes, not rows of a table


LICENSES = {
    'https://github.com/SwinTransformer/': "Microsoft's, MIT",
    'https://download.openmmlab.com/mmsegmentation/v0.5/pretrain/swin/': "Microsoft's, MIT",
    'https://download.openmmlab.com/': "OpenMMLab's, not stated",
    'https://huggingface.co/ahatamiz/FasterViT/': "NVIDIA's, non-commercial",
    'torchvision://': "torchvision's, not stated",
}
"""Licenses that are stated for files by who offers them, by how their addresses begin."""


@functools.cache
def config_at(path):
    return Config.fromfile(path)


def initial_weights(cfg):
    """Address of the file that a config starts from, None for random weights."""
    backbone = cfg.model.backbone if 'backbone' in cfg.model else cfg.model.img_backbone
    named = [cfg.get('load_from'), (backbone.get('init_cfg') or {}).get('checkpoint')]
    return next((name for name in named if name), None)


def license_of(cfg):
    name = initial_weights(cfg)
    while name and name.startswith('work_dirs/'):  # an earlier step of a recipe
        earlier = Path(name).parent.name
        (path,) = (ROOT / 'configs').rglob(f'{earlier}.py')
        name = initial_weights(config_at(path))
    if name is None:
        return 'none'
    return next(license for start, license in LICENSES.items() if name.startswith(start))


def ratios_of(cfg):
    """What a config skips, as the zoo prints it."""
    if any('SparsityAdaptationHook' in hook['type'] for hook in cfg.get('custom_hooks') or ()):
        return 'random'
    backbone = cfg.model.backbone if 'backbone' in cfg.model else cfg.model.img_backbone
    ratios = backbone.get('pruning_ratios') or 0.0
    flat = [r for stage in (ratios if isinstance(ratios, (list, tuple)) else [ratios])
            for r in (stage if isinstance(stage, (list, tuple)) else [stage])]  # fmt: skip
    if not any(flat):
        return 'dense'
    heads = cfg.model.get('head_ratios')
    return json.dumps(ratios) + (f'; heads {json.dumps(heads)}' if heads else '')


def configs_of(folder):
    return {path.stem for path in folder.glob('*.py')}


def all_names():
    return [model['Name'] for content in CONTENTS.values() for model in content.get('Models', [])]


def test_index_names_every_metafile_once():
    there = sorted((ROOT / 'configs').rglob('metafile.yml'))
    assert sorted(METAFILES) == there
    assert len(set(all_names())) == len(all_names())


def test_names_are_unique():
    """Tools for model indices find a config by its file name, and a work dir is named after it."""
    names = [path.stem for path in (ROOT / 'configs').rglob('*.py') if path.parent.name != '_base_']
    assert sorted(name for name in names if names.count(name) > 1) == []


def test_every_folder_of_configs_is_described():
    folders = {
        path.parent
        for path in (ROOT / 'configs').rglob('*.py')
        if path.parent.name != '_base_' and path.parent.parent.name != '_base_'
    }
    folders = {f for f in folders if not {f.name, f.parent.name} & NOT_PUBLISHED}
    assert set(FOLDERS) == folders


@pytest.mark.parametrize('folder', FOLDERS, ids=lambda folder: str(folder.relative_to(ROOT)))
def test_metafile_names_every_config(folder):
    models = CONTENTS[folder / 'metafile.yml']['Models']
    assert {model['Name'] for model in models} == configs_of(folder)


@pytest.mark.parametrize('folder', FOLDERS, ids=lambda folder: str(folder.relative_to(ROOT)))
def test_readme_links_every_config_and_no_other(folder):
    text = (folder / 'README.md').read_text()
    assert {Path(link).stem for link in re.findall(r'\]\(([^)]*\.py)\)', text)} == configs_of(
        folder
    )


@pytest.mark.parametrize(
    'readme', sorted((ROOT / 'configs').rglob('README.md')), ids=lambda p: str(p.relative_to(ROOT))
)
def test_readme_is_whole(readme):
    """Abstract, table, citation; links and commands that lead somewhere; figures with a source."""
    text = readme.read_text()
    assert text.startswith('# ')
    assert 'arxiv.org/abs/' in text
    assert re.search(r'^\|[-:| ]+\|$', text, re.M)
    assert '```bibtex' in text
    for link in re.findall(r'\]\(([^)#]+)[^)]*\)', text):
        assert '://' in link or (readme.parent / link).exists(), link
    variables = dict(re.findall(r'^(\w+)=(\S+)$', text, re.M))
    for path in re.findall(r'((?:\$\w+|configs|tools)/[\w./-]+\.(?:py|sh))\b', text):
        for name, value in variables.items():
            path = path.replace(f'${name}', value)
        if (ROOT / path).exists():
            continue
        before = text[: text.index(path)].rsplit('.', 1)[-1]
        assert "MMSegmentation's" in before or "MMDetection3D's" in before, path
    for head in re.findall(r'^\|(.*)\|\n\|[-:| ]+\|$', text, re.M):
        for column in head.split('|'):
            if re.search(r'MACs|latency|\bAP\b|mIoU|top-1|\bms\b', column):
                assert re.search(r'\*?(paper|counted|measured)', column), column


@pytest.mark.parametrize('model, metafile', MODELS)
def test_entry_agrees_with_its_config(model, metafile):
    path = ROOT / model['Config']
    assert path.parent == metafile.parent
    assert path.stem == model['Name']
    collections = {
        collection['Name']: collection
        for content in CONTENTS.values()
        for collection in content.get('Collections', [])
    }
    assert (ROOT / collections[model['In Collection']]['README']).exists()
    data = DATA_SETS[path.parent.name]
    assert {result['Dataset'] for result in model['Results']} == {data}
    assert model['Metadata']['Training Data'] == data
    for result in model['Results']:
        assert all('(paper)' in name for name in result['Metrics']), result
    cfg = config_at(path)
    loop, meta = cfg.train_cfg, model['Metadata']
    if 'Epochs' in meta:
        assert meta['Epochs'] == loop.max_epochs * cfg.train_dataloader.dataset.get('times', 1)
    elif 'Iterations' in meta:
        assert meta['Iterations'] == loop.max_iters
    if 'Batch Size' in meta:
        assert meta['Batch Size'] == cfg.auto_scale_lr.base_batch_size
    assert meta['Pruning Ratios'] == ratios_of(cfg)
    assert meta['License of Initial Weights'] == license_of(cfg)


SWIN_MODELS = [
    parameter
    for parameter in MODELS
    if 'Test Size' in parameter.values[0]['Metadata']
]


@pytest.mark.parametrize('model, metafile', SWIN_MODELS)
def test_counted_macs_are_those_of_the_config(model, metafile):
    height, width = map(int, model['Metadata']['Test Size'].split('x'))
    backbone = config_at(ROOT / model['Config']).model.backbone
    keys = ('arch', 'width', 'embed_dims', 'depths', 'num_heads')
    arch = SwinArch.build(**{key: backbone[key] for key in keys if key in backbone})
    schedule = PruningSchedule.parse(backbone.get('pruning_ratios', 0.0), arch.depths)
    macs = backbone_macs(arch, schedule, height, width).total / 1e9
    counted = model['Metadata']['Backbone MACs (G, one image, counted)']
    assert counted == pytest.approx(macs, abs=0.051)

    text = (metafile.parent / 'README.md').read_text()
    rows = [row for row in text.splitlines() if f'({model["Name"]}.py)' in row and row[0] == '|']
    images = 1
    if rows and '| latency' in _head_of(text, rows[0]):
        images = IMAGES_IN_A_TABLE[metafile.parent.name]
    for row in rows:
        cells = dict(zip(_head_of(text, row).split('|'), row.split('|')))
        printed = float(cells[' MACs, *counted* '].split()[0])
        assert printed == pytest.approx(macs * images, abs=0.06)
        assert cells[' test size '].strip() == f'{height}×{width}'


def backbone_of(model):
    """A backbone of this package without memory for its parameters, else None."""
    cfg = config_at(ROOT / model['Config']).model
    backbone = dict(cfg.backbone if 'backbone' in cfg else cfg.img_backbone)
    if not backbone['type'].startswith('sparsevit_mm.'):
        return None
    backbone.pop('init_cfg', None)
    with torch.device('meta'):
        return BACKBONES.build(backbone)


ONE_OF_A_KIND = {}  # one model for each backbone and what it counts: the others differ in the rest
for parameter in MODELS:
    about = parameter.values[0]['Metadata']
    kind = about['Architecture'][0], *(
        about.get(key) for key in ('Parameters (M, backbone, counted)', 'Input Size', 'Pruning Ratios')
    )
    ONE_OF_A_KIND.setdefault(kind, parameter)


@pytest.mark.parametrize('model, metafile', ONE_OF_A_KIND.values())
def test_parameters_and_macs_are_those_of_the_backbone(model, metafile):
    backbone, about = backbone_of(model), model['Metadata']
    if backbone is None:
        pytest.skip("another package's backbone")
    millions = sum(parameter.numel() for parameter in backbone.parameters()) / 1e6
    assert about['Parameters (M, backbone, counted)'] == pytest.approx(millions, abs=0.06)
    if 'Input Size' in about:
        height, width = map(int, about['Input Size'].split('x'))
        macs = backbone_macs(backbone.arch, backbone.pruning_schedule, height, width).total / 1e9
        counted = about['Backbone MACs (G, one image, counted)']
        assert counted == pytest.approx(macs, abs=0.051)


def test_the_zoo_is_written_from_the_metafiles():
    zoo = runpy.run_path(str(ROOT / 'docs' / 'zoo.py'))
    page = zoo['PAGE'].read_text()
    assert page == zoo['page']()
    assert all(f'(../{model.values[0]["Config"]})' in page for model in MODELS)


COUNTED = {
    parameter.values[0]['Config']: parameter.values[0]['Metadata']
    for parameter in MODELS
    if 'Counted At' in parameter.values[0]['Metadata']
}


def test_macs_of_other_backbones_are_those_of_the_papers_tables():
    seen = set()
    for name in table_names():
        table, results = load_table(name), ROOT / 'projects/paper_tables/results' / f'{name}.json'
        rows = json.loads(results.read_text())['rows']
        for row in table.rows:
            if str(row.config) in COUNTED:
                about, seen = COUNTED[str(row.config)], {*seen, str(row.config)}
                assert about['Counted At'] == f'{row.height}x{row.width}'
                (counted,) = (value for key, value in about.items() if 'MACs' in key)
                assert counted == round(rows[row.name]['macs'] / table.batch / 1e9, 1)
    assert seen == set(COUNTED)


def _head_of(text, row):
    """The first line of the table that a row is in."""
    before = text[: text.index(row)].split('\n\n')[-1]
    return before.splitlines()[0] if before else row
