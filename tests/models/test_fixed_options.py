"""Options of a built backbone: what can be set has an effect, and everything else is refused."""

from __future__ import annotations

import copy
import inspect
import pickle

import pytest
import torch

from sparsevit_mm import FasterViT, SparseViT, SwinHAT
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.models.ablations import AblatedSparseViT
from sparsevit_mm.pruning.importance import RandomImportance
from sparsevit_mm.pruning.schedule import PruningSchedule

SWIN = dict(embed_dims=8, depths=(2, 2), num_heads=(1, 2), out_indices=(1,), window_size=4)
FASTER = dict(dim=8, in_dim=8, depths=(1, 1, 1, 1), num_heads=(1, 1, 1, 1))
BACKBONES = {
    'SparseViT': lambda: SparseViT(**SWIN),
    'SwinHAT': lambda: SwinHAT(**SWIN, hat=(False, False)),
    'AblatedSparseViT': lambda: AblatedSparseViT(**SWIN),
    'FasterViT': lambda: FasterViT(**FASTER),
}


@pytest.mark.parametrize('name', ['SparseViT', 'SwinHAT', 'AblatedSparseViT'])
def test_pruning_ratios_are_the_schedule(name):
    backbone = BACKBONES[name]()
    kept = []
    backbone.window_observer = lambda selection: kept.append(selection.windows.num_windows)
    images = torch.rand(1, 3, 64, 64)
    backbone(images)
    dense, kept[:] = sum(kept), []
    backbone.pruning_ratios = 0.8
    assert backbone.pruning_ratios == backbone.pruning_schedule
    assert backbone.pruning_schedule == PruningSchedule.parse(0.8, (2, 2))
    backbone(images)
    assert sum(kept) < 0.5 * dense
    backbone.pruning_schedule = [[0.1], [0.2]]
    assert backbone.pruning_ratios.ratios == ((0.1, 0.1), (0.2, 0.2))
    with pytest.raises(ConfigError, match='pruning_ratios of .* hold 1.5'):
        backbone.pruning_ratios = 1.5


@pytest.mark.parametrize('name', BACKBONES)
def test_every_argument_that_is_set_later_is_read_later(name):
    backbone = BACKBONES[name]()
    arguments = {
        parameter
        for owner in type(backbone).__mro__
        if owner.__module__.startswith('sparsevit_mm') and '__init__' in vars(owner)
        for parameter in inspect.signature(owner.__init__).parameters
    } - {'self', 'swin', 'sparsevit'}
    for argument in sorted(arguments - set(backbone.changeable_options)):
        with pytest.raises(
            ConfigError, match=f'^{argument} of a built {name} is set to 7'
        ) as error:
            setattr(backbone, argument, 7)
        assert '\n' not in str(error.value)
    for option in backbone.changeable_options:
        setattr(backbone, option, getattr(backbone, option))


@pytest.mark.parametrize('name', BACKBONES)
def test_what_is_frozen_stays_so(name):
    backbone = BACKBONES[name]()
    backbone.frozen_stages = 1
    backbone.train()
    assert not any(p.requires_grad for p in backbone.patch_embed.parameters())
    with pytest.raises(ConfigError, match='is set to 0, but must be at least 1, because'):
        backbone.frozen_stages = 0
    backbone.frozen_stages = 2


@pytest.mark.parametrize('name', BACKBONES)
@pytest.mark.parametrize(
    'near', ['pruning_ratio', 'prunning_ratios', 'ratios', 'schedule', 'pruning_schedules']
)
def test_names_that_are_nearly_the_schedule(name, near):
    with pytest.raises(ConfigError, match='the nearest is pruning_'):
        setattr(BACKBONES[name](), near, 0.8)


def test_pruning_ratios_of_a_fastervit():
    backbone = BACKBONES['FasterViT']()
    kept = []
    backbone.eval().window_observer = lambda selection: kept.append(selection.windows.num_windows)
    backbone.pruning_ratios = 0.5
    backbone(torch.rand(1, 3, 448, 448))
    assert kept == [8, 2]
    backbone.pruning_schedule = [[0], [0], [0.1], [0.2]]
    assert backbone.pruning_ratios.ratios == ((0.0,), (0.0,), (0.1,), (0.2,))


def test_near_misses_of_other_options():
    with pytest.raises(
        ConfigError, match='frozen_stage of a SparseViT .* nearest is frozen_stages'
    ):
        BACKBONES['SparseViT']().frozen_stage = 1


def test_the_ranking_follows_importance():
    backbone = BACKBONES['AblatedSparseViT']()
    backbone.importance = 'random'
    assert isinstance(backbone.importance, RandomImportance)
    with pytest.raises(ConfigError, match="importance is 'l1'"):
        backbone.importance = 'l1'


@pytest.mark.parametrize('name', BACKBONES)
def test_what_frameworks_do_with_a_backbone(name):
    backbone = BACKBONES[name]()
    for other in (copy.deepcopy(backbone), pickle.loads(pickle.dumps(backbone))):
        other.load_state_dict(backbone.state_dict())
        with pytest.raises(ConfigError):
            other.drop_path_rate = 0.3
    backbone.init_cfg = None
    backbone.init_weights()
    backbone.train().requires_grad_(False)
    backbone.training = False
    backbone.added = torch.nn.Linear(1, 1)  # modules and unrelated names, as on any module
    backbone.note = 'mine'
    backbone.register_buffer('count', torch.zeros(1))
    backbone.forward = backbone.forward


def test_a_subclass_sets_what_it_likes_in_its_constructor():
    class Own(SparseViT):
        def __init__(self, drop_path_rate=0.5, **others):
            super().__init__(**others)
            self.drop_path_rate = drop_path_rate

    assert Own(**SWIN).drop_path_rate == 0.5
