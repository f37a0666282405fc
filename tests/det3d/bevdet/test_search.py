"""A search for a BEVDet's ratios: its images, its metric, the size that the backbone sees."""

from __future__ import annotations

from pathlib import Path

import pytest
from mmengine.registry import DATASETS, METRICS, DefaultScope

pytest.importorskip('mmdet3d')
from mmengine.dataset import pseudo_collate
from mmengine.evaluator import Evaluator
from torch.utils.data import DataLoader

from sparsevit_mm.apis.configs import innermost_dataset
from sparsevit_mm.engine.held_out import search_data
from sparsevit_mm.engine.schedule_evaluator import ScheduleEvaluator
from sparsevit_mm.pruning import PruningSchedule
from sparsevit_mm.search.split import SplitSettings
from tests.helpers.bevdet_networks import build, small
from tests.helpers.generated_data import write_data
from tests.helpers.small_configs import load_for_step, with_small_images

CONFIG = (
    Path(__file__)
    .parents[3]
    .joinpath('configs/search/nuscenes/bevdet_sparsevit-t_8xb8-search_nus-3d-256x704.py')
)


def test_schedules_are_compared_on_key_frames_of_the_training_set(tmp_path):
    cfg = with_small_images(load_for_step(CONFIG))
    training = innermost_dataset(cfg.train_dataloader)
    write_data(cfg, training, tmp_path)
    training.data_root = str(tmp_path)
    cfg.val_dataloader.dataset.pipeline[1].size = (64, 176)
    data = search_data(cfg, SplitSettings(share=0.99, images=2), tmp_path)
    assert set(data.names) <= {'0', '1'}
    with DefaultScope.overwrite_default_scope('mmdet3d'):
        frames = DATASETS.build(data.dataloader.dataset)
        evaluator = Evaluator([METRICS.build(data.evaluator)])
        evaluator.dataset_meta = frames.metainfo
        model = build(small())
        model.bbox_head.bbox_coder.score_threshold = 0.0
        loader = DataLoader(frames, collate_fn=pseudo_collate)
        fitness = ScheduleEvaluator(model, loader, evaluator, cfg.test_cfg.metric)
        metrics = fitness.measure(PruningSchedule.parse(0.5, model.backbone.arch.depths))
        assert 0 <= metrics['nuscenes/NDS'] <= 1
        assert fitness.input_shape() == (64, 176)
