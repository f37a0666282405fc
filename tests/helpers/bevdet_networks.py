"""BEVDet for tests: as released, and one that a CPU trains in seconds."""

from __future__ import annotations

from copy import deepcopy

from mmengine.registry import MODELS, DefaultScope

CLASSES = (
    'car', 'truck', 'construction_vehicle', 'bus', 'trailer', 'barrier', 'motorcycle', 'bicycle',
    'pedestrian', 'traffic_cone',
)  # fmt: skip
TASKS = [
    dict(num_class=1, class_names=['car']),
    dict(num_class=2, class_names=['truck', 'construction_vehicle']),
    dict(num_class=2, class_names=['bus', 'trailer']),
    dict(num_class=1, class_names=['barrier']),
    dict(num_class=2, class_names=['motorcycle', 'bicycle']),
    dict(num_class=2, class_names=['pedestrian', 'traffic_cone']),
]
TEST_CFG = dict(
    nms_type=['rotate', 'rotate', 'rotate', 'circle', 'rotate', 'rotate'],
    nms_thr=[0.2, 0.2, 0.2, 0.2, 0.2, 0.5],
    nms_rescale_factor=[[1.0], [0.7, 0.7], [0.4, 0.55], [1.1], [1.0, 1.0], [4.5, 9.0]],
    min_radius=[4, 12, 10, 1, 0.85, 0.175],
    pre_max_size=1000,
    post_max_size=83,
)
SWIN = dict(type='mmdet.SwinTransformer', out_indices=(2, 3))
SPARSEVIT = dict(type='sparsevit_mm.SparseViT', arch='tiny', out_indices=(2, 3))
RESNET = dict(type='mmdet.ResNet', depth=50, out_indices=(2, 3))


def released(backbone=SPARSEVIT, context=64):
    """BEVDet-Tiny or, with `RESNET`, BEVDet-R50; `context` is 80 in the authors' later code."""
    neck = dict(type='sparsevit_mm.FPNLSS', in_channels=(384, 768), out_channels=512)
    if backbone is RESNET:
        neck.update(type='sparsevit_mm.OneLevelFPN', in_channels=(1024, 2048))
    return network(backbone, neck, context=context)


def small(backbone=None, size=8, cells=32, **view_transform):
    """A network of few channels; `size` metres around the vehicle."""
    backbone = backbone or dict(
        type='sparsevit_mm.SparseViT',
        embed_dims=16,
        depths=(2, 2, 2, 2),
        num_heads=(1, 2, 4, 8),
        out_indices=(2, 3),
        drop_path_rate=0.0,
    )
    neck = dict(type='sparsevit_mm.FPNLSS', in_channels=(64, 128), out_channels=32)
    return network(
        backbone, neck, context=16, channels=32, head=32, size=size, cells=cells, **view_transform
    )


def network(
    backbone,
    neck,
    context=64,
    channels=256,
    head=64,
    size=51.2,
    cells=128,
    z=(-10, 10, 20),
    **view_transform,
):
    voxel = 2 * size / cells / 8
    coder = dict(
        type='CenterPointBBoxCoder',
        pc_range=[-size, -size],
        post_center_range=[-size - 10, -size - 10, -10, size + 10, size + 10, 10],
        max_num=500,
        score_threshold=0.1,
        out_size_factor=8,
        voxel_size=[voxel, voxel],
        code_size=9,
    )
    axis = (-size, size, 2 * size / cells)
    return dict(
        type='sparsevit_mm.BEVDet',
        data_preprocessor=dict(
            type='Det3DDataPreprocessor',
            mean=[123.675, 116.28, 103.53],
            std=[58.395, 57.12, 57.375],
            bgr_to_rgb=True,
        ),
        backbone=backbone,
        neck=neck,
        view_transform=dict(
            type='sparsevit_mm.LiftSplat',
            in_channels=neck['out_channels'],
            out_channels=context,
            grid=dict(x=axis, y=axis, z=z),
            **view_transform,
        ),
        bev_backbone=dict(type='sparsevit_mm.BEVResNet', in_channels=context),
        bev_neck=dict(
            type='sparsevit_mm.FPNLSS',
            in_channels=(2 * context, 8 * context),
            in_indices=(0, 2),
            out_channels=channels,
            upsample=2,
        ),
        bbox_head=dict(
            type='sparsevit_mm.BEVDetHead',
            in_channels=channels,
            tasks=TASKS,
            common_heads=dict(reg=(2, 2), height=(1, 2), dim=(3, 2), rot=(2, 2), vel=(2, 2)),
            share_conv_channel=head,
            bbox_coder=coder,
            separate_head=dict(
                type='SeparateHead', init_bias=-2.19, final_kernel=3, head_conv=head
            ),
            loss_cls=dict(type='mmdet.GaussianFocalLoss', reduction='mean'),
            loss_bbox=dict(type='mmdet.L1Loss', reduction='mean', loss_weight=0.25),
            norm_bbox=True,
        ),
        train_cfg=dict(
            point_cloud_range=[-size, -size, -10, size, size, 10],
            grid_size=[8 * cells, 8 * cells, 40],
            voxel_size=[voxel, voxel, 0.2],
            out_size_factor=8,
            dense_reg=1,
            gaussian_overlap=0.1,
            max_objs=500,
            min_radius=2,
            code_weights=[1.0] * 8 + [0.2, 0.2],
        ),
        test_cfg=deepcopy(TEST_CFG),
    )


def build(cfg):
    with DefaultScope.overwrite_default_scope('mmdet3d'):
        return MODELS.build(deepcopy(cfg))


def num_parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())
