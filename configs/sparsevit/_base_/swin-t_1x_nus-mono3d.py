# What FCOS3D and PGD with Swin share, as names that their files put where they belong: data, weights,
# the backbone and its optimizer. Outputs are stages 1 to 3, which are all that the necks read.
data_source = (
    'nuScenes (https://www.nuscenes.org/nuscenes#download: the trainval split, with the info files that '
    "MMDetection3D's tools/create_data.py writes)")
pretrained = 'https://github.com/SwinTransformer/storage/releases/download/v1.0.0/swin_tiny_patch4_window7_224.pth'  # noqa: E501

swin_pixels = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True)
swin_backbone = dict(
    type='mmdet.SwinTransformer',
    out_indices=(1, 2, 3),
    drop_path_rate=0.2,
    convert_weights=True,
    init_cfg=dict(type='Pretrained', checkpoint=pretrained))
swin_optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(
        custom_keys=dict(
            absolute_pos_embed=dict(decay_mult=0.0),
            relative_position_bias_table=dict(decay_mult=0.0),
            norm=dict(decay_mult=0.0))),
    clip_grad=dict(max_norm=35, norm_type=2))
# MMDetection3D saves the last epoch alone; a run that stops half-way must be able to go on.
every_epoch = dict(interval=1, max_keep_ckpts=2)
