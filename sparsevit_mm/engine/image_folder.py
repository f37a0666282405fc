"""Images sorted into one folder a class, as ImageNet is usually unpacked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mmcv.transforms  # noqa: F401, pipelines name its steps
from mmengine.dataset import BaseDataset

from sparsevit_mm.errors import ConfigError
from sparsevit_mm.registry import DATASETS

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
        ConfigError: If there are no images.
    """

    def __init__(self, data_root: str, data_prefix: Any = None, **kwargs: Any) -> None:
        prefix = {'img': ''} if data_prefix is None else dict(data_prefix)
        super().__init__(data_root=data_root, data_prefix=prefix, **kwargs)

    def load_data_list(self) -> list[dict[str, Any]]:
        """Finds the images, `img_path` and `label` of each."""
        root = Path(self.data_prefix['img'])
        found = sorted(path.name for path in root.iterdir() if path.is_dir())
        classes = self.metainfo.get('classes') or found
        self._metainfo['classes'] = tuple(classes)
        images = [
            {'img_path': str(path), 'label': label}
            for label, name in enumerate(classes)
            for path in sorted((root / name).glob('*'))
            if path.suffix.lower() in IMAGE_SUFFIXES
        ]
        if not images:
            raise ConfigError(f'{root} holds no images, but it must hold a folder for each class.')
        return images
