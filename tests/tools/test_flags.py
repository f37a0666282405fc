"""Flags that mm users expect of tools/train.py and tools/test.py."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from mmengine.runner import Runner

from sparsevit_mm.apis.configs import innermost_dataset, load_config, register_framework
from sparsevit_mm.apis.runner import build_runner
from sparsevit_mm.checks.configs import build_model
from sparsevit_mm.pruning.schedule import PruningSchedule
from tests.helpers.generated_data import write_data
from tests.helpers.small_configs import (
    load_for_step,
    with_few_boxes,
    with_small_backbone,
    with_small_images,
)
from tests.helpers.tiny_data import SEGMENTOR, write_config
from tests.tools.conftest import ROOT, call_tool, files_below, run_tool

ONE_EPOCH = ['train_cfg.max_epochs=1', 'train_cfg.val_interval=9']

# Boxes and masks from two scales.
MASK_DETECTOR_CHANGES = """
roi_layer = dict(type='RoIAlign', output_size=7, sampling_ratio=1)
extractor = dict(
    type='SingleRoIExtractor', roi_layer=roi_layer, out_channels=16, featmap_strides=[4, 8])
model['type'] = 'MaskRCNN'
model['data_preprocessor']['pad_mask'] = True
del model['bbox_head']
model['rpn_head'] = dict(
    type='RPNHead', in_channels=16, feat_channels=16,
    anchor_generator=dict(type='AnchorGenerator', scales=[4], ratios=[1.0], strides=[4, 8]))
model['roi_head'] = dict(
    type='StandardRoIHead', bbox_roi_extractor=extractor, mask_roi_extractor=extractor,
    bbox_head=dict(
        type='Shared2FCBBoxHead', in_channels=16, fc_out_channels=16, roi_feat_size=7,
        num_classes=2, bbox_coder=dict(type='DeltaXYWHBBoxCoder')),
    mask_head=dict(
        type='FCNMaskHead', num_convs=1, in_channels=16, conv_out_channels=16, num_classes=2))
model['train_cfg'] = None
model['test_cfg'] = dict(
    rpn=dict(nms_pre=50, max_per_img=20, nms=dict(type='nms', iou_threshold=0.7), min_bbox_size=0),
    rcnn=dict(score_thr=0.0, nms=dict(type='nms', iou_threshold=0.5), max_per_img=10,
              mask_thr_binary=0.5))
test_evaluator = dict(type='CocoMetric', ann_file='DATA/instances.json', metric=['bbox', 'segm'])
"""

TTA = """
tta_model = dict(type='SegTTAModel')
tta_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='TestTimeAug', transforms=[
        [dict(type='Resize', scale=size, keep_ratio=False) for size in [(84, 60), (112, 80)]],
        [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)],
        [dict(type='LoadAnnotations')],
        [dict(type='PackSegInputs')]])]
