"""Two processes train as one: no parameter left out, the gradients those of the whole batch."""

from __future__ import annotations

import faulthandler
import time
from datetime import timedelta

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.nn.parallel import DistributedDataParallel

from sparsevit_mm import FasterViT, SparseViT, SwinHAT
from sparsevit_mm.models.sparse_heads import make_heads_sparse
from tests.helpers.head_networks import segmentor, two_stage

LONGEST = 240  # seconds; a few suffice


class WithSparseHead(torch.nn.Module):
    """The backbone of a model with the neck and head that skip windows."""

    def __init__(self, model, head, ratios):
        super().__init__()
        make_heads_sparse(model, ratios)
        self.backbone, self.neck, self.head = model.backbone, model.neck, getattr(model, head)

    def forward(self, images):
        maps = self.backbone(images)
        outputs = self.head(maps if self.neck is None else self.neck(maps))
        if isinstance(outputs, torch.Tensor):
            return [outputs]
        return [level for levels in outputs for level in levels]


def sparse_upernet():
    groups = dict(type='GN', num_groups=4)  # batch norms would see half of the batch
    model = segmentor(norm_cfg=groups, dropout_ratio=0.0)
    model.neck = None
    return WithSparseHead(model, 'decode_head', (0.5, 0.3, 0, 0))


def sparse_rpn():
    return WithSparseHead(two_stage(), 'rpn_head', (0.5, 0.5, 0, 0))


NETWORKS = {
    'UPerNet with a sparse head': (sparse_upernet, {}),
    'FPN and RPN that are sparse': (sparse_rpn, {}),
    'FasterViT': (
        FasterViT,
        dict(
            dim=4,
            in_dim=4,
            depths=(1, 1, 1, 1),
            num_heads=(1, 1, 2, 4),
            hat=(False, False, True, True),
            layer_scale=0.5,
            do_propagation=True,
            drop_path_rate=0.0,
            norm_eval=True,
            pruning_ratios=0.5,
        ),
    ),
    'SparseViT': (
        SparseViT,
        dict(embed_dims=8, depths=(1, 2), num_heads=(1, 2), out_indices=(0, 1), drop_path_rate=0.0)
        | dict(pruning_ratios=0.5),
    ),
    'SwinHAT': (
        SwinHAT,
        dict(embed_dims=8, depths=(1, 2), num_heads=(1, 2), out_indices=(0, 1), drop_path_rate=0.0)
        | dict(hat=(False, True)),
    ),
}


def gradients(net, images):
    sum(output.square().mean() for output in net(images)).backward()
    return [parameter.grad for parameter in net.parameters()]


def build(name):
    torch.manual_seed(0)
    network, settings = NETWORKS[name]
    return network(**settings).train()


def train_in_a_group(rank, folder):
    """Train as one of two processes; a file of its own in ``folder`` says that all was equal."""
    # Whatever stops this process, it says where and ends: a test that waits for ever tells nothing.
    faulthandler.dump_traceback_later(LONGEST, exit=True)
    torch.set_num_threads(1)
    dist.init_process_group(
        'gloo',
        init_method=f'file://{folder}/store',
        rank=rank,
        world_size=2,
        timeout=timedelta(seconds=LONGEST / 2),
    )
    torch.manual_seed(1)
    images = torch.randn(2, 3, 64, 96)
    for name in NETWORKS:
        expected = gradients(build(name), images)
        wrapped = DistributedDataParallel(build(name))
        for _ in range(2):  # the second refuses parameters that took no part in the first
            wrapped.zero_grad()
            found = gradients(wrapped, images[rank : rank + 1])
        for mine, whole in zip(found, expected):
            torch.testing.assert_close(mine, whole, rtol=1e-3, atol=1e-6)
    (folder / f'{rank}.equal').touch()
    dist.barrier()
    dist.destroy_process_group()


def test_two_processes_give_the_gradients_of_one(tmp_path):
    processes = mp.spawn(train_in_a_group, args=(tmp_path,), nprocs=2, join=False, daemon=True)
    deadline = time.monotonic() + LONGEST + 10
    while not processes.join(timeout=1):  # raises what a process raised
        if time.monotonic() > deadline:
            break
    assert sorted(path.name for path in tmp_path.glob('*.equal')) == ['0.equal', '1.equal']
