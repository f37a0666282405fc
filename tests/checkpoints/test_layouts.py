"""Every published layout, made from one Swin's weights, gives that Swin's outputs."""

from __future__ import annotations

import re

import pytest
import torch

from sparsevit_mm import SparseViT
from sparsevit_mm.checkpoints.loading import load_pretrained_swin, read_weights
from sparsevit_mm.errors import CheckpointError

SIZES = dict(embed_dims=8, depths=(2, 1, 2, 1), num_heads=(1, 2, 4, 8), drop_path_rate=0.0)


def make(**kwargs):
    return SparseViT(**{**SIZES, **kwargs}).eval()


@pytest.fixture
def swin():
    torch.manual_seed(0)
    net = make()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return net


def position_first(weight):
    """Our channel-first merging input (c, row, col) as Microsoft's concatenation."""
    c = weight.unflatten(-1, (-1, 2, 2))
    parts = [c[..., row, col] for row, col in ((0, 0), (1, 0), (0, 1), (1, 1))]
    return torch.cat(parts, dim=-1)


def microsoft(net):
    weights = {}
    for name, weight in net.state_dict().items():
        if re.match(r'norm[0-2]\.', name):
            continue
        if '.downsample.' in name:
            weight = position_first(weight)
        name = name.replace('stages.', 'layers.').replace('.w_msa.', '.')
        name = name.replace('.ffn.layers.0.0.', '.mlp.fc1.').replace('.ffn.layers.1.', '.mlp.fc2.')
        name = name.replace('patch_embed.projection', 'patch_embed.proj').replace('norm3', 'norm')
        weights[name] = weight
    weights['layers.0.blocks.0.attn.relative_position_index'] = torch.zeros(49, 49)
    weights['layers.0.blocks.1.attn_mask'] = torch.zeros(4, 49, 49)
    weights['head.weight'], weights['head.bias'] = torch.zeros(10, 64), torch.zeros(10)
    return weights


def timm(net, joint='.'):
    weights = {}
    for name, weight in microsoft(net).items():
        name = re.sub(
            r'layers\.(\d)\.downsample', lambda m: f'layers.{int(m[1]) + 1}.downsample', name
        )
        weights[re.sub(r'^layers\.', f'layers{joint}', name)] = weight
    return weights


def torchvision(net):
    weights = {}
    for name, weight in microsoft(net).items():
        name = re.sub(r'^layers\.(\d)\.blocks', lambda m: f'features.{2 * int(m[1]) + 1}', name)
        name = re.sub(r'^layers\.(\d)\.downsample', lambda m: f'features.{2 * int(m[1]) + 2}', name)
        name = name.replace('patch_embed.proj', 'features.0.0')
        name = name.replace('patch_embed.norm', 'features.0.2')
        weights[name.replace('.mlp.fc1.', '.mlp.0.').replace('.mlp.fc2.', '.mlp.3.')] = weight
    return weights


def hugging_face(net):
    weights = {'classifier.weight': torch.zeros(10, 64), 'swin.layernorm.weight': torch.zeros(64)}
    for name, weight in microsoft(net).items():
        if re.match(r'norm\.|head\.', name):
            continue
        for ours, theirs in (
            ('patch_embed.proj', 'embeddings.patch_embeddings.projection'),
            ('patch_embed.norm', 'embeddings.norm'),
            ('layers.', 'encoder.layers.'),
            ('.norm1.', '.layernorm_before.'),
            ('.norm2.', '.layernorm_after.'),
            ('.attn.proj.', '.attention.output.dense.'),
            ('.attn.', '.attention.self.'),
            ('.mlp.fc1.', '.intermediate.dense.'),
            ('.mlp.fc2.', '.output.dense.'),
        ):
            name = name.replace(ours, theirs)
        if '.qkv.' in name:
            for part, own in zip(('query', 'key', 'value'), weight.chunk(3)):
                weights[f'swin.{name.replace("qkv", part)}'] = own
        else:
            weights[f'swin.{name}'] = weight
    weights['swin.embeddings.mask_token'] = torch.zeros(1, 1, 8)
    return weights


