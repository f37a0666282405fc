"""The view transform against loops and against boxes that go the other way."""

from __future__ import annotations

import math
import random
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy

import numpy as np
import pytest
import torch

pytest.importorskip('mmdet3d')
from sparsevit_mm.det3d.bevdet.bev_augmentation import BEVAugmentation
from sparsevit_mm.det3d.bevdet.cameras import CameraRig
from sparsevit_mm.det3d.bevdet.image_augmentation import CameraAugmentation
from sparsevit_mm.det3d.bevdet.lift_splat import BEVGrid, Calibration, LiftSplat, frustum
from sparsevit_mm.errors import ConfigError
from tests.helpers.boxes import boxes_at
from tests.helpers.ring import HEIGHT, WIDTH, ring_info, rotation

GRID = dict(x=(-6.0, 6.0, 1.5), y=(-8.0, 4.0, 2.0), z=(-9.0, 9.0, 9.0))


def random_calibration(rng, batch, cameras, flips=True):
    def stack(make):
        return torch.tensor(np.array([[make() for _ in range(cameras)] for _ in range(batch)]))

    def camera():
        focal = rng.uniform(20, 60)
        return [[focal, 0.3, rng.uniform(30, 50)], [0, focal * 1.1, rng.uniform(15, 35)], [0, 0, 1]]

    def place():
        matrix = np.eye(4)
        matrix[:3, :3] = rotation(*rng.uniform(-3, 3, 3))
        matrix[:3, 3] = rng.uniform(-2, 2, 3)
        return matrix

    def view():
        image = CameraAugmentation((48, 80), training=True, max_degrees=20)
        return image.choose(90, 160).matrix

    bev = [
        rotation(rng.uniform(-0.4, 0.4)) * rng.uniform(0.9, 1.1)
        * np.array([[rng.choice([-1, 1])], [rng.choice([-1, 1])], [1]])
        for _ in range(batch)
    ]  # fmt: skip
    return Calibration(stack(camera), stack(place), stack(view), torch.tensor(np.array(bev)))


def splat_by_loops(module, features, calibration):
    """Point by point: undo the image's augmentation, times depth, K⁻¹, pose, map's augmentation."""
    numbers = module.depth_net(features).detach().numpy()
    batch, cameras = calibration.cam2img.shape[:2]
    height, width = features.shape[2:]
    depths = np.arange(*module.depth)
    nx, ny, nz = (
        round((upper - lower) / step) for lower, upper, step in (GRID[axis] for axis in 'xyz')
    )
    out = np.zeros((batch, nz * module.out_channels, ny, nx))
    for b in range(batch):
        for n in range(cameras):
            cam2img, cam2bev, img_aug = (part[b, n].numpy() for part in calibration[:3])
            turn, offset = img_aug[:2, :2], img_aug[:2, 2]
            for row in range(height):
                for column in range(width):
                    values = numbers[b * cameras + n, :, row, column]
                    scores = np.exp(values[: len(depths)] - values[: len(depths)].max())
                    scores /= scores.sum()
                    pixel = np.array(
                        [
                            column * (width * module.stride - 1) / (width - 1),
                            row * (height * module.stride - 1) / (height - 1),
                        ]
                    )
                    raw = np.linalg.solve(turn, pixel - offset)
                    for score, depth in zip(scores, depths):
                        ray = np.array([raw[0] * depth, raw[1] * depth, depth])
                        point = cam2bev[:3, :3] @ np.linalg.solve(cam2img, ray) + cam2bev[:3, 3]
                        point = calibration.bev_aug[b].numpy() @ point
                        places = [
                            (value - GRID[axis][0]) / GRID[axis][2]
                            for value, axis in zip(point, 'xyz')
                        ]
                        whole = math.floor if module.grid.rounding == 'floor' else int
                        x, y, z = map(whole, places)
                        if 0 <= x < nx and 0 <= y < ny and 0 <= z < nz:
                            first = z * module.out_channels
                            out[b, first : first + module.out_channels, y, x] += (
                                score * values[len(depths) :]
                            )
    return torch.tensor(out)


@pytest.mark.parametrize('rounding', ['truncate', 'floor'])
@pytest.mark.parametrize('seed', [0, 1, 2])
def test_equals_a_loop_over_points(seed, rounding):
    rng = np.random.default_rng(seed)
    random.seed(seed)
    torch.manual_seed(seed)
    module = LiftSplat(5, 4, GRID, depth=(1, 9, 0.8), rounding=rounding).double()
    calibration = random_calibration(rng, batch=2, cameras=3)
    features = torch.randn(6, 5, 3, 5, dtype=torch.float64)
    expected = splat_by_loops(module, features, calibration)
    assert (expected != 0).any(dim=1).sum() > 20  # many cells of both frames
    torch.testing.assert_close(module(features, calibration), expected, rtol=1e-12, atol=1e-12)


