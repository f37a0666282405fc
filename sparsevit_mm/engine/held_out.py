"""The images a search looks at, as data loader and evaluator of any framework.

By default they are a part of the training set, chosen by name (`sparsevit_mm.search.split`), that
`ExcludeHeldOut` keeps out of training. They are seen as the config's validation set is: through its
pipeline, by its evaluator.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.dist import barrier, is_main_process
from mmengine.registry import DefaultScope

from sparsevit_mm.checks.configs import type_name
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.files import read_json, replace_text
from sparsevit_mm.registry import DATASETS
from sparsevit_mm.search.split import SplitSettings, choose_images, is_held_out

_WRAPPER = 'ExcludeHeldOut'
_FINDS_SAMPLES = 'NuScenesDetectionMetric'
"""The metric that finds the annotations of a sample by its images."""


@DATASETS.register_module()
class ExcludeHeldOut:
    """A training set without the images that a search will look at.

    Args:
        dataset: The training set, or its config.
        share: Share of the images that is held out, about.
        seed: Seed of the split.

    Raises:
        ConfigError: If no image would be left, or none is held out.
    """

    def __init__(self, dataset: Any, share: float = 0.1, seed: int = 0) -> None:
        self.dataset = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset
        self.share = SplitSettings(share=share, seed=seed).share
        self.seed = seed
        self.full_init()

    @property
    def metainfo(self) -> dict[str, Any]:
        """Class names and colors."""
        return self.dataset.metainfo

    def full_init(self) -> None:
        """Loads the annotations and splits them."""
        self.dataset.full_init()
        names = image_names(self.dataset)
        self._kept = [
            number
            for number, name in enumerate(names)
            if not is_held_out(name, self.share, self.seed)
        ]
        if len(self._kept) in (0, len(names)):
            raise ConfigError(
                f'share is {self.share}, but it leaves {len(self._kept)} of {len(names)} images '
                'for training: choose another.'
            )

    def get_data_info(self, index: int) -> dict[str, Any]:
        """What is known of an image, see mmengine's `BaseDataset`."""
        return self.dataset.get_data_info(self._kept[index])

    def __getitem__(self, index: int) -> Any:
        return self.dataset[self._kept[index]]

    def __len__(self) -> int:
        return len(self._kept)


@dataclass(frozen=True)
class SearchData:
    """What a search looks at.

    Attributes:
        dataloader: Config of the data loader.
        evaluator: Config of the evaluator, None if the network's loss is the metric.
        names: Names of the images.
        split: The split they come from.
        annotations: Digest of what the data set knows of the images, without where they lie.
    """

    dataloader: ConfigDict
    evaluator: Any
    names: tuple[str, ...]
    split: SplitSettings
    annotations: str


def image_names(dataset: Any) -> list[str]:
    """Name of the file of every image, without folders."""
    return [_image_name(dataset.get_data_info(number)) for number in range(len(dataset))]


def search_data(cfg: Config, split: SplitSettings, folder: Path, loss: bool = False) -> SearchData:
    """Configs of the data loader and the evaluator of a search.

    Args:
        cfg: The whole config; its framework must be registered.
        split: Which images; a training set in `ExcludeHeldOut` has its own share and seed.
        folder: Where annotations of the chosen images alone are written for metrics that read a
            COCO file.
        loss: Whether the network's loss is the metric, so that images need labels but no evaluator.

    Raises:
        ConfigError: If the config has no such data, or the images are none.
    """
    usual = 'val' if cfg.get('val_dataloader') is not None else 'test'
    if cfg.get(f'{usual}_dataloader') is None or cfg.get(f'{usual}_evaluator') is None:
        raise ConfigError(
            'val_dataloader and val_evaluator are not in the config, but the search looks at '
            'images through their pipeline and their metrics.'
        )
    dataloader = deepcopy(cfg[f'{usual}_dataloader'])
    evaluator = deepcopy(cfg[f'{usual}_evaluator'])
    if split.part == 'held_out':
        dataset, split = _training_set(cfg, split)
        dataset.pipeline = _single_dataset(dataloader.dataset, f'{usual}_dataloader').pipeline
        dataset.test_mode = True
    else:
        dataset = _single_dataset(dataloader.dataset, f'{usual}_dataloader')
    if loss and not any('LoadAnnotations' in type_name(step) for step in dataset.pipeline):
        raise ConfigError(
            f'a loss needs labels, but {usual}_dataloader.dataset.pipeline has no LoadAnnotations: '
            'add it, or name a metric of the evaluator.'
        )
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope')):
        whole = DATASETS.build({**dataset, 'pipeline': [], 'lazy_init': False})
    names = image_names(whole)
    chosen = choose_images(names, split)
    own = dataset.get('indices')
    if len(chosen) < len(names):
        known = _numbers(own, len(names))
        dataset.indices = [known[number] for number in chosen]
    images = [whole.get_data_info(number) for number in chosen]
    dataloader.dataset = dataset
    is_whole = split.part == 'val' and len(chosen) == len(names) and own is None
    if not loss and (not is_whole or judges_parts(evaluator, whole)):
        evaluator = evaluator_for(evaluator, whole, images, folder / 'held_out.json')
    # In the order of the split, whatever the number of processes.
    dataloader.sampler = ConfigDict(type='DefaultSampler', shuffle=False)
    return SearchData(
        dataloader=dataloader,
        evaluator=None if loss else evaluator,
        names=tuple(names[number] for number in chosen),
        split=split,
        annotations=_digest(images),
    )


