# Ratios of table 1's SparseViT rows, in one place. The paper prints their MACs but not the ratios, so
# these are ours: picked by hand so that the backbone counts the printed MACs for six cameras (113.9,
# 78.4 and 58.6 G), early stages pruned more. They have not been searched or trained: replace them with
# what configs/search/nuscenes finds for your weights.
ratios_114g_288x792 = [[0.3], [0.3], [0.3, 0.4, 0.4], [0.1]]
ratios_78g_256x704 = [[0.6], [0.2], [0.4, 0.5, 0.6], [0.3]]
ratios_58g_256x704 = [[0.6], [0.6], [0.6, 0.7, 0.8], [0.3]]
