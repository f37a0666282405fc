"""A runner on a toy task, small enough for a test: mmengine's loops with a SparseViT inside."""

from __future__ import annotations

import itertools

import torch
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch.utils.data import Dataset

from sparsevit_mm import SparseViT

DEPTHS = (2, 2)

# mmengine keeps one visualizer an experiment name, so every run needs its own.
_RUNS = itertools.count()


class ToyModel(BaseModel):
    """Regresses the brightness of an image."""

    def __init__(self, backbone=None):
        super().__init__()
        self.backbone = backbone or SparseViT(
            embed_dims=8, depths=DEPTHS, num_heads=(1, 2), out_indices=(1,)
        )
        self.head = torch.nn.Linear(16, 1)
        self.schedules = []

    def forward(self, inputs, target, mode='tensor'):
        self.schedules.append((mode, getattr(self.backbone, 'pruning_schedule', None)))
        prediction = self.head(self.backbone(inputs)[-1].mean((2, 3)))[:, 0]
        return dict(loss=(prediction - target).square().mean()) if mode == 'loss' else [prediction]


class ToyData(Dataset):
    """Eight noise images."""

    def __len__(self):
        return 8

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        image = torch.randn(3, 60, 60, generator=generator)
        return dict(inputs=image, target=image.mean())


class ToyMetric(BaseMetric):
    """Counts what was predicted."""

    default_prefix = 'toy'

    def process(self, data_batch, data_samples):
        self.results.append(1)

    def compute_metrics(self, results):
        return dict(batches=len(results))


def toy_runner(work_dir, hooks=(), model=None, epochs=2, **kwargs):
    torch.manual_seed(0)
    loader = dict(
        batch_size=2,
        dataset=ToyData(),
        sampler=dict(type='DefaultSampler', shuffle=True),
        collate_fn=dict(type='default_collate'),
    )
    settings = dict(
        model=model or ToyModel(),
        work_dir=str(work_dir),
        train_dataloader=loader,
        val_dataloader=loader,
        test_dataloader=loader,
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        val_cfg=dict(),
        test_cfg=dict(),
        val_evaluator=Evaluator(ToyMetric()),
        test_evaluator=Evaluator(ToyMetric()),
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-3)),
        custom_hooks=list(hooks),
        default_hooks=dict(logger=dict(type='LoggerHook', interval=1)),
        default_scope='mmengine',
        experiment_name=f'toy{next(_RUNS)}',
        randomness=dict(seed=0),
        log_level='WARNING',
    )
    return Runner(**{**settings, **kwargs})
