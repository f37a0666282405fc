"""Converts whole BEVDet checkpoints from the layouts of its authors.

The authors' first code (mmdet3d 0.17) predicts sizes as width, length, height and the yaw as
-yaw - π/2. Both are converted in the weights of the last convolutions of the head. Constants, such
as those of the grid, are no parameters and are dropped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from sparsevit_mm.checkpoints.layouts import Family, Layout, recognize_layout, translate

_NAMES = (
    (r'^img_backbone\.', 'backbone.'),
    (r'^img_neck\.', 'neck.'),
    (r'^img_view_transformer\.depth_?net\.', 'view_transform.depth_net.'),
    (r'^img_bev_encoder_backbone\.', 'bev_backbone.'),
    (r'^img_bev_encoder_neck\.', 'bev_neck.'),
    (r'^pts_bbox_head\.', 'bbox_head.'),
)
_GRID_CONSTANTS = r'^img_view_transformer\.(?!depth_?net\.)'

_OURS = Layout(name='sparsevit_mm', marker=r'^view_transform\.depth_net\.')
_FIRST_CODE = Layout(
    name='BEVDet authors, first code',
    marker=r'^img_view_transformer\.depthnet\.',
    renames=_NAMES,
    dropped=_GRID_CONSTANTS,
)
_LATER_CODE = Layout(
    name='BEVDet authors, dev2.0',
    marker=r'^img_view_transformer\.depth_net\.',
    renames=_NAMES,
    dropped=_GRID_CONSTANTS,
)
BEVDET = Family(
    name='BEVDet',
    origins="its authors' or our own layout",
    layouts=(_OURS, _FIRST_CODE, _LATER_CODE),
    optional=r'(?!)',
)

_SIZES = re.compile(r'^bbox_head\.task_heads\.\d+\.dim\.1\.')
_HEADINGS = re.compile(r'^bbox_head\.task_heads\.\d+\.rot\.1\.')


def bevdet_in_our_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Translates a whole BEVDet from a layout of its authors; returns anything else unchanged.

    Args:
        weights: Named tensors of a checkpoint, see `read_weights`.

    Returns:
        Parameters under our names, for boxes in the convention of MMDetection3D 1.0 and later.
    """
    layout = recognize_layout(weights, BEVDET)
    if layout is None or layout is _OURS:
        return dict(weights)
    translated = translate(weights, layout)
    if layout is _FIRST_CODE:
        for name, rows in translated.items():
            if _SIZES.search(name):
                translated[name] = rows[[1, 0, 2]]
            elif _HEADINGS.search(name):  # sine and cosine
                translated[name] = -rows[[1, 0]]
    return translated