def test_truncation_takes_what_lies_just_outside_into_the_first_cell():
    points = torch.tensor([[-6.1, 0.0, 0.0], [-7.4, 0.0, 0.0], [-7.6, 0.0, 0.0], [5.9, 3.9, 8.9]])
    cells, inside = BEVGrid(**GRID).locate(points)
    assert inside.tolist() == [True, True, False, True]
    assert cells[:2, 0].tolist() == [0, 0]
    _, inside = BEVGrid(**GRID, rounding='floor').locate(points)
    assert inside.tolist() == [False, False, False, True]


def test_frustum_of_the_released_networks():
    pixels = frustum(torch.arange(1.0, 60.0), 16, 44, 16)
    assert pixels.shape == (59, 16, 44, 3)
    torch.testing.assert_close(pixels[0, 0, :, 0], torch.linspace(0, 703, 44))
    torch.testing.assert_close(pixels[0, :, 0, 1], torch.linspace(0, 255, 16))
    assert pixels[7, 3, 5, 2] == 8


def landing_cell(pixel, depth, camera, calibration, size):
    """The (y, x) cell that a single lit pixel of one camera reaches through the whole module."""
    grid = dict(x=(-51.2, 51.2, 0.8), y=(-51.2, 51.2, 0.8), z=(-10.0, 10.0, 20.0))
    module = LiftSplat(1, 1, grid, depth=(depth, depth + 0.5, 1), stride=1).double()
    with torch.no_grad():
        module.depth_net.weight.copy_(torch.tensor([0.0, 1.0]).view(2, 1, 1, 1))
        module.depth_net.bias.zero_()
        features = torch.zeros(calibration.cam2img.shape[1], 1, *size, dtype=torch.float64)
        features[camera, 0, round(pixel[1]), round(pixel[0])] = 1
        lit = module(features, calibration)[0, 0].nonzero()
    assert len(lit) == 1
    return lit[0].tolist()


@pytest.mark.parametrize('bev_frame', ['lidar', 'ego'])
@pytest.mark.parametrize('seed', range(2))
def test_boxes_land_in_their_cells_from_every_camera_that_sees_them(seed, bev_frame):
    rng, size = np.random.default_rng(seed), (64, 176)
    random.seed(seed)
    info = ring_info(rng)
    rig = CameraRig.from_info(info, bev_frame=bev_frame)
    images = CameraAugmentation(size, training=True)
    img_aug = np.stack([images.choose(HEIGHT, WIDTH).matrix for _ in rig.cam2img])
    # Boxes whose augmented middles are middles of cells: nearest pixels then suffice.
    results = dict(bev_aug=np.eye(3), lidar2bev=rig.lidar2bev)
    state = random.getstate()
    bev_aug = BEVAugmentation().transform(dict(results))['bev_aug']
    random.setstate(state)
    cells = rng.integers(20, 108, (40, 2))
    middles = np.column_stack([-51.2 + 0.8 * (cells + 0.5), rng.uniform(-1.5, 0, 40)])
    in_bev = middles @ np.linalg.inv(bev_aug).T
    to_lidar = np.linalg.inv(rig.lidar2bev)
    in_lidar = in_bev @ to_lidar[:3, :3].T + to_lidar[:3, 3]
    boxes = boxes_at(in_lidar, rng)
    moved = BEVAugmentation().transform(dict(results, gt_bboxes_3d=boxes.clone()))
    np.testing.assert_allclose(moved['bev_aug'], bev_aug)
    assert np.abs(moved['gt_bboxes_3d'].gravity_center.numpy() - middles).max() < 1e-4

    calibration = Calibration(
        *(torch.tensor(part)[None] for part in (rig.cam2img, rig.cam2bev, img_aug, bev_aug))
    )
    seen = np.zeros(len(middles), dtype=int)
    for camera, name in enumerate(info['images']):
        lidar2cam = np.array(info['images'][name]['lidar2cam'])
        in_camera = in_lidar @ lidar2cam[:3, :3].T + lidar2cam[:3, 3]
        raw = in_camera @ rig.cam2img[camera].T
        pixels = np.column_stack([raw[:, :2] / raw[:, 2:], np.ones(len(raw))]) @ img_aug[camera].T
        for number, (pixel, depth) in enumerate(zip(pixels[:, :2], in_camera[:, 2])):
            if depth > 1 and (pixel >= 0).all() and (pixel <= [175, 63]).all():
                expected = cells[number, ::-1].tolist()
                assert landing_cell(pixel, depth, camera, calibration, size) == expected
                seen[number] += 1
    assert (seen > 0).sum() > 20
    assert seen.max() > 1  # the views overlap


