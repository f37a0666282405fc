"""tools/image_demo.py: any picture in, predictions and kept windows out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from projects.street_scenes.dataset import DemoSettings, make_dataset
from projects.street_scenes.six_cameras import SixCameraSettings, make_six_camera_dataset
from projects.street_scenes.surroundings import CAMERA_NAMES
from tests.tools.conftest import ROOT, call_tool, files_below, run_tool


@pytest.fixture
def pictures(tmp_path):
    """A folder with pictures of every kind, two of which share a name."""
    rng = np.random.default_rng(0)
    folder = tmp_path / 'pictures'
    folder.mkdir()
    color = rng.integers(0, 256, (50, 70, 3), dtype=np.uint8)
    Image.fromarray(color).save(folder / 'color.jpg')
    Image.fromarray(color[:3, :5]).save(folder / 'color.png')
    Image.fromarray(color[..., 0]).save(folder / 'gray.png')
    Image.fromarray(np.dstack([color, color[..., :1]])).save(folder / 'rgba.png')
    Image.fromarray(rng.integers(0, 65536, (40, 130), dtype=np.uint16)).save(folder / 'deep.png')
    return folder


def test_folder_of_a_detector(tiny, trained, pictures, tmp_path):
    (pictures / 'empty.png').touch()
    (pictures / 'notes.txt').write_text('no picture')
    out = tmp_path / 'out'
    run = run_tool(
        'image_demo', pictures, tiny.detector, trained / 'epoch_3.pth', '--out-dir', out,
        '--score-thr', '0.0', '--device', 'cpu',
    )  # fmt: skip
    names = ['color.jpg.png', 'color.png.png', 'deep.png', 'gray.png', 'rgba.png']
    folders = ['kept_windows', 'predictions']
    assert files_below(out) == sorted(
        folders + [f'{folder}/{name}' for folder in folders for name in names]
    )
    # The good ones are done, the empty one is refused in a sentence and in the exit code.
    assert run.code == 1
    assert 'Traceback' not in run.stderr
    assert run.stderr.count('error: ') == 1
    assert f'error: the image {pictures / "empty.png"} cannot be read: it is empty.' in run.stderr
    with Image.open(out / 'predictions' / 'deep.png') as drawn:
        assert drawn.size == (130, 40)


def test_segmentor_without_a_checkpoint(tiny, pictures, tmp_path, capsys):
    out = tmp_path / 'out'
    call_tool('image_demo', pictures / 'rgba.png', tiny.segmentor, '--out-dir', out)
    assert files_below(out) == [
        'kept_windows', 'kept_windows/rgba.png', 'predictions', 'predictions/rgba.png',
    ]  # fmt: skip
    assert 'weights are random' in capsys.readouterr().err
    with Image.open(out / 'predictions' / 'rgba.png') as drawn:
        assert drawn.size == (70, 50)


def test_what_sparse_heads_computed_is_drawn_too(pictures, tmp_path):
    """A row of panels more than without head ratios, which are dimmed where heads skip windows."""
    config = ROOT / 'projects/street_scenes/configs/sparsevit-mini-heads_upernet_finetune-100it_'
    sizes = []
    for name, head_ratios in (('dense', [0, 0, 0, 0]), ('sparse', [0.7, 0.5, 0, 0])):
        schedule, out = tmp_path / f'{name}.json', tmp_path / name
        schedule.write_text(json.dumps(dict(ratios=[[0.5] * 2] * 4, head_ratios=head_ratios)))
        call_tool(
            'image_demo', pictures / 'color.jpg', f'{config}demo-224x448.py', '--out-dir', out,
            '--schedule', schedule,
        )  # fmt: skip
        with Image.open(out / 'kept_windows' / 'color.png') as drawn:
            sizes.append(drawn.size)
    assert sizes[1][0] == sizes[0][0] and sizes[1][1] > 1.3 * sizes[0][1]


def test_ratios_change_the_kept_windows(tiny, trained, pictures, tmp_path):
    drawn = []
    for ratios in ('0', '0.8'):
        out = tmp_path / ratios
        call_tool(
            'image_demo', pictures / 'gray.png', tiny.detector, trained / 'epoch_3.pth',
            '--out-dir', out, '--ratios', ratios,
        )  # fmt: skip
        drawn.append(np.asarray(Image.open(out / 'kept_windows' / 'gray.png')).astype(float))
    # Skipped windows are dimmed.
    assert drawn[1].mean() < drawn[0].mean() - 5


def test_backbone_without_schedule_draws_predictions_only(tiny, pictures, tmp_path, capsys):
    out = tmp_path / 'out'
    call_tool('image_demo', pictures / 'gray.png', tiny.plain, '--out-dir', out)
    assert files_below(out) == ['predictions', 'predictions/gray.png']
    assert 'no pruning schedule' in capsys.readouterr().err


def test_network_that_sees_crops_draws_predictions_only(tiny, pictures, tmp_path, capsys):
    out = tmp_path / 'out'
    call_tool(
        'image_demo', pictures / 'gray.png', tiny.segmentor, '--out-dir', out, '--cfg-options',
        'model.test_cfg.mode=slide', 'model.test_cfg.crop_size=(40,40)',
        'model.test_cfg.stride=(30,30)',
    )  # fmt: skip
    assert files_below(out) == ['predictions', 'predictions/gray.png']
    assert 'sees crops' in capsys.readouterr().err


FCOS3D = (
    ROOT / 'projects/street_scenes/configs/fcos3d_sparsevit-mini_fpn_adaptation_demo-224x448.py'
)


@pytest.fixture
def scenes(tmp_path):
    make_dataset(tmp_path / 'scenes', DemoSettings(1, 2, 192, 96, seed=5), workers=1)
    infos = tmp_path / 'scenes' / 'annotations' / 'nuscenes_infos_validation.json'
    return tmp_path / 'scenes' / 'images' / 'validation', infos


def test_3d_boxes(scenes, tmp_path):
    pytest.importorskip('mmdet3d')
    folder, infos = scenes
    out, plain = tmp_path / 'out', tmp_path / 'plain'
    for target, threshold in ((out, 0.0), (plain, 1.0)):
        call_tool(
            'image_demo', folder, FCOS3D, '--infos', infos, '--out-dir', target, '--ratios', 0.5,
            '--score-thr', threshold,
        )  # fmt: skip
    names = sorted(path.name for path in folder.iterdir())
    assert len(names) == 2
    assert files_below(out) == sorted(
        f'{kind}{name}' for kind in ('kept_windows', 'predictions')
        for name in ('', *(f'/{Path(name).stem}.png' for name in names))
    )  # fmt: skip
    for name in names:
        image = np.asarray(Image.open(folder / name).convert('RGB'))
        undrawn = np.asarray(Image.open(plain / 'predictions' / f'{Path(name).stem}.png'))
        np.testing.assert_array_equal(undrawn, image)
        drawn = np.asarray(Image.open(out / 'predictions' / f'{Path(name).stem}.png'))
        assert (drawn != image).any()


def test_3d_boxes_need_the_camera(scenes, tmp_path, capsys):
    pytest.importorskip('mmdet3d')
    folder, infos = scenes
    lost = tmp_path / 'lost.png'
    lost.write_bytes(next(folder.iterdir()).read_bytes())
    singular = tmp_path / 'singular.json'
    content = json.loads(infos.read_text())
    for frame in content['data_list']:
        frame['images']['CAM_FRONT']['cam2img'] = np.zeros((3, 3)).tolist()
    singular.write_text(json.dumps(content))
    for picture, options, message in (
        (folder, [], 'infos is missing'),
        (lost, ['--infos', infos], f'lost.png is not in {infos}'),
        (folder, ['--infos', tmp_path / 'no.pkl'], 'no.pkl does not exist'),
        (folder, ['--infos', singular], 'a matrix that can be inverted'),
    ):
        with pytest.raises(SystemExit) as end:
            call_tool('image_demo', picture, FCOS3D, '--out-dir', tmp_path / 'out', *options)
        assert end.value.code == 1
        assert message in capsys.readouterr().err.strip().splitlines()[-1]
        assert not (tmp_path / 'out').exists()


BEVDET = ROOT / 'projects/street_scenes/configs/bevdet_sparsevit-mini_adaptation_demo6-112x336.py'


@pytest.fixture(scope='module')
def around(tmp_path_factory):
    """A six-camera data set of two frames."""
    pytest.importorskip('mmdet3d')
    root = tmp_path_factory.mktemp('around') / 'six'
    make_six_camera_dataset(root, SixCameraSettings(1, 1, 128, 64, seed=5), workers=1)
    return root, root / 'annotations' / 'nuscenes_infos_validation.json'


def test_boxes_on_all_cameras_and_from_above(around, tmp_path):
    """One picture names the frame; the five others are found."""
    root, infos = around
    picture = root / 'samples' / 'CAM_BACK' / 'validation-000000__CAM_BACK.jpg'
    call_tool(
        'image_demo', picture, BEVDET, '--infos', infos, '--out-dir', tmp_path / 'out', '--ratios',
        0.5, '--score-thr', 0.0, '--device', 'cpu',
    )  # fmt: skip
    windows = [f'kept_windows/validation-000000__{name}.png' for name in sorted(CAMERA_NAMES)]
    assert files_below(tmp_path / 'out') == [
        'kept_windows', *windows, 'predictions', 'predictions/validation-000000__CAM_BACK.png',
        'shares', 'shares/validation-000000__CAM_BACK.png',
    ]  # fmt: skip
    drawn = np.asarray(Image.open(tmp_path / 'out' / 'predictions' / f'{picture.stem}.png'))
    above = drawn[10:-90, -drawn.shape[0] + 10 : -10].astype(int)
    assert (above < 60).all(-1).sum() > 200, 'outlines of annotated boxes'
    assert (np.ptp(above, axis=-1) > 60).sum() > 200, 'predicted boxes have colors'
    sizes = {Image.open(tmp_path / 'out' / window).size for window in windows}
    assert len(sizes) == 1


def test_cameras_share_the_windows_of_their_frame(around, tmp_path):
    root, infos = around
    picture = root / 'samples' / 'CAM_BACK' / 'validation-000000__CAM_BACK.jpg'
    drawn = {}
    key = 'model.backbone.allocation'
    for allocation, options in (
        ('image', [f'{key}=image']),
        ('batch', [f'{key}.type=batch', f'{key}.group_size=6']),
    ):
        call_tool(
            'image_demo', picture, BEVDET, '--infos', infos, '--out-dir', tmp_path / allocation,
            '--ratios', 0.7, '--device', 'cpu', '--cfg-options', *options,
            'model.backbone.importance=contrast',
        )  # fmt: skip
        drawn[allocation] = np.asarray(
            Image.open(tmp_path / allocation / 'shares' / f'{picture.stem}.png')
        )
    image, batch = drawn['image'], drawn['batch']
    assert image.shape == batch.shape
    assert (image != batch).any(-1).mean() > 0.02
    # The header, which tells the windows of the whole frame, is the same.
    assert np.array_equal(image[:50], batch[:50])


def test_frames_need_all_of_their_pictures(around, tmp_path, capsys):
    root, infos = around
    alone = tmp_path / 'validation-000000__CAM_FRONT.jpg'
    alone.write_bytes((root / 'samples' / 'CAM_FRONT' / alone.name).read_bytes())
    other = tmp_path / 'other.jpg'
    other.write_bytes(alone.read_bytes())
    for picture, options, message in (
        (alone, ['--infos', infos], 'CAM_FRONT_LEFT.jpg of CAM_FRONT_LEFT is missing'),
        (other, ['--infos', infos], f'other.jpg is not in {infos}'),
        (alone, [], 'infos is missing'),
    ):
        with pytest.raises(SystemExit) as end:
            call_tool('image_demo', picture, BEVDET, '--out-dir', tmp_path / 'out', *options)
        assert end.value.code == 1
        assert message in capsys.readouterr().err.strip().splitlines()[-1]
        assert not (tmp_path / 'out').exists()


def test_the_inference_form_predicts_the_same_and_needs_a_checkpoint(
    tiny, trained, pictures, tmp_path, capsys
):
    drawn = []
    for options in ((), ('--optimize',)):
        out = tmp_path / str(len(drawn))
        call_tool(
            'image_demo', pictures / 'color.jpg', tiny.detector, trained / 'epoch_3.pth',
            '--out-dir', out, *options,
        )  # fmt: skip
        drawn.append(np.asarray(Image.open(out / 'predictions' / 'color.png')).astype(float))
    assert (drawn[0] == drawn[1]).mean() > 0.99
    with pytest.raises(SystemExit):
        call_tool('image_demo', pictures, tiny.detector, '--out-dir', tmp_path, '--optimize')
    assert 'error: optimize is float32, but there is no checkpoint' in capsys.readouterr().err
