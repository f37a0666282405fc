"""Draws a config's training images with their annotations, as its pipeline puts them out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.registry import DATASETS, DefaultScope
from mmengine.runner import set_random_seed
from mmengine.structures import BaseDataElement
from numpy.typing import NDArray
from torch import Tensor

from sparsevit_mm.apis.configs import load_config, register_framework
from sparsevit_mm.checks.classes import check_classes
from sparsevit_mm.checks.coco import check_coco_annotations
from sparsevit_mm.checks.configs import check_datasets, check_writable_folder
from sparsevit_mm.checks.images import use_checked_loading
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.visualization.framework_visualizer import build_framework_visualizer
from sparsevit_mm.visualization.images import shown_rgb


def browse_dataset(
    config: str,
    out_dir: str | Path,
    num: int = 20,
    seed: int = 0,
    cfg_options: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Draws the first training images as the network gets them: resized, cropped, mirrored.

    Boxes and masks of detectors, label maps of segmentors, projected 3D boxes of monocular 3D
    detectors.

    Args:
        config: Path of the config.
        out_dir: Gets `<number>_<name of the image>.png`.
        num: How many images, at most.
        seed: Seed of the random augmentations.
        cfg_options: Fields of the config to replace.

    Returns:
        What was written.

    Raises:
        SparseVitError: If an argument, the config or its data are wrong; nothing was written then.
    """
    if num < 1:
        raise ConfigError(f'num is {num}, but must be positive.')
    cfg = load_config(config, cfg_options)
    if cfg.get('visualizer') is None:
        raise ConfigError('visualizer is not in the config, but it is what draws the annotations.')
    check_writable_folder(out_dir, 'out_dir')
    check_datasets(cfg, ['train_dataloader'], [])
    register_framework(cfg)
    check_coco_annotations(cfg, ['train_dataloader'])
    check_classes(cfg, ['train_dataloader'])
    use_checked_loading(cfg)
    set_random_seed(seed)
    written = []
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope')):
        dataset = DATASETS.build(cfg.train_dataloader.dataset)
        visualizer = build_framework_visualizer(cfg, dataset.metainfo)
        for number in range(min(num, len(dataset))):
            item = dataset[number]
            sample = item['data_samples']
            name = f'{number:05d}_{Path(sample.img_path).stem}.png'
            target = Path(out_dir) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            _draw(visualizer, _rgb(item['inputs']), sample, target)
            written.append(target)
    return written


def _rgb(inputs: Any) -> NDArray[np.uint8]:
    """The (H, W, 3) RGB image of a pipeline's (C, H, W) output."""
    image: Tensor = inputs['img'] if isinstance(inputs, Mapping) else inputs
    return shown_rgb(image.numpy().transpose(1, 2, 0))


def _draw(visualizer: Any, image: NDArray[np.uint8], sample: BaseDataElement, target: Path) -> None:
    data: Any = image
    if 'gt_instances_3d' in sample:
        data = dict(img=image)
        # With the boxes in the image beside them they would be drawn into a second file.
        del sample.gt_instances
    elif 'gt_instances' in sample:
        boxes = sample.gt_instances.bboxes
        sample.gt_instances.bboxes = getattr(boxes, 'tensor', boxes)
    visualizer.add_datasample(
        target.stem, data, sample, draw_gt=True, draw_pred=False, out_file=str(target)
    )
