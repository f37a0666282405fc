"""Image classification for mmengine: folders of images by class, pipeline steps, accuracy."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mmcv
import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness
from mmengine.dataset import BaseDataset
from mmengine.evaluator import BaseMetric

from sparsevit_mm.errors import ConfigError
from sparsevit_mm.registry import DATASETS, METRICS, TRANSFORMS

IMAGE_SUFFIXES = ('.bmp', '.jpeg', '.jpg', '.png', '.webp')


@DATASETS.register_module()
class ImageFolder(BaseDataset):
    """A folder with one folder of images for each class.

    Args:
        data_root: The folder that `data_prefix` is in.
        data_prefix: `dict(img='train')`; by default the images are in `data_root` itself.
        **kwargs: Further arguments of mmengine's `BaseDataset`, such as `pipeline` and `indices`;
            `metainfo=dict(classes=...)` fixes the order of classes, which is else alphabetical.

    Raises:
        ConfigError: If there are no images, or a class has no folder and a folder no class.
    """

    def __init__(self, data_root: str, data_prefix: Any = None, **kwargs: Any) -> None:
        prefix = {'img': ''} if data_prefix is None else dict(data_prefix)
        super().__init__(data_root=data_root, data_prefix=prefix, **kwargs)

    @staticmethod
    def find_classes(root: Path) -> list[str]:
        """The folders that are classes, by name: those that hold images and are not hidden.

        Args:
            root: Where they are.
        """
        folders = (path for path in root.iterdir() if path.is_dir())
        return sorted(
            p.name for p in folders if not p.name.startswith(('.', '__')) and _images_in(p)
        )

    def load_data_list(self) -> list[dict[str, Any]]:
        """Finds the images, `img_path` and `label` of each."""
        root = Path(self.data_prefix['img'])
        found = self.find_classes(root)
        classes = self.metainfo.get('classes') or found
        if isinstance(classes, str):
            raise ConfigError(
                f'metainfo.classes is {classes!r}, but must be a list of names or a file with one '
                f'a line; for a single class write ({classes!r},) with the comma.'
            )
        missing = [name for name in classes if name not in found]
        others = [name for name in found if name not in classes]
        if missing and others:
            raise ConfigError(
                f'metainfo.classes holds {missing[0]!r}, but must hold names of the folders in '
                f'{root}, among which are {", ".join(others[:10])}.'
            )
        self._metainfo['classes'] = tuple(classes)
        images = [
            {'img_path': str(path), 'label': label}
            for label, name in enumerate(classes)
            for path in _images_in(root / name)
        ]
        if not images:
            raise ConfigError(f'{root} holds no images, but must hold a folder for each class.')
        return images


def _images_in(folder: Path) -> list[Path]:
    return sorted(p for p in folder.glob('*') if p.suffix.lower() in IMAGE_SUFFIXES)


@TRANSFORMS.register_module()
class RandomResizedCrop(BaseTransform):
    """Crops a random part of an image and resizes it.

    It draws from Python's `random`, which mmengine seeds in every worker.

    Args:
        size: Side of the result in pixels.
        scale: Smallest and largest share of the image's area.
        ratio: Smallest and largest width over height.
        interpolation: How pixels are interpolated, one of mmcv's names.
    """

    def __init__(
        self,
        size: int,
        scale: tuple[float, float] = (0.08, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        interpolation: str = 'bicubic',
    ) -> None:
        self.size = size
        self.scale = scale
        self.ratio = ratio
        self.interpolation = interpolation

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Crops `img` and sets `img_shape`."""
        image = results['img']
        top, left, height, width = self._choose(*image.shape[:2])
        part = image[top : top + height, left : left + width]
        results['img'] = mmcv.imresize(
            part, (self.size, self.size), interpolation=self.interpolation
        )
        results['img_shape'] = results['img'].shape[:2]
        return results

    @cache_randomness
    def _choose(self, height: int, width: int) -> tuple[int, int, int, int]:
        """A box (top, left, height, width); in the middle where none fits in ten tries."""
        for _ in range(10):
            area = height * width * random.uniform(*self.scale)
            aspect = math.exp(random.uniform(*map(math.log, self.ratio)))
            box_width = round(math.sqrt(area * aspect))
            box_height = round(math.sqrt(area / aspect))
            if 0 < box_width <= width and 0 < box_height <= height:
                top = random.randint(0, height - box_height)
                left = random.randint(0, width - box_width)
                return top, left, box_height, box_width
        box_width = min(width, max(1, round(height * self.ratio[1])))
        box_height = min(height, max(1, round(width / self.ratio[0])))
        return (height - box_height) // 2, (width - box_width) // 2, box_height, box_width


@TRANSFORMS.register_module()
class PackImage(BaseTransform):
    """Makes what `ImageClassifier` takes: `inputs` (3, H, W) uint8; `data_samples`, the label."""

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Packs `img` and `label`."""
        image = np.ascontiguousarray(results['img'].transpose(2, 0, 1))
        packed = {'inputs': torch.from_numpy(image)}
        return {**packed, 'data_samples': results['label']} if 'label' in results else packed


@METRICS.register_module()
class TopKAccuracy(BaseMetric):
    """Share of images whose class is among the k best scored, in percent.

    Args:
        topk: The wanted k; those beyond the number of classes are left out.
        collect_device: Where results of several processes are gathered, 'cpu' or 'gpu'.
        prefix: Put before the names of the metrics.
    """

    default_prefix = 'accuracy'

    def __init__(
        self,
        topk: Sequence[int] = (1, 5),
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        if not topk or min(topk) < 1:
            raise ConfigError(f'topk is {tuple(topk)}, but must hold positive numbers.')
        self.topk = tuple(topk)

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Notes the rank of each image's class: how many classes score higher."""
        for sample in data_samples:
            scores, label = sample['scores'], int(sample['label'])
            better = int((scores > scores[label]).sum())
            # Of equal scores, the class with the lower number counts as better.
            equal = int((scores[:label] == scores[label]).sum())
            self.results.append((better + equal, len(scores)))

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        """Gives `top1`, `top5` and so on."""
        ranks = torch.tensor([rank for rank, _ in results])
        classes = results[0][1]
        return {
            f'top{k}': 100 * (ranks < k).float().mean().item() for k in self.topk if k <= classes
        }
