"""Labels mean the same in all data sets of a run and in the heads, or training does not begin."""

from __future__ import annotations

import pytest
import torch
from mmengine.config import Config
from PIL import Image

from sparsevit_mm.apis.configs import load_config, register_framework
from sparsevit_mm.apis.inference import ImagePredictor
from sparsevit_mm.checks.classes import check_classes, check_classes_of_checkpoint
from sparsevit_mm.checks.configs import build_model
from sparsevit_mm.engine.classification import ImageFolder
from sparsevit_mm.errors import ConfigError
from tests.helpers.tiny_data import DETECTOR, SEGMENTOR, write_config, write_tiny_data
from tests.tools.conftest import call_tool

LOADERS = ['train_dataloader', 'val_dataloader']
ORDERS = ('person', 'car'), ('car', 'person')


def check(cfg, loaders=LOADERS):
    register_framework(cfg)
    check_classes(cfg, loaders)


def of_framework(scope, train, val=None, **model):
    """A config of as little as the check looks at."""
    types = {'mmdet': 'CocoDataset', 'mmseg': 'BaseSegDataset', 'mmdet3d': 'KittiDataset'}

    def loader(classes):
        dataset = dict(type=types[scope], data_root='nowhere', metainfo=dict(classes=classes))
        return dict(dataset=dict(type='RepeatDataset', times=2, dataset=dataset))

    loaders = dict(
        train_dataloader=loader(train), val_dataloader=loader(train if val is None else val)
    )
    return Config(dict(default_scope=scope, model=dict(type='Any', **model), **loaders))


HEADS = [
    ('mmdet', dict(roi_head=dict(bbox_head=[dict(num_classes=2)], mask_head=dict(num_classes=2)))),
    ('mmseg', dict(decode_head=dict(num_classes=2), auxiliary_head=dict(num_classes=7))),
    ('mmdet3d', dict(bbox_head=dict(num_classes=2))),
    ('mmdet3d', dict(pts_bbox_head=dict(tasks=[dict(class_names=['person']),
                                               dict(class_names=['car'])]))),
]  # fmt: skip


@pytest.fixture(params=HEADS, ids=lambda case: f'{case[0]}-{"-".join(case[1])}')
def framework(request):
    pytest.importorskip(request.param[0])
    return request.param


def test_equal_classes_pass(framework):
    scope, model = framework
    check(of_framework(scope, ORDERS[0], list(ORDERS[0]), **model))


def test_one_order_in_training_and_validation(framework):
    scope, model = framework
    message = (
        "class 0 of val_dataloader.dataset.dataset.metainfo.classes is 'car', but must be 'person' "
        'as in train_dataloader.dataset.dataset.metainfo.classes: labels count'
    )
    with pytest.raises(ConfigError, match=message):
        check(of_framework(scope, *ORDERS, **model))
    with pytest.raises(ConfigError, match='^val_.* has 1 classes .person., but must have the 2 of'):
        check(of_framework(scope, ORDERS[0], ORDERS[0][:1], **model))


def test_heads_have_as_many_classes(framework):
    scope, model = framework
    three = ('person', 'car', 'tree')
    with pytest.raises(ConfigError, match=r'^model\..* is 2, but .*metainfo.classes has 3: person'):
        check(of_framework(scope, three, **model))


def test_tasks_list_classes_in_the_order_of_labels():
    pytest.importorskip('mmdet3d')
    _, model = HEADS[-1]
    with pytest.raises(ConfigError, match=r"class 0 of model.pts_bbox_head.tasks is 'person', but"):
        check(of_framework('mmdet3d', ORDERS[1], **model))


def test_a_name_without_its_comma(framework, tmp_path):
    scope, model = framework
    for wrong in ('person', [], [1, 2]):
        with pytest.raises(ConfigError, match='metainfo.classes is .* but must be a list of names'):
            check(of_framework(scope, wrong, **model))
    with pytest.raises(ConfigError, match=r"write \('person',\) with the comma"):
        check(of_framework(scope, 'person', **model))
    with pytest.raises(ConfigError, match="holds 'car' twice"):
        check(of_framework(scope, ('car', 'car'), **model))
    (tmp_path / 'classes.txt').write_text('person\ncar\n')
    check(of_framework(scope, str(tmp_path / 'classes.txt'), ORDERS[0], **model))


@pytest.mark.parametrize('text', [DETECTOR, SEGMENTOR], ids=['detector', 'segmentor'])
def test_training_does_not_begin(text, tmp_path, capsys):
    data = write_tiny_data(tmp_path / 'data', images=1)
    config = write_config(tmp_path / 'config.py', text, data)
    for option in ('train_dataloader.dataset.metainfo.classes=person',):
        with pytest.raises(SystemExit):
            call_tool('train', config, '--work-dir', tmp_path / 'work', '--cfg-options', option)
        assert "metainfo.classes is 'person', but must be a list" in capsys.readouterr().err
    assert not (tmp_path / 'work').exists()


CLASSIFIER = """
default_scope = 'mmengine'
model = dict(type='sparsevit_mm.ImageClassifier', in_channels=64, num_classes=2,
    backbone=dict(type='sparsevit_mm.FasterViT', dim=8, in_dim=8, depths=(1, 1, 1, 1)))
def loader(split):
    return dict(batch_size=1, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
        dataset=dict(type='sparsevit_mm.ImageFolder', data_root='DATA',
            data_prefix=dict(img=split), pipeline=[]))
train_dataloader, val_dataloader = loader('train'), loader('val')
train_cfg = dict(by_epoch=True, max_epochs=1)
val_cfg = dict()
val_evaluator = dict(type='sparsevit_mm.TopKAccuracy')
optim_wrapper = dict(optimizer=dict(type='AdamW'))
del loader
"""