def _training_set(cfg: Config, split: SplitSettings) -> tuple[ConfigDict, SplitSettings]:
    """The config of the training set inside its wrappers, and the split that training kept to."""
    if cfg.get('train_dataloader') is None:
        raise ConfigError(
            "train_dataloader is not in the config, but split.part is 'held_out': a part of the "
            'training set.'
        )
    dataset = cfg.train_dataloader.dataset
    while 'dataset' in dataset:
        if type_name(dataset) == _WRAPPER:
            own = ExcludeHeldOut.__init__.__defaults__ or ()
            share, seed = dataset.get('share', own[0]), dataset.get('seed', own[1])
            split = replace(split, share=share, seed=seed)
        dataset = dataset.dataset
    return deepcopy(_single_dataset(dataset, 'train_dataloader')), split


def _single_dataset(dataset: ConfigDict, loader: str) -> ConfigDict:
    while 'dataset' in dataset:
        dataset = dataset.dataset
    if 'datasets' in dataset:
        raise ConfigError(
            f'{loader}.dataset is a {dataset.type} of several data sets, but a search looks at one.'
        )
    return dataset


def evaluator_for(
    evaluator: Any, dataset: Any, images: Sequence[Mapping[str, Any]], path: Path
) -> Any:
    """Makes an evaluator judge a part of its data set.

    Args:
        evaluator: Its config, which is changed.
        dataset: The data set that the images are of.
        images: What the data set knows of each.
        path: Where COCO annotations of exactly these images are written, if a metric reads some.

    Returns:
        The evaluator.

    Raises:
        ConfigError: If a metric reads annotations of a kind whose parts it cannot judge.
    """
    for metric in _metrics(evaluator):
        if not metric.get('ann_file'):
            continue
        if not _judges_parts(metric, dataset, images[0]):
            raise ConfigError(
                f'{metric["type"]} reads {metric["ann_file"]}, which is no COCO file, so it cannot '
                'judge a part of the data set: use all images of the validation set, '
                "sparsevit_mm.NuScenesDetectionMetric for nuScenes' info files, or a search's loss."
            )
        if type_name(metric) == _FINDS_SAMPLES:
            metric.update(ann_file=dataset.ann_file, is_whole=False)
            continue
        if is_main_process():
            _write_coco_part(Path(dataset.ann_file), {image['img_id'] for image in images}, path)
        barrier()
        metric['ann_file'] = str(path)
    return evaluator


def judges_parts(evaluator: Any, dataset: Any) -> bool:
    """Whether `evaluator_for` can make an evaluator judge a part of its data set.

    Args:
        evaluator: Its config.
        dataset: The data set, with at least one image.
    """
    image = dataset.get_data_info(0)
    return all(
        not metric.get('ann_file') or _judges_parts(metric, dataset, image)
        for metric in _metrics(evaluator)
    )


def _numbers(indices: Any, number: int) -> Sequence[int]:
    """Which images of a file a data set with `indices` has; negative ones count from the end."""
    if isinstance(indices, int):
        return range(indices) if indices >= 0 else range(indices, 0)
    return range(number) if indices is None else list(indices)


def _metrics(evaluator: Any) -> Sequence[Any]:
    return evaluator if isinstance(evaluator, Sequence) else [evaluator]


def _judges_parts(metric: Mapping[str, Any], dataset: Any, image: Mapping[str, Any]) -> bool:
    is_coco = str(dataset.ann_file).endswith('.json') and 'img_id' in image
    return is_coco or type_name(metric) == _FINDS_SAMPLES


def _write_coco_part(source: Path, ids: set[Any], path: Path) -> None:
    coco = read_json(source, 'the annotation file')
    coco['images'] = [image for image in coco['images'] if image['id'] in ids]
    coco['annotations'] = [a for a in coco['annotations'] if a['image_id'] in ids]
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_text(path, json.dumps(coco))


def _digest(infos: Sequence[Mapping[str, Any]]) -> str:
    digest = hashlib.sha256()
    for info in infos:
        known = {str(key): value for key, value in info.items() if not str(key).endswith('path')}
        digest.update(json.dumps(known, sort_keys=True, default=_plain).encode())
    return digest.hexdigest()


def _plain(value: Any) -> Any:
    """Arrays as lists; of other objects the name of their class."""
    return value.tolist() if hasattr(value, 'tolist') else type(value).__name__


def _image_name(info: Mapping[str, Any]) -> str:
    for key in ('img_path', 'lidar_path', 'token', 'sample_idx'):
        if key in info:
            return PurePath(str(info[key])).name
    for view in (info.get('images') or {}).values():
        return PurePath(str(view['img_path'])).name
    raise ConfigError(f'images of a search must have a file name, but one has only {sorted(info)}.')
