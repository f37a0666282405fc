"""Predicts on an image or a folder of images, and draws which windows were computed."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from sparsevit_mm.apis.inference import ImagePredictor
from sparsevit_mm.apis.progress import LoggedProgress
from sparsevit_mm.apis.schedules import read_schedule
from sparsevit_mm.apis.surround_demo import write_frames
from sparsevit_mm.checks.configs import check_writable_folder
from sparsevit_mm.det3d.datasets.infos import read_camera_matrices
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.visualization.images import find_images, write_image


@dataclass(frozen=True)
class DemoReport:
    """What was written, and which images could not be read.

    Attributes:
        predictions: Images with boxes, masks or labels that were written.
        kept_windows: Images of kept windows that were written.
        refused: One sentence for each image that could not be read.
        notes: One sentence for each thing that is not as one might expect.
    """

    predictions: list[Path]
    kept_windows: list[Path]
    refused: list[str]
    notes: list[str]


def demonstrate(
    images: str,
    config: str,
    checkpoint: str | None = None,
    *,
    out_dir: str = 'outputs',
    infos: str | None = None,
    device: str | None = None,
    score_thr: float = 0.3,
    ratios: str | None = None,
    schedule: str | None = None,
    optimize: str | None = None,
    cfg_options: Mapping[str, Any] | None = None,
) -> DemoReport:
    """Predicts on one image or on all in a folder and writes what came out.

    Args:
        images: An image of any kind, or a folder of images. For a network that takes the
            images of several cameras together, one or more of those of each frame.
        config: Path of the config.
        checkpoint: Path or address of the weights; None leaves them random.
        infos: Info file of MMDetection3D with the calibration of the images, which networks that
            find 3D boxes need; images are found in it by the names of their files.
        out_dir: Gets `predictions/<name>.png` and `kept_windows/<name>.png`, see also
            `write_frames`.
        device: Such as 'cpu' or 'cuda:0'; by default a GPU if there is one.
        score_thr: Detections below this score are not drawn.
        ratios: Pruning ratios in place of the config's, as text.
        schedule: JSON file with the schedule, instead of `ratios`.
        optimize: Dtype of the inference form of the model, see `optimize_for_inference`; None for
            the plain model.
        cfg_options: Fields of the config to replace.

    Returns:
        What was written and what was not.

    Raises:
        SparseVitError: If an argument is wrong, or no image can be read; nothing was written
            then.
    """
    paths = find_images(images)
    cameras = read_camera_matrices(infos) if infos is not None else {}
    check_writable_folder(out_dir, 'out_dir')
    predictor = ImagePredictor(
        config, checkpoint, device, read_schedule(ratios, schedule), cfg_options, optimize
    )
    if predictor.needs_calibration:
        _check_calibrated(paths, cameras, infos)
    report = DemoReport([], [], [], [])
    if checkpoint is None:
        report.notes.append('no checkpoint was given: the weights are random, predictions too.')
    if predictor.takes_frames:
        assert infos is not None
        written = write_frames(predictor, paths, infos, Path(out_dir), score_thr)
        for kind, targets in zip((report.predictions, report.kept_windows), written):
            kind.extend(targets)
        _note_missing_schedule(predictor, report)
        return report
    names = _output_names(paths)
    crops = False
    for path, name in _with_progress(list(zip(paths, names))):
        try:
            image = predictor.read(path)
        except ConfigError as error:
            report.refused.append(str(error))
            continue
        prediction = predictor.predict(image, str(path), cameras.get(path.name))
        target = Path(out_dir) / 'predictions' / name
        target.parent.mkdir(parents=True, exist_ok=True)
        predictor.save(prediction, target, score_thr)
        report.predictions.append(target)
        windows = predictor.draw_windows(prediction)
        if windows is not None:
            target = Path(out_dir) / 'kept_windows' / name
            write_image(target, windows)
            report.kept_windows.append(target)
        crops |= len(prediction.passes) > 1
    _note_missing_schedule(predictor, report)
    if crops:
        report.notes.append('the network sees crops: kept windows are drawn for whole images only.')
    if not report.predictions:
        raise ConfigError(report.refused[0])
    return report


def _with_progress(images: Sequence[tuple[Path, str]]) -> Iterator[tuple[Path, str]]:
    """Yields images and shows on standard error how many are done, if there are several."""
    with LoggedProgress(*Progress.get_default_columns(), console=Console(stderr=True)) as progress:
        task = progress.add_task('Images', total=len(images), visible=len(images) > 1)
        for done, image in enumerate(images, 1):
            yield image
            if len(images) > 1:
                progress.update(task, completed=done)


def _note_missing_schedule(predictor: ImagePredictor, report: DemoReport) -> None:
    if predictor.backbone is None:
        report.notes.append('the backbone has no pruning schedule: there are no kept windows.')


def _check_calibrated(paths: Sequence[Path], known: Container[str], infos: str | None) -> None:
    if infos is None:
        raise ConfigError(
            'infos is missing, but a network that finds 3D boxes needs the calibration of the '
            'camera: name an info file of MMDetection3D that lists the images.'
        )
    unknown = [path.name for path in paths if path.name not in known]
    if unknown:
        raise ConfigError(f'the image {unknown[0]} is not in {infos}, whose calibration it needs.')


def _output_names(paths: Sequence[Path]) -> list[str]:
    """A name for each image: its own with .png; where two are equal, the old suffix is kept too."""
    stems = [path.stem for path in paths]
    return [f'{path.stem if stems.count(path.stem) == 1 else path.name}.png' for path in paths]