def test_remembered_calibration_stays_exact():
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    plain = LiftSplat(5, 4, GRID, depth=(1, 9, 1)).eval()
    cached = LiftSplat(5, 4, GRID, depth=(1, 9, 1), cache_calibration=True).eval()
    cached.load_state_dict(plain.state_dict())
    calls = []
    compute = cached._compute_hits
    cached._compute_hits = lambda *arguments: calls.append(1) or compute(*arguments)
    calibration = random_calibration(rng, 1, 2)
    for _ in range(3):
        features = torch.randn(2, 5, 3, 5)
        assert torch.equal(cached(features, calibration), plain(features, calibration))
    assert len(calls) == 1
    # Changed in place, by as little as a bit: computed anew, and remembered anew.
    calibration.cam2bev[0, 1, 0, 3] += 1e-12
    cached(features, calibration)
    assert len(calls) == 2
    for changed in (random_calibration(rng, 1, 2), random_calibration(rng, 2, 1)):
        assert torch.equal(cached(features, changed), plain(features, changed))
    assert torch.equal(cached(features[..., :4], changed), plain(features[..., :4], changed))
    assert len(calls) == 5
    cached.train()(features, changed)
    assert len(calls) == 6
    assert set(cached.state_dict()) == {'depth_net.weight', 'depth_net.bias'}


def test_cache_filled_in_inference_mode_serves_a_pass_with_gradients():
    rng = np.random.default_rng(0)
    module = LiftSplat(5, 4, GRID, depth=(1, 9, 1), cache_calibration=True).eval()
    with torch.inference_mode():
        calibration = random_calibration(rng, 1, 2)
        expected = module(torch.ones(2, 5, 3, 5), calibration)
    features = torch.ones(2, 5, 3, 5, requires_grad=True)
    for net in (module, deepcopy(module)):
        bev = net(features, calibration)
        assert torch.equal(bev, expected)
        bev.square().sum().backward()
        assert features.grad.abs().sum() > 0


def test_threads_with_calibrations_of_their_own_share_a_module():
    rng = np.random.default_rng(0)
    module = LiftSplat(5, 4, GRID, depth=(1, 9, 1), cache_calibration=True).eval()
    plain = LiftSplat(5, 4, GRID, depth=(1, 9, 1)).eval()
    plain.load_state_dict(module.state_dict())
    features = torch.randn(2, 5, 3, 5)
    calibrations = [random_calibration(rng, 1, 2) for _ in range(4)]
    expected = [plain(features, calibration) for calibration in calibrations]

    def passes(number):
        return [module(features, calibrations[number]) for _ in range(50)]

    with ThreadPoolExecutor(4) as threads:
        for number, found in enumerate(threads.map(passes, range(4))):
            for bev in found:  # to the last bit, with a message that says how far off
                torch.testing.assert_close(bev, expected[number], rtol=0, atol=0)


def test_gradients():
    rng = np.random.default_rng(3)
    torch.manual_seed(3)
    module = LiftSplat(2, 2, GRID, depth=(1, 5, 1)).double()
    calibration = random_calibration(rng, 1, 2)
    features = torch.randn(2, 2, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda maps: module(maps, calibration), features)


def test_mixed_precision_moves_no_point():
    rng = np.random.default_rng(4)
    module = LiftSplat(5, 4, GRID, depth=(1, 9, 1))
    calibration = random_calibration(rng, 1, 3)
    features = torch.randn(3, 5, 3, 5)
    with torch.autocast('cpu', torch.bfloat16):
        half = module(features, calibration)
    full = module(features, calibration)
    assert half.dtype == torch.float32
    assert torch.equal(half != 0, full != 0)
    torch.testing.assert_close(half, full, rtol=0.05, atol=0.05)


@pytest.mark.parametrize(
    ('changed', 'message'),
    [
        (dict(grid=dict(x=(0, 1, 1), y=(0, 1, 1))), 'must have x, y and z'),
        (dict(grid=dict(GRID, x=(1, 0, 0.5))), r'grid\.x is \(1, 0, 0\.5\)'),
        (dict(depth=(0, 9, 1)), 'positive first depth'),
        (dict(rounding='round'), "rounding is 'round'"),
    ],
)
def test_refuses(changed, message):
    with pytest.raises(ConfigError, match=message):
        LiftSplat(5, 4, **{'grid': GRID, **changed})


def test_refuses_images_that_are_not_those_of_the_cameras():
    module = LiftSplat(5, 4, GRID)
    calibration = random_calibration(np.random.default_rng(0), 1, 6)
    with pytest.raises(ConfigError, match='features are of 5 images'):
        module(torch.randn(5, 5, 3, 5), calibration)
