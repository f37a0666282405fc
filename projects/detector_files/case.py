"""One detector with one schedule: its files, how well they agree with it, and the time of all."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import Evaluator
from mmengine.registry import DATASETS, DefaultScope
from numpy.typing import NDArray

from sparsevit_mm.apis.configs import load_config, register_framework
from sparsevit_mm.apis.export_onnx import export_config
from sparsevit_mm.apis.inference import ImagePredictor
from sparsevit_mm.apis.quantize_onnx import quantize_file
from sparsevit_mm.apis.test_onnx import with_predictions
from sparsevit_mm.deployment import OnnxDetector
from sparsevit_mm.deployment.agreement import Agreement, agreement
from sparsevit_mm.deployment.onnx_detector import Found
from sparsevit_mm.deployment.runtimes import RUNTIMES
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.profiling.latency import measure_latency

DATA_VARIABLE = 'SPARSEVIT_MM_DATA'
DETECTORS = ('retinanet', 'mask-rcnn', 'cascade-mask-rcnn')
SCHEDULES: dict[str, Any] = {'dense': 0.0, 'cfg2': [[0.6], [0.0], [0.2, 0.4, 0.5], [0.0]]}
SIDE = 320
CALIBRATION_IMAGES = 32
CALIBRATION = {
    'train_dataloader.dataset.ann_file': 'annotations/instances_train2017.json',
    'train_dataloader.dataset.data_prefix.img': 'train2017/',
    'train_dataloader.dataset.indices': CALIBRATION_IMAGES,
}
"""int8 is calibrated with photographs that the detectors are neither trained nor tested with."""


class Case:
    """One detector with one schedule.

    Args:
        detector: One of `DETECTORS`.
        schedule: A key of `SCHEDULES`.
        work_dir: Folder with a folder for each trained detector; files are written there.

    Raises:
        ConfigError: If there is no `coco_mini`.
    """

    def __init__(self, detector: str, schedule: str, work_dir: Path) -> None:
        data = Path(os.environ.get(DATA_VARIABLE, 'nowhere')) / 'coco_mini'
        if not data.is_dir():
            raise ConfigError(f'{DATA_VARIABLE} must name a folder that holds coco_mini.')
        (config,) = (Path(__file__).parent / 'configs').glob(f'{detector}_*.py')
        self.config = str(config)
        self.checkpoint = str(work_dir / detector / 'iter_200.pth')
        self.options: dict[str, Any] = {
            'schedule': SCHEDULES[schedule],
            'cfg_options': {
                f'{loader}_dataloader.dataset.data_root': f'{data}/' for loader in ('train', 'test')
            },
        }
        stem = str(work_dir / detector / schedule)
        self.file = f'{stem}.onnx'
        self.int8 = dict(zip(RUNTIMES, (f'{stem}-int8.onnx', f'{stem}-int8.xml')))

    def write_file(self) -> None:
        """Writes the file if it is not there yet."""
        if not Path(self.file).is_file():
            export_config(
                self.config, self.file, SIDE, SIDE, checkpoint=self.checkpoint, part='predictions',
                **self.options,
            )  # fmt: skip

    def write_int8(self) -> None:
        """Writes the int8 files that are not there yet."""
        self.write_file()
        for runtime, out in self.int8.items():
            if not Path(out).is_file():
                quantize_file(
                    self.config, self.file, out, runtime=runtime, images=CALIBRATION_IMAGES,
                    cfg_options={**self.options['cfg_options'], **CALIBRATION},
                )  # fmt: skip

    def open_files(self, threads: int, int8: bool) -> dict[str, OnnxDetector]:
        """What runs the files by the name of the runtime, which of int8 files ends with ' int8'.

        Args:
            threads: Of the runtimes.
            int8: Whether the int8 files are meant.
        """
        if int8:
            files = self.int8.items()
            return {f'{name} int8': OnnxDetector(file, name, threads) for name, file in files}
        return {name: OnnxDetector(self.file, name, threads) for name in RUNTIMES}

    def compare(self) -> dict[str, Any]:
        """Average precision of the detector and its files, and how many boxes are the same."""
        self.write_file()
        predictor = self._predictor()
        detectors = self.open_files(torch.get_num_threads(), int8=False)
        same = {name: Agreement(0, 0, 'boxes') for name in detectors}

        def predict(path: str) -> dict[str, Found]:
            expected = _found(predictor.predict(predictor.read(path), path).sample)
            found = {name: of(path) for name, of in detectors.items()}
            for name, of in found.items():
                same[name] += agreement(_batch(expected), _batch(of))
            return {'torch': expected, **found}

        precision = self._average_precision(predict, ('torch', *detectors))
        counted = {name: [of.agreeing, of.total] for name, of in same.items()}
        return {'average_precision': precision, 'same': counted}

    def compare_int8(self) -> dict[str, Any]:
        """Average precision of the int8 files."""
        self.write_int8()
        detectors = self.open_files(torch.get_num_threads(), int8=True)

        def predict(path: str) -> dict[str, Found]:
            return {name: of(path) for name, of in detectors.items()}

        return {'average_precision': self._average_precision(predict, tuple(detectors))}

    def _average_precision(
        self, predict: Callable[[str], Mapping[str, Found]], names: Sequence[str]
    ) -> dict[str, dict[str, float]]:
        """Average precision of boxes and masks on the test set.

        Args:
            predict: From the path of an image to what each name found there.
            names: What predicts.
        """
        cfg = load_config(self.config, self.options['cfg_options'])
        register_framework(cfg)
        with DefaultScope.overwrite_default_scope('mmdet'):
            dataset = DATASETS.build(cfg.test_dataloader.dataset)
            evaluators = {name: Evaluator(cfg.test_evaluator) for name in names}
            for place in range(len(dataset)):
                for name, found in predict(_path(dataset, place)).items():
                    sample = with_predictions(dataset[place]['data_samples'], found)
                    evaluators[name].process(data_samples=[sample], data_batch=None)
            precision = {}
            for name, evaluator in evaluators.items():
                evaluator.dataset_meta = dataset.metainfo
                values = evaluator.evaluate(len(dataset))
                precision[name] = {
                    what: values[f'coco/{what}_mAP']
                    for what in ('bbox', 'segm')
                    if f'coco/{what}_mAP' in values
                }
        return precision

    def time(self, threads: Sequence[int], runs: int) -> dict[str, dict[str, list[float]]]:
        """Milliseconds of every run of the detector and its files, by the number of threads.

        Each run goes from a decoded photograph to boxes and masks in its pixels.

        Args:
            threads: Numbers of threads.
            runs: Timed rounds for each.
        """
        self.write_int8()
        models = {
            'torch': self._predictor(),
            'torch, inference form': self._predictor(optimize='float32'),
        }
        with DefaultScope.overwrite_default_scope('mmdet'):
            dataset = DATASETS.build(models['torch'].cfg.test_dataloader.dataset)
        path = _path(dataset, 0)
        image = OnnxDetector(self.file, RUNTIMES[0], 1).read(path)
        timed = {}
        for number in threads:
            torch.set_num_threads(number)
            candidates: dict[str, Callable[[], Any]] = {
                **{name: partial(model.predict, image, path) for name, model in models.items()},
                **{
                    name: partial(of, image)
                    for int8 in (False, True)
                    for name, of in self.open_files(number, int8).items()
                },
            }
            with torch.inference_mode():
                latencies = measure_latency(candidates, warmup=1, runs=runs, device='cpu')
            timed[str(number)] = {
                name: [round(ms, 2) for ms in latency.runs] for name, latency in latencies.items()
            }
        return timed

    def _predictor(self, **options: Any) -> ImagePredictor:
        return ImagePredictor(self.config, self.checkpoint, 'cpu', **self.options, **options)


def _path(dataset: Any, place: int) -> str:
    return str(dataset.get_data_info(place)['img_path'])


def _found(sample: Any) -> Found:
    boxes = sample.pred_instances
    masks = boxes.masks.numpy() if 'masks' in boxes else None
    return Found(boxes.bboxes.numpy(), boxes.scores.numpy(), boxes.labels.numpy(), masks)


def _batch(found: Found) -> Mapping[str, NDArray[Any]]:
    """The boxes of an image as a batch of one."""
    values = dict(boxes=found.boxes, scores=found.scores, labels=found.labels, masks=found.masks)
    return {name: np.asarray(value)[None] for name, value in values.items() if value is not None}
