"""Compares files of detectors with the detectors: predictions, average precision, time and int8.

Each detector must have been trained with its config in this project, with a work dir of its name in
the work dir. Results that are there are not computed again.

    SPARSEVIT_MM_DATA=data python -m projects.detector_files --work-dir work_dirs/detector_files
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import Evaluator
from mmengine.registry import DATASETS, DefaultScope
from numpy.typing import NDArray

from sparsevit_mm.apis.export_onnx import export_config
from sparsevit_mm.apis.inference import ImagePredictor
from sparsevit_mm.apis.quantize_onnx import quantize_file
from sparsevit_mm.apis.test_onnx import with_predictions
from sparsevit_mm.apis.user_errors import user_errors_exit
from sparsevit_mm.deployment import OnnxDetector
from sparsevit_mm.deployment.agreement import Agreement, agreement
from sparsevit_mm.deployment.onnx_detector import Found
from sparsevit_mm.deployment.runtimes import RUNTIMES
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.files import read_json, replace_text
from sparsevit_mm.profiling.latency import measure_latency

DATA_VARIABLE = 'SPARSEVIT_MM_DATA'
SCHEDULES: dict[str, Any] = {'dense': 0.0, 'cfg2': [[0.6], [0.0], [0.2, 0.4, 0.5], [0.0]]}
DETECTORS = ('retinanet', 'mask-rcnn', 'cascade-mask-rcnn')
SIDE = 320


def main(arguments: Sequence[str] | None = None) -> None:
    """Compares every detector and schedule, and writes the results."""
    parser = argparse.ArgumentParser(prog='python -m projects.detector_files', description=__doc__)
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/detector_files'))
    parser.add_argument('--detectors', nargs='+', choices=DETECTORS, default=DETECTORS)
    parser.add_argument('--int8', nargs='*', choices=DETECTORS, default=DETECTORS)
    parser.add_argument('--threads', type=int, default=1, help='of torch and the runtimes')
    parser.add_argument('--runs', type=int, default=10, help='timed rounds')
    args = parser.parse_args(arguments)
    torch.set_num_threads(args.threads)
    results = args.work_dir / 'results.json'
    found = read_json(results, 'the results') if results.is_file() else {}
    with user_errors_exit():
        for detector in args.detectors:
            for schedule in SCHEDULES:
                name = f'{detector}, {schedule}'
                if name not in found:
                    case = Case(detector, schedule, args.work_dir, args.threads)
                    found[name] = case.compare(detector in args.int8, args.runs)
                    replace_text(results, json.dumps(found, indent=1) + '\n')
                print(name, json.dumps({k: v for k, v in found[name].items() if k != 'ms'}))


class Case:
    """One detector with one schedule.

    Args:
        detector: One of `DETECTORS`.
        schedule: A key of `SCHEDULES`.
        work_dir: Folder with a folder for each trained detector; files are written there.
        threads: Of torch and the runtimes.
    """

    def __init__(self, detector: str, schedule: str, work_dir: Path, threads: int) -> None:
        data = Path(os.environ.get(DATA_VARIABLE, 'nowhere')) / 'coco_mini'
        if not data.is_dir():
            raise ConfigError(f'{DATA_VARIABLE} must name a folder that holds coco_mini.')
        (config,) = (Path(__file__).parent / 'configs').glob(f'{detector}_*.py')
        self.config, self.folder, self.name = str(config), work_dir / detector, schedule
        self.schedule, self.threads = SCHEDULES[schedule], threads
        self.options = {
            f'{loader}_dataloader.dataset.data_root': f'{data}/' for loader in ('train', 'test')
        }
        self._first = ''
        self.checkpoint = str(self.folder / 'iter_200.pth')

    def compare(self, int8: bool, runs: int) -> dict[str, Any]:
        """Writes the files, runs them beside the detector and measures all of them.

        Args:
            int8: Whether to quantize the files, too.
            runs: Timed rounds.
        """
        path = str(self.folder / f'{self.name}.onnx')
        options = dict(schedule=self.schedule, cfg_options=self.options)
        export_config(
            self.config, path, SIDE, SIDE, checkpoint=self.checkpoint, part='predictions',
            **options,
        )  # fmt: skip
        files = {runtime: (path, runtime) for runtime in RUNTIMES}
        if int8:
            has_masks = 'mask' in self.folder.name  # refused for OpenVINO
            for runtime, ending in zip(RUNTIMES[: 1 if has_masks else 2], ('onnx', 'xml')):
                out = str(self.folder / f'{self.name}-int8.{ending}')
                quantize_file(
                    self.config, path, out, runtime=runtime, images=16, cfg_options=self.options
                )
                files[f'{runtime} int8'] = (out, runtime)
        predictor = ImagePredictor(self.config, self.checkpoint, 'cpu', **options)
        fast = ImagePredictor(self.config, self.checkpoint, 'cpu', optimize='float32', **options)
        detectors = {
            name: OnnxDetector(file, runtime, self.threads)
            for name, (file, runtime) in files.items()
        }
        metrics, same = self._quality(predictor, detectors)
        image = next(iter(detectors.values())).read(self._first)
        candidates: dict[str, Callable[[], Any]] = {
            'torch': lambda: predictor.predict(image, self._first),
            'torch, inference form': lambda: fast.predict(image, self._first),
            **{name: partial(of, image) for name, of in detectors.items()},
        }
        with torch.inference_mode():
            timed = measure_latency(candidates, runs=runs, device='cpu')
        return {
            'threads': self.threads,
            'metrics': metrics,
            'same': same,
            'median_ms': {name: round(latency.median, 1) for name, latency in timed.items()},
            'ms': {name: [round(ms, 2) for ms in latency.runs] for name, latency in timed.items()},
        }

    def _quality(
        self, predictor: ImagePredictor, detectors: dict[str, OnnxDetector]
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """Average precision of everything, and how many boxes are those of the detector."""
        cfg = predictor.cfg
        with DefaultScope.overwrite_default_scope('mmdet'):
            dataset = DATASETS.build(cfg.test_dataloader.dataset)
            evaluators = {name: Evaluator(cfg.test_evaluator) for name in ('torch', *detectors)}
            same = {name: Agreement(0, 0, 'boxes') for name in detectors}
            for place in range(len(dataset)):
                path = str(dataset.get_data_info(place)['img_path'])
                self._first = path if place == 0 else self._first
                expected = _found(predictor.predict(predictor.read(path), path).sample)
                given = {'torch': expected, **{n: of(path) for n, of in detectors.items()}}
                for name, of in given.items():
                    sample = with_predictions(dataset[place]['data_samples'], of)
                    evaluators[name].process(data_samples=[sample], data_batch=None)
                    if name in same:
                        same[name] += agreement(_batch(expected), _batch(of))
            metrics = {}
            for name, evaluator in evaluators.items():
                evaluator.dataset_meta = dataset.metainfo
                values = evaluator.evaluate(len(dataset))
                metrics[name] = {
                    key: values[key] for key in ('coco/bbox_mAP', 'coco/segm_mAP') if key in values
                }
        return metrics, {name: str(of) for name, of in same.items()}


def _found(sample: Any) -> Found:
    boxes = sample.pred_instances
    masks = boxes.masks.numpy() if 'masks' in boxes else None
    return Found(boxes.bboxes.numpy(), boxes.scores.numpy(), boxes.labels.numpy(), masks)


def _batch(found: Found) -> dict[str, NDArray[Any]]:
    """The boxes of an image as a batch of one."""
    values = dict(boxes=found.boxes, scores=found.scores, labels=found.labels, masks=found.masks)
    return {name: np.asarray(value)[None] for name, value in values.items() if value is not None}


if __name__ == '__main__':
    main()