def within(weights, prefix, **others):
    return {**{f'{prefix}{name}': weight for name, weight in weights.items()}, **others}


TOKEN = torch.zeros(1, 1, 8)
WITHOUT_OUTPUT_NORMS = (
    'microsoft', 'timm', 'timm features', 'torchvision', 'Hugging Face', 'SimMIM', 'MoBY',
)  # fmt: skip
LAYOUTS = {
    'bare': lambda net: net.state_dict(),
    'detector': lambda net: {
        'state_dict': {
            **{f'backbone.{name}': weight for name, weight in net.state_dict().items()},
            'rpn_head.weight': torch.zeros(1),
        },
        'meta': {'epoch': 3},
    },
    'distributed': lambda net: {
        'state_dict': {f'module.backbone.{n}': weight for n, weight in net.state_dict().items()}
    },
    'microsoft': lambda net: {'model': microsoft(net)},
    'timm': timm,
    'timm features': lambda net: timm(net, joint='_'),
    'torchvision': torchvision,
    'Hugging Face': hugging_face,
    'SimMIM': lambda net: {
        'model': within(
            microsoft(net), 'encoder.', **{'encoder.mask_token': TOKEN, 'decoder.0.weight': TOKEN}
        )
    },
    'MoBY': lambda net: {
        'model': {
            **within(microsoft(net), 'encoder.'),
            **within(microsoft(make()), 'encoder_k.', queue=TOKEN),
        }
    },
    'MMPretrain': lambda net: {
        'state_dict': within(
            net.state_dict(), 'backbone.', **{'backbone.mask_token': TOKEN, 'head.fc.bias': TOKEN}
        )
    },
    'Lightning': lambda net: {'state_dict': within(net.state_dict(), 'model.backbone.')},
    'SoftTeacher': lambda net: {
        'state_dict': {
            **within(make().state_dict(), 'student.backbone.'),
            **within(net.state_dict(), 'teacher.backbone.'),
        }
    },
}


@pytest.mark.parametrize('layout', LAYOUTS)
def test_outputs_survive_every_layout(swin, layout, tmp_path):
    path = tmp_path / 'weights.pth'
    torch.save(LAYOUTS[layout](swin), path)
    net = make(init_cfg=dict(type='Pretrained', checkpoint=str(path)))
    net.init_weights()
    if layout in WITHOUT_OUTPUT_NORMS:
        # Classification files have no output norms.
        for stage in range(4):
            getattr(net, f'norm{stage}').load_state_dict(getattr(swin, f'norm{stage}').state_dict())
    images = torch.randn(1, 3, 75, 120)
    with torch.no_grad():
        for mine, expected in zip(net(images), swin(images)):
            torch.testing.assert_close(mine, expected)


def test_report_says_what_became_of_every_tensor(swin, tmp_path):
    path = tmp_path / 'weights.pth'
    torch.save({'model': microsoft(swin)}, path)
    report = load_pretrained_swin(make(), path)
    assert report.layout == 'Microsoft'
    assert len(report.loaded) == len(swin.state_dict()) - 8
    assert report.missing == [f'norm{i}.{part}' for i in range(4) for part in ('weight', 'bias')]
    assert report.left_over == []
    assert '8 not in the file' in str(report)


def test_bias_tables_are_resized_to_another_window(swin, tmp_path):
    path = tmp_path / 'weights.pth'
    torch.save(swin.state_dict(), path)
    net = make(window_size=12)
    report = load_pretrained_swin(net, path)
    assert len(report.resized) == sum(SIZES['depths'])
    name = 'stages.0.blocks.0.attn.w_msa.relative_position_bias_table'
    table, resized = swin.state_dict()[name], net.state_dict()[name]
    assert resized.shape == (23**2, 1)
    assert resized.mean().item() == pytest.approx(table.mean().item(), abs=0.02)
    assert resized.view(23, 23)[11, 11].item() == pytest.approx(
        table.view(13, 13)[6, 6].item(), abs=0.05
    )