"""


@pytest.fixture
def runners(monkeypatch):
    """Every runner that a tool builds; none of them runs."""
    built = []

    def build(cfg, launcher):
        built.append(Runner.from_cfg(cfg))
        monkeypatch.setattr(built[-1], 'train', lambda: None)
        return built[-1]

    monkeypatch.setattr('sparsevit_mm.apis.train.build_runner', build)
    return built


def metrics_of(work_dir):
    (path,) = work_dir.glob('*/*.json')
    return json.loads(path.read_text())


def test_runs_of_the_same_second_share_nothing(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr('mmengine.runner.runner.time.time', lambda: 1.0)
    runs = []
    for number, name in enumerate(('detector', 'detector', 'segmentor')):
        folder = tmp_path / str(number)
        folder.mkdir()
        cfg = load_config(str(shutil.copy(getattr(tiny, name), folder / 'config.py')))
        register_framework(cfg)
        cfg.work_dir = str(folder)
        runs.append(build_runner(cfg, 'none'))
    for run, scope in zip(runs, ('mmdet', 'mmdet', 'mmseg')):
        assert run.default_scope.scope_name == scope
        assert run.visualizer._vis_backends['LocalVisBackend']._save_dir.startswith(run.work_dir)
    assert len({run.logger for run in runs}) == len({run.message_hub for run in runs}) == 3


def test_options_reach_the_run(tiny, tmp_path, runners):
    call_tool(
        'train', tiny.detector, '--work-dir', tmp_path / 'here', '--cfg-options',
        'model.backbone.pruning_ratios=[[0.1],[0.2,0.3]]', 'train_dataloader.batch_size=4',
        'optim_wrapper.optimizer.lr=0.5', 'custom_hooks.0.schedule=0.25',
    )  # fmt: skip
    cfg = runners[0].cfg
    assert cfg.work_dir == str(tmp_path / 'here')
    assert cfg.model.backbone.pruning_ratios == [[0.1], [0.2, 0.3]]
    assert cfg.train_dataloader.batch_size == 4
    assert cfg.optim_wrapper.optimizer.lr == 0.5
    assert cfg.custom_hooks[0].schedule == 0.25


def test_learning_rate_is_scaled_by_the_batch_size(tiny, tmp_path):
    """Meant for 16 images, trained with 4: a quarter."""
    call_tool(
        'train', tiny.detector, '--work-dir', tmp_path, '--auto-scale-lr', '--cfg-options',
        *ONE_EPOCH, 'auto_scale_lr.base_batch_size=16', 'train_dataloader.batch_size=4',
        'param_scheduler=None',
    )  # fmt: skip
    checkpoint = torch.load(tmp_path / 'epoch_1.pth', weights_only=True)
    assert checkpoint['optimizer']['param_groups'][0]['lr'] == pytest.approx(1e-3 / 4)


def test_resume_from_a_named_checkpoint(tiny, trained, tmp_path):
    call_tool('train', tiny.detector, '--work-dir', tmp_path, '--resume', trained / 'epoch_2.pth')
    now, then = (
        torch.load(folder / 'epoch_3.pth', weights_only=True) for folder in (tmp_path, trained)
    )
    assert now['meta']['iter'] == 48
    for name, weight in then['state_dict'].items():
        torch.testing.assert_close(now['state_dict'][name], weight)
    assert not (tmp_path / 'epoch_1.pth').exists()


def test_mixed_precision_with_a_gpu(tiny, tmp_path, monkeypatch):
    """What --amp asks mmengine for; the rest of it needs a GPU."""
    seen = []
    monkeypatch.setattr(
        'sparsevit_mm.apis.train.check_mixed_precision', lambda cfg: seen.append(cfg.optim_wrapper)
    )
    monkeypatch.setattr('sparsevit_mm.apis.train.build_runner', lambda cfg, launcher: Nothing())
    call_tool('train', tiny.detector, '--work-dir', tmp_path, '--amp')
    assert (seen[0].type, seen[0].loss_scale) == ('AmpOptimWrapper', 'dynamic')


class Nothing:
    rank, work_dir = 0, 'nowhere'

    def train(self):
        pass


def test_tensorboard(tiny, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = run_tool(
        'train', tiny.detector, '--work-dir', tmp_path, '--cfg-options', *ONE_EPOCH,
        'visualizer.vis_backends.0.type=TensorboardVisBackend',
    )  # fmt: skip
    assert run.code == 0, run.stderr
    (events,) = tmp_path.rglob('events.out.tfevents.*')
    board = EventAccumulator(str(events))
    board.Reload()
    assert {'loss', 'lr', 'pruning_ratio'} <= set(board.Tags()['scalars'])
    assert [event.step for event in board.Scalars('loss')] == list(range(1, 17))


def test_validation_pictures(tiny, tmp_path):
    run = run_tool(
        'train', tiny.detector, '--work-dir', tmp_path, '--cfg-options', 'train_cfg.max_epochs=1',
        'train_cfg.val_interval=1', 'default_hooks.visualization.draw=True',
        'default_hooks.visualization.interval=4',
    )  # fmt: skip
    assert run.code == 0, run.stderr
    pictures = [name for name in files_below(tmp_path) if '/vis_image/' in name]
    assert len(pictures) == 4


@pytest.fixture(scope='module')
def segmentor(tiny, tmp_path_factory):
    """A trained segmentor: config and checkpoint."""
    folder = tmp_path_factory.mktemp('segmentor')
    config = write_config(folder / 'segmentor.py', SEGMENTOR + TTA, tiny.data)
    call_tool('train', config, '--work-dir', folder)
    return config, folder / 'epoch_1.pth'


def test_segmentor_at_several_scales(segmentor, tmp_path, monkeypatch):
    passes = []
    from mmseg.models import SegTTAModel

    merge = SegTTAModel.merge_preds
    monkeypatch.setattr(
        SegTTAModel,
        'merge_preds',
        lambda self, batch: passes.append([s.img_shape for s in batch[0]]) or merge(self, batch),
    )
    call_tool('test', *segmentor, '--work-dir', tmp_path, '--tta')
    assert 0 <= metrics_of(tmp_path)['mIoU'] <= 100
    assert len(passes) == 16
    assert sorted(set(passes[0])) == [(60, 84), (80, 112)]
    assert len(passes[0]) == 4


def test_segmentor_keeps_predictions_and_pictures(segmentor, tmp_path):
    run = run_tool(
        'test', *segmentor, '--work-dir', tmp_path / 'work', '--show-dir', tmp_path / 'drawn',
        '--out', tmp_path / 'predictions.pkl',
    )  # fmt: skip
    assert run.code == 0, run.stderr
    assert (tmp_path / 'predictions.pkl').stat().st_size > 0
    drawn = [name for name in files_below(tmp_path / 'drawn') if name.endswith('.png')]
    assert len(drawn) == 16


def test_detector_with_masks_averages_boxes_alone(tiny, tmp_path):
    config = tmp_path / 'mask.py'
    text = tiny.detector.read_text() + MASK_DETECTOR_CHANGES.replace('DATA', str(tiny.data))
    config.write_text(text)
    cfg = load_config(str(config))
    register_framework(cfg)
    checkpoint = tmp_path / 'weights.pth'
    torch.save({'state_dict': build_model(cfg).state_dict()}, checkpoint)
    call_tool('test', config, checkpoint, '--work-dir', tmp_path / 'plain')
    assert 'coco/segm_mAP' in metrics_of(tmp_path / 'plain')
    call_tool('test', config, checkpoint, '--work-dir', tmp_path / 'tta', '--tta')
    metrics = metrics_of(tmp_path / 'tta')
    assert 'coco/bbox_mAP' in metrics
    assert 'coco/segm_mAP' not in metrics


FCOS3D = ROOT / 'configs/sparsevit/nuscenes/fcos3d_sparsevit-t_fpn_8xb2-adaptation-1x_nus-mono3d.py'


def test_3d_detector_keeps_predictions_and_pictures(tmp_path):
    cfg = with_few_boxes(with_small_images(with_small_backbone(load_for_step(FCOS3D))))
    write_data(cfg, innermost_dataset(cfg.train_dataloader), tmp_path / 'data')
    dataset = cfg.test_dataloader.dataset
    dataset.data_root, dataset.ann_file = f'{tmp_path / "data"}/', 'nuscenes_infos_train.pkl'
    for camera in list(dataset.data_prefix):
        dataset.data_prefix[camera] = 'samples/CAM_FRONT'
    cfg.test_evaluator = dict(type='DumpResults', out_file_path=str(tmp_path / 'first.pkl'))
    cfg.model.test_cfg.score_thr = 0.0
    config, checkpoint = tmp_path / 'fcos3d.py', tmp_path / 'weights.pth'
    cfg.dump(config)
    torch.save({'state_dict': build_model(cfg).state_dict()}, checkpoint)
    run = run_tool(
        'test', config, checkpoint, '--work-dir', tmp_path / 'work', '--show-dir', 'drawn',
        '--out', tmp_path / 'predictions.pkl',
    )  # fmt: skip
    assert run.code == 0, run.stderr
    assert (tmp_path / 'predictions.pkl').stat().st_size > 0
    drawn = [name for name in files_below(tmp_path / 'work') if '/drawn/' in name]
    assert len(drawn) >= 2


def test_a_schedule_that_learned_needs_a_config_that_names_it(tiny, trained, tmp_path, capsys):
    """Else what a checkpoint has learned would be dropped. The sentence names a way out."""
    schedule = tmp_path / 'schedule.json'
    PruningSchedule(((0.5, 0.5), (0.0, 0.0)), importance='learned').save(schedule)
    args = [tiny.detector, trained / 'epoch_3.pth', '--work-dir', tmp_path / 'work']
    with pytest.raises(SystemExit):
        call_tool('test', *args, '--schedule', schedule)
    error = capsys.readouterr().err.strip()
    assert "importance of the schedule is 'learned', but the backbone must name it" in error
    assert not [file for file in tmp_path.rglob('*') if file != schedule]
    way_out = error.rpartition('mostly ')[2].split()
    call_tool('test', *args, '--schedule', schedule, *way_out)


def test_a_schedule_of_another_importance_is_one_sentence(tiny, trained, tmp_path, capsys):
    """Every tool that reads schedule files; the way out that the sentence names works."""
    schedule = tmp_path / 'schedule.json'
    PruningSchedule(((0.5, 0.5), (0.0, 0.0)), importance='contrast').save(schedule)
    checkpoint, image = trained / 'epoch_3.pth', next((tiny.data / 'images').glob('*.png'))
    calls = {
        'get_flops': [tiny.detector, '--shape', 64, 96],
        'test': [tiny.detector, checkpoint, '--work-dir', tmp_path / 'work'],
        'image_demo': [image, tiny.detector, checkpoint, '--out-dir', tmp_path / 'drawn'],
    }
    for name, args in calls.items():
        args = [*args, '--schedule', schedule, '--cfg-options']
        with pytest.raises(SystemExit):
            call_tool(name, *args, 'model.backbone.importance=l2')
        error = capsys.readouterr().err.strip()
        assert "importance of the schedule is 'contrast', but must be that of the config" in error
        assert not [file for file in tmp_path.rglob('*') if file != schedule]
        assert error.endswith('--cfg-options model.backbone.importance=contrast')
    for name, args in calls.items():
        call_tool(name, *args, '--schedule', schedule)
        call_tool(
            name, *args, '--schedule', schedule,
            '--cfg-options', 'model.backbone.importance=contrast',
        )  # fmt: skip
