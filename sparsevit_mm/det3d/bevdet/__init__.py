"""BEVDet: 3D boxes from the cameras around a vehicle, the detector of SparseViT's Table 1.

"BEVDet: High-performance Multi-camera 3D Object Detection in Bird-Eye-View", 2021,
https://arxiv.org/abs/2112.11790. Images → backbone → neck → lift and splat into a bird's-eye-view
(BEV) map → BEV backbone and neck → CenterPoint head. Importing this package needs MMDetection3D,
so configs ask for it: `custom_imports = dict(imports=['sparsevit_mm.det3d.bevdet'])`.
"""

from sparsevit_mm.det3d.bevdet.bev_augmentation import BEVAugmentation
from sparsevit_mm.det3d.bevdet.bev_encoder import BEVResNet
from sparsevit_mm.det3d.bevdet.cameras import LoadCameraImages
from sparsevit_mm.det3d.bevdet.detector import BEVDet
from sparsevit_mm.det3d.bevdet.head import BEVDetHead
from sparsevit_mm.det3d.bevdet.image_augmentation import CameraAugmentation
from sparsevit_mm.det3d.bevdet.lift_splat import LiftSplat
from sparsevit_mm.det3d.bevdet.necks import FPNLSS, OneLevelFPN

__all__ = [
    'FPNLSS',
    'BEVAugmentation',
    'BEVDet',
    'BEVDetHead',
    'BEVResNet',
    'CameraAugmentation',
    'LiftSplat',
    'LoadCameraImages',
    'OneLevelFPN',
]