def test_position_embedding_is_resized(swin, tmp_path):
    big = make(use_abs_pos_embed=True, pretrain_img_size=64)
    path = tmp_path / 'weights.pth'
    torch.save(big.state_dict(), path)
    small = make(use_abs_pos_embed=True, pretrain_img_size=32)
    assert load_pretrained_swin(small, path).resized == ['absolute_pos_embed']


@pytest.mark.parametrize(
    'changes',
    [
        dict(embed_dims=16),
        dict(depths=(2, 1, 1, 1)),
        dict(depths=(2, 1, 3, 1)),
        dict(num_heads=(2, 2, 4, 8)),
        dict(mlp_ratio=2),
        dict(use_abs_pos_embed=True),
        dict(in_channels=4),
    ],
)
def test_other_architectures_are_refused_and_change_nothing(swin, changes, tmp_path):
    path = tmp_path / 'weights.pth'
    torch.save(swin.state_dict(), path)
    net = make(**changes)
    before = {name: weight.clone() for name, weight in net.state_dict().items()}
    with pytest.raises(CheckpointError, match='another architecture') as error:
        load_pretrained_swin(net, path)
    assert '\n' not in str(error.value)
    assert all(torch.equal(weight, before[name]) for name, weight in net.state_dict().items())


@pytest.mark.parametrize(
    'content, words',
    [
        ({'layer1.0.conv1.weight': torch.zeros(1)}, 'holds no Swin backbone.*layer1.0.conv1'),
        ([torch.zeros(1)], 'holds a list'),
        ({}, 'no tensors'),
    ],
)
def test_files_that_match_nothing(content, words, tmp_path):
    path = tmp_path / 'weights.pth'
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=words):
        load_pretrained_swin(make(), path)


class Exploit:
    def __reduce__(self):
        return (print, ('this must never run',))


def test_pickles_are_not_executed(tmp_path, capsys):
    path = tmp_path / 'weights.pth'
    torch.save({'state_dict': Exploit()}, path)
    with pytest.raises(CheckpointError, match='holds more than tensors'):
        read_weights(str(path))
    assert 'never run' not in capsys.readouterr().out


def test_broken_and_missing_files(tmp_path):
    path = tmp_path / 'weights.pth'
    with pytest.raises(CheckpointError, match='does not exist'):
        read_weights(str(path))
    path.write_bytes(b'not a checkpoint')
    with pytest.raises(CheckpointError, match='is no checkpoint') as error:
        read_weights(str(path))
    assert 'weights_only' not in str(error.value)


def test_stages_behind_the_last_output_are_not_built_and_left_in_the_file(swin, tmp_path):
    path = tmp_path / 'weights.pth'
    torch.save(swin.state_dict(), path)
    net = make(out_indices=(0, 1))
    assert not [name for name in net.state_dict() if re.match(r'stages\.[23]|norm[23]', name)]
    report = load_pretrained_swin(net, path)
    assert 'stages.1.downsample.reduction.weight' in report.left_over
    images = torch.randn(1, 3, 75, 120)
    with torch.no_grad():
        for mine, expected in zip(net(images), swin(images)):
            torch.testing.assert_close(mine, expected)
    maps = net.train()(images)
    sum(each.sum() for each in maps).backward()
    assert all(parameter.grad is not None for parameter in net.parameters())


def test_loading_into_another_window_resizes_in_whole_models_too(swin):
    net = torch.nn.ModuleDict({'backbone': make(window_size=12)})
    expected = make(window_size=12)
    expected.load_state_dict(swin.state_dict())
    net.load_state_dict(within(swin.state_dict(), 'backbone.'))
    name = 'stages.0.blocks.0.attn.w_msa.relative_position_bias_table'
    table = net['backbone'].state_dict()[name]
    assert table.shape == (23**2, 1)
    torch.testing.assert_close(table, expected.state_dict()[name])
    with pytest.raises(RuntimeError, match='size mismatch'):
        make(embed_dims=16).load_state_dict(swin.state_dict())
