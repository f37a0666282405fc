"""Everything for 3D detection, grouped by what it does.

- `bevdet`: the BEVDet detector and its transforms, from the images of several cameras to boxes.
  The one package whose import needs MMDetection3D.
- `top_down_neck`: the neck that lets SMOKE read the feature maps of any backbone.
- `datasets`: info files (KITTI's are made here), class-balanced sampling, checked image loading.
- `evaluation`: the scores of nuScenes and KITTI, without their tables, LiDAR sweeps or CUDA.
- `drawing`: boxes over camera images and from above.
"""
