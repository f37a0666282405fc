"""The classifier: the authors' logits, published sizes, and a training run from a folder."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmengine.registry import MODELS
from PIL import Image

from sparsevit_mm.errors import CheckpointError, ConfigError, DeployedModelError
from sparsevit_mm.models.classifier import ImageClassifier
from sparsevit_mm.profiling.model_macs import model_macs
from tests.models.test_fastervit import (
    GOLDENS,
    TINY,
    VARIANTS,
    authors_file,
    golden_images,
)

# arch: millions of parameters of the authors' code, GFLOPs their README gives at 224 x 224.
PUBLISHED = {
    '0': (31.40, 3.3),
    '1': (53.37, 5.3),
    '2': (75.92, 8.7),
    '3': (159.55, 18.2),
    '4': (365.56, 42.7),  # what their code counts; the README says 36.6
    '5': (957.52, 113.0),
    '6': (1360.33, 142.0),
    '4-21k-224': (271.94, None),
    '4-21k-384': (271.94, None),
    '4-21k-512': (271.94, None),
    '4-21k-768': (271.94, None),
}


def golden_classifier(variant, path, **kwargs):
    config = {k: v for k, v in VARIANTS[variant]['config'].items() if k != 'resolution'}
    settings = dict(
        backbone=dict(type='sparsevit_mm.FasterViT', **config),
        in_channels=64,
        num_classes=5,
        init_cfg=dict(type='Pretrained', checkpoint=path),
    )
    net = ImageClassifier(**{**settings, **kwargs})
    net.init_weights()
    return net.eval()


@pytest.mark.parametrize(
    'variant, case', [(name, case) for name in VARIANTS for case in VARIANTS[name]['cases']]
)
def test_equals_the_authors_logits(variant, case, tmp_path):
    net = golden_classifier(variant, authors_file(tmp_path, variant))
    with torch.no_grad():
        logits = net(golden_images(variant, case))
    expected = np.load(GOLDENS)[f'{variant}/{case}/logits']
    np.testing.assert_allclose(logits.numpy(), expected, rtol=0, atol=1e-5)


def test_inference_form_gives_the_same_logits(tmp_path):
    net = golden_classifier('scaled_propagate', authors_file(tmp_path, 'scaled_propagate'))
    images = golden_images('scaled_propagate', '224')
    with torch.no_grad():
        expected = net(images)
        torch.testing.assert_close(net.switch_to_deploy()(images), expected, rtol=1e-5, atol=1e-5)
    with pytest.raises(DeployedModelError, match='cannot be trained'):
        net.train()


@pytest.mark.parametrize('arch', PUBLISHED)
def test_sizes_are_the_authors(arch):
    millions, gmacs = PUBLISHED[arch]
    with torch.device('meta'):
        backbone = MODELS.build(dict(type='sparsevit_mm.FasterViT', arch=arch))
        net = ImageClassifier(
            dict(type='sparsevit_mm.FasterViT', arch=arch), backbone.arch.stage_dims[-1]
        ).eval()
    assert sum(p.numel() for p in net.parameters()) / 1e6 == pytest.approx(millions, abs=0.01)
    if gmacs is not None:
        images = torch.empty(1, 3, 224, 224, device='meta')
        with torch.no_grad():
            net(images)  # tables of positions are computed once, not for every image
        counted = model_macs(net, lambda: net(images)).total / 1e9
        assert counted == pytest.approx(gmacs, rel=0.02)


def test_checkpoint_of_our_own_and_another_head(tmp_path):
    path = authors_file(tmp_path, 'plain')
    first = golden_classifier('plain', path)
    torch.save({'state_dict': first.state_dict()}, tmp_path / 'ours.pth')
    second = golden_classifier('plain', str(tmp_path / 'ours.pth'))
    for name, value in first.state_dict().items():
        assert second.state_dict()[name].equal(value), name
    finetuned = golden_classifier('plain', path, num_classes=3)
    assert finetuned.norm.running_mean.equal(first.norm.running_mean)
    assert finetuned.head.weight.shape == (3, 64)
    with pytest.raises(CheckpointError, match='FasterViT of dim 8'):
        golden_classifier('plain', path, backbone=dict(type='sparsevit_mm.FasterViT', **TINY))


@pytest.mark.parametrize(
    'wrong, message',
    [
        (dict(final_norm='LN'), "final_norm is 'LN'"),
        (dict(num_classes=0), 'num_classes is 0'),
        (dict(label_smoothing=1.0), 'label_smoothing is 1.0'),
    ],
)
def test_bad_arguments_are_one_sentence(wrong, message):
    backbone = dict(type='sparsevit_mm.FasterViT', **TINY)
    with pytest.raises(ConfigError, match=message):
        ImageClassifier(**{**dict(backbone=backbone, in_channels=32), **wrong})


def make_folder(root, images=6, side=40):
    """Two classes that differ in brightness."""
    rng = np.random.default_rng(0)
    for split in ('train', 'val'):
        for name, level in (('dark', 40), ('light', 200)):
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(images):
                pixels = rng.integers(level - 30, level + 30, (side, side + 9, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f'{number}.png')


def test_learns_a_folder_of_images(tmp_path):
    from mmengine.runner import Runner

    make_folder(tmp_path)
    load = dict(type='LoadImageFromFile')
    pack = dict(type='sparsevit_mm.PackImage')

    def loader(split, *steps):
        return dict(
            batch_size=6,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=split == 'train'),
            dataset=dict(
                type='sparsevit_mm.ImageFolder',
                data_root=str(tmp_path),
                data_prefix=dict(img=split),
                pipeline=[load, *steps, pack],
            ),
        )

    crop = dict(type='sparsevit_mm.RandomResizedCrop', size=32, scale=(0.5, 1.0))
    resize = [dict(type='Resize', scale=(32, 32)), dict(type='CenterCrop', crop_size=(32, 32))]
    runner = Runner(
        model=dict(
            type='sparsevit_mm.ImageClassifier',
            backbone=dict(type='sparsevit_mm.FasterViT', **TINY),
            in_channels=32,
            num_classes=2,
            label_smoothing=0.1,
        ),
        work_dir=str(tmp_path / 'work'),
        train_dataloader=loader('train', crop, dict(type='RandomFlip', prob=0.5)),
        train_cfg=dict(by_epoch=True, max_epochs=8, val_interval=8),
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=3e-3)),
        val_dataloader=loader('val', *resize),
        val_cfg=dict(),
        val_evaluator=dict(type='sparsevit_mm.TopKAccuracy', topk=(1, 5)),
        default_scope='mmengine',
        randomness=dict(seed=0),
        log_level='WARNING',
    )
    runner.train()
    metrics = runner.val()
    assert metrics == {'accuracy/top1': 100.0}
    assert runner.val_dataloader.dataset.metainfo['classes'] == ('dark', 'light')
