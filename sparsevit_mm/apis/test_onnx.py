"""Measures a file with predictions on the test set of a config, with the config's own metric."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.registry import DATASETS, DefaultScope
from mmengine.structures import InstanceData, PixelData
from numpy.typing import NDArray

from sparsevit_mm.apis.configs import load_config, register_framework
from sparsevit_mm.checks.configs import check_datasets
from sparsevit_mm.deployment.onnx_detector import Found, OnnxDetector
from sparsevit_mm.errors import ConfigError


def evaluate_file(
    config: str,
    path: str,
    *,
    runtime: str | None = None,
    threads: int | None = None,
    cfg_options: Mapping[str, Any] | None = None,
) -> dict[str, float]:
    """Runs a file on every image of the config's test set and applies the config's metric.

    Args:
        config: Path of the config.
        path: An ONNX file, or for OpenVINO also an .xml file.
        runtime: One of `sparsevit_mm.deployment.runtimes.RUNTIMES`; None for the first installed.
        threads: Number of CPU threads; by default the runtime's choice.
        cfg_options: Fields of the config to replace.

    Returns:
        The metrics.

    Raises:
        SparseVitError: If the config, its data or the file is wrong.
    """
    detector = OnnxDetector(path, runtime, threads)
    cfg = load_config(config, cfg_options)
    register_framework(cfg)
    check_datasets(cfg, ['test_dataloader'], ['test_evaluator'])
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope')):
        dataset = DATASETS.build(deepcopy(cfg.test_dataloader.dataset))
        evaluator = Evaluator(deepcopy(cfg.test_evaluator))
        evaluator.dataset_meta = dataset.metainfo
        for place in range(len(dataset)):
            found = detector(_path(dataset, place))
            sample = dataset[place]['data_samples']
            evaluator.process(data_samples=[with_predictions(sample, found)], data_batch=None)
        metrics: dict[str, float] = evaluator.evaluate(len(dataset))
    return metrics


def first_training_images(cfg: Config, images: int) -> Iterator[str]:
    """Paths of the first images of a config's training set.

    Args:
        cfg: The whole config; its framework must be registered.
        images: Their number.

    Raises:
        ConfigError: If the config has no training set.
    """
    if cfg.get('train_dataloader') is None:
        raise ConfigError(
            'train_dataloader is missing, but int8 is calibrated with images of the training set: '
            'those of the test set would make its own figures better than they are.'
        )
    check_datasets(cfg, ['train_dataloader'], [])
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope')):
        dataset = DATASETS.build(deepcopy(cfg.train_dataloader.dataset))
    for place in range(min(images, len(dataset))):
        yield _path(dataset, place)


def _path(dataset: Any, place: int) -> str:
    return str(dataset.get_data_info(place)['img_path'])


def with_predictions(sample: Any, found: Found) -> Any:
    """Puts what was found in an image into what metrics take.

    Args:
        sample: The data sample of the image, which is changed, or its label for a classifier.
        found: What was found.

    Raises:
        ConfigError: If boxes were found, but the test set gives no data samples.
    """
    if found.label_map is not None:
        sample.pred_sem_seg = PixelData(data=torch.from_numpy(found.label_map)[None])
        return sample
    assert found.scores is not None
    if found.boxes is None:
        return {'scores': torch.from_numpy(found.scores), 'label': sample}
    if not hasattr(sample, 'set_metainfo'):
        raise ConfigError(
            f'the test set gives {type(sample).__name__}, but boxes need data samples.'
        )
    boxes = InstanceData(
        bboxes=torch.from_numpy(found.boxes),
        scores=torch.from_numpy(found.scores),
        labels=_tensor(found.labels),
    )
    if found.masks is not None:
        boxes.masks = torch.from_numpy(found.masks)
    sample.pred_instances = boxes
    return sample


def _tensor(values: NDArray[np.int64] | None) -> torch.Tensor:
    assert values is not None
    return torch.from_numpy(values)
