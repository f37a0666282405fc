# A FasterViT of about the cost of the demo's SparseViT, carrier tokens included.
fastervit_mini = dict(
    _delete_=True,
    type='sparsevit_mm.FasterViT',
    dim=32,
    in_dim=16,
    depths=(1, 1, 3, 2),
    num_heads=(1, 2, 4, 8),
    drop_path_rate=0.0,
    out_norm_cfg=dict(type='LN'))
