"""What kept windows hold, and pictures that show no frame."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from projects.camvid_study.plan import CLASSES
from projects.camvid_study.run import class_iou
from projects.camvid_study.synthetic_frames import make_frames
from projects.camvid_study.windows import computed_share, draw_frame
from sparsevit_mm.apis.inference import Prediction
from sparsevit_mm.models import SparseViT
from sparsevit_mm.visualization.kept_windows import record_kept_windows

WIDTH, HEIGHT = 160, 120


class Predictor:
    """A backbone alone, in the place of a whole network."""

    def __init__(self, ratio):
        torch.manual_seed(0)
        self.backbone = SparseViT(
            embed_dims=12,
            depths=(2, 2),
            num_heads=(1, 2),
            strides=(4, 2),
            out_indices=(1,),
            window_size=5,
            pruning_ratios=ratio,
        ).eval()

    def predict(self, image):
        tensor = torch.tensor(image, dtype=torch.float32).permute(2, 0, 1)[None] / 255
        with record_kept_windows(self.backbone) as record, torch.no_grad():
            self.backbone(tensor)
        sample = type('Sample', (), {'img_shape': image.shape[:2]})()
        return Prediction(image, sample, record.passes)


@pytest.fixture
def frames(tmp_path):
    make_frames(tmp_path, WIDTH, HEIGHT, frames=2)
    return sorted((tmp_path / 'images' / 'test').iterdir()), tmp_path / 'annotations' / 'test'


def test_dense_network_computes_all_of_every_class(frames):
    assert set(computed_share(Predictor(0.0), *frames).values()) == {1.0}


def test_share_of_all_pixels_is_the_share_of_windows(frames):
    """Each block keeps half of the windows: so much of all classes together, within a window."""
    shares = computed_share(Predictor(0.5), *frames)
    assert set(shares) == set(CLASSES)
    assert 0.3 < np.mean(list(shares.values())) < 0.7
    assert all(0 <= share <= 1 for share in shares.values())
    assert len(set(shares.values())) > 1


def test_picture_on_outlines_shows_nothing_of_the_frame(frames, tmp_path):
    paths, annotations = frames
    pictures = []
    for gray in (0, 255):
        blank = tmp_path / f'{gray}' / paths[0].name
        blank.parent.mkdir()
        Image.new('RGB', (WIDTH, HEIGHT), (gray, gray, gray)).save(blank)
        drawn = tmp_path / f'{gray}-on-frame.png', tmp_path / f'{gray}-outlines.png'
        draw_frame(Predictor(0.0), blank, annotations, *drawn)
        pictures.append([np.asarray(Image.open(path)) for path in drawn])
    (black, first), (white, second) = pictures
    assert (black != white).any()
    assert (first == second).all()


def test_iou_leaves_unlabeled_pixels_out(tmp_path):
    for folder in ('found', 'true'):
        (tmp_path / folder).mkdir()
    true, found = np.zeros((4, 4), np.uint8), np.ones((4, 4), np.uint8)
    true[:2] = 1  # sky
    true[2, :] = 2  # building; the last row is unlabeled
    found[2, 2:] = 2
    Image.fromarray(found).save(tmp_path / 'found' / 'a.png')
    Image.fromarray(true).save(tmp_path / 'true' / 'a.png')
    iou = class_iou(tmp_path / 'found', tmp_path / 'true')
    assert iou['sky'] == pytest.approx(80)
    assert iou['building'] == pytest.approx(50)
    assert iou['car'] == 0