@pytest.fixture
def folders(tmp_path):
    """A classifier's config and its folders of images."""
    for split in ('train', 'val'):
        for name in ('cat', 'dog'):
            (tmp_path / 'data' / split / name).mkdir(parents=True)
            Image.new('RGB', (8, 8)).save(tmp_path / 'data' / split / name / '0.png')
    return write_config(tmp_path / 'c.py', CLASSIFIER, tmp_path / 'data'), tmp_path / 'data'


def test_hidden_and_empty_folders_are_no_classes(folders):
    config, data = folders
    for name in ('.ipynb_checkpoints', '__MACOSX'):
        (data / 'train' / name).mkdir()
        Image.new('RGB', (8, 8)).save(data / 'train' / name / '0.png')
    (data / 'train' / 'another').mkdir()
    dataset = ImageFolder(str(data), dict(img='train'))
    assert dataset.metainfo['classes'] == ('cat', 'dog')
    assert [dataset.get_data_info(i)['label'] for i in range(2)] == [0, 1]
    check(load_config(str(config)))


def test_a_split_that_lacks_a_class(folders, capsys):
    config, data = folders
    (data / 'val' / 'cat' / '0.png').unlink()
    with pytest.raises(SystemExit):
        call_tool('train', config, '--work-dir', data / 'work')
    said = capsys.readouterr().err
    assert 'val_dataloader.dataset has 1 classes (dog), but must have the 2 of train_' in said
    assert not (data / 'work').exists()
    # Classes that are listed keep their labels.
    given = {f'{name}.dataset.metainfo': dict(classes=('cat', 'dog')) for name in LOADERS}
    cfg = load_config(str(config), given)
    check(cfg)
    (image,) = ImageFolder(str(data), dict(img='val'), metainfo=dict(classes=('cat', 'dog')))
    assert image['label'] == 1


def test_heads_of_classifiers(folders):
    cfg = load_config(str(folders[0]), {'model.num_classes': 3})
    with pytest.raises(ConfigError, match='model.num_classes is 3, but train_.* has 2: cat, dog'):
        check(cfg)


def test_folders_are_found_under_the_names_of_classes(folders):
    data = folders[1]
    with pytest.raises(
        ConfigError, match="holds 'Cat', but must hold names of the folders in .*cat"
    ):
        ImageFolder(str(data), dict(img='train'), metainfo=dict(classes=('Cat', 'dog')))
    with pytest.raises(ConfigError, match="metainfo.classes is 'cat', but must be a list"):
        ImageFolder(str(data), dict(img='train'), metainfo=dict(classes='cat'))


def test_names_of_predictions_are_those_of_the_file(tmp_path):
    """Without a checkpoint, the names come from the config."""
    (tmp_path / 'classes.txt').write_text('sky\nroad\ntree\n')
    config = write_config(tmp_path / 'config.py', SEGMENTOR, tmp_path)
    key = 'test_dataloader.dataset.metainfo.classes'
    predictor = ImagePredictor(
        str(config), device='cpu', cfg_options={key: str(tmp_path / 'classes.txt')}
    )
    assert predictor.dataset_meta['classes'] == ('sky', 'road', 'tree')
    with pytest.raises(ConfigError, match=r"classes is 'sky', but must be a list of names"):
        ImagePredictor(str(config), device='cpu', cfg_options={key: 'sky'})


@pytest.mark.parametrize('noted', ['dataset_meta', 'CLASSES'])
def test_a_checkpoint_whose_labels_mean_other_classes(noted, framework, tmp_path):
    scope, model = framework
    cfg = of_framework(scope, ORDERS[0], **model)
    register_framework(cfg)
    for classes, wrong in ((ORDERS[0], False), (('Person', 'Car'), False), (ORDERS[1], True)):
        meta = {noted: {'classes': classes} if noted == 'dataset_meta' else classes}
        torch.save({'state_dict': {}, 'meta': meta}, tmp_path / 'a.pth')
        if wrong:
            words = "class 0 of .* is 'person', but is class 1 of the checkpoint .*a.pth"
            with pytest.raises(ConfigError, match=words):
                check_classes_of_checkpoint(cfg, str(tmp_path / 'a.pth'), 'train_dataloader')
        else:
            check_classes_of_checkpoint(cfg, str(tmp_path / 'a.pth'), 'train_dataloader')


@pytest.mark.parametrize('way', ['test', 'resume'])
def test_the_tools_compare_the_classes_of_a_checkpoint(way, tmp_path, capsys):
    data = write_tiny_data(tmp_path / 'data', images=2)
    config = write_config(tmp_path / 'detector.py', DETECTOR, data)
    cfg = load_config(str(config))
    register_framework(cfg)
    content = {
        'state_dict': build_model(cfg).state_dict(),
        'meta': {'dataset_meta': {'classes': ORDERS[1]}, 'epoch': 1, 'iter': 1},
        'message_hub': {},
        'optimizer': {},
    }
    torch.save(content, tmp_path / 'a.pth')
    given = (
        [config, tmp_path / 'a.pth'] if way == 'test' else [config, '--resume', tmp_path / 'a.pth']
    )
    with pytest.raises(SystemExit):
        call_tool('train' if way == 'resume' else 'test', *given, '--work-dir', tmp_path / 'work')
    assert 'is class 1 of the checkpoint' in capsys.readouterr().err
    assert not (tmp_path / 'work').exists()
