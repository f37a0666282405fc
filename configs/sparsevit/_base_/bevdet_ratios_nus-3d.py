# Ratios of table 1's SparseViT rows, in one place. The paper prints their MACs but not the ratios, so
# these are ours: benchmarks/nuscenes_schedules.py searched them for the printed MACs of six cameras
# (113.9, 78.4 and 58.6 G; they count 113.9, 78.4 and 58.6) by the loss of the small BEVDet of the demo.
# They are where to start: replace them with what configs/search/nuscenes finds for your weights.
ratios_114g_288x792 = [[0.8], [0.2], [0.0, 0.0, 0.5], [0.3]]
ratios_78g_256x704 = [[0.6], [0.2], [0.2, 0.5, 0.6], [0.5]]
ratios_58g_256x704 = [[0.3], [0.2], [0.4, 0.7, 0.8], [0.8]]

sparsevit_backbone = dict(
    type='sparsevit_mm.SparseViT',
    arch='tiny',
    out_indices=(2, 3),
    drop_path_rate=0.0,
    with_cp=True)
