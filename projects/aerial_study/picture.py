"""Draws which windows of an aerial frame are computed, with what that costs and computes.

    SPARSEVIT_MM_DATA=data python -m projects.aerial_study.picture --out kept_windows.jpg

Licenses allow to publish these pictures if they name the author, which they do.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.registry import DATASETS, DefaultScope

from projects.importance_study.plan import DATA_SETS, Case
from projects.importance_study.run import StudyRun
from sparsevit_mm.apis.inference import ImagePredictor, Prediction
from sparsevit_mm.apis.user_errors import user_errors_exit
from sparsevit_mm.engine.input_scale import size_divisor
from sparsevit_mm.engine.objects import object_pixels
from sparsevit_mm.errors import ConfigError
from sparsevit_mm.profiling.cost_report import cost_report
from sparsevit_mm.profiling.object_share import ObjectShare
from sparsevit_mm.pruning.schedule import PruningSchedule
from sparsevit_mm.visualization.images import write_image
from sparsevit_mm.visualization.kept_windows import draw_kept_windows

AUTHORS = {
    True: 'Frame: KIT AIS Data Set, CC BY 3.0.',
    False: 'Frame: © Yauhen Kharuzhy and the Minsk OpenStreetMap community, CC BY-SA.',
}
"""Whom a picture names; the key says whether the frame is one of KIT's."""

LEAST_OBJECTS = 10
"""A frame that is chosen has at least so many."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Draws a frame."""
    args = _parser().parse_args(arguments)
    run = StudyRun(DATA_SETS[args.data], args.seed, args.work_dir)
    with user_errors_exit():
        drawer = FrameDrawer(run, Case(args.importance, args.importance, args.ratio))
        frame = args.frame or drawer.clearest_frame()
        picture, caption = drawer.draw(frame)
        write_image(args.out, picture)
        print(f'{frame}: {args.out}\n{caption}')


class FrameDrawer:
    """Draws test frames with the windows that a network computes.

    Args:
        run: The study, whose weights are used.
        case: The network.
    """

    def __init__(self, run: StudyRun, case: Case) -> None:
        weights = str(run.weights(case.weights))
        self.predictor = ImagePredictor(
            run.config_file, weights, 'cpu', cfg_options=run.test_options(case)
        )
        cfg = self.predictor.cfg
        with DefaultScope.overwrite_default_scope(cfg.default_scope):
            self.dataset: Any = DATASETS.build(cfg.test_dataloader.dataset)
        infos = [self.dataset.get_data_info(index) for index in range(len(self.dataset))]
        records = json.loads(Path(cfg.test_evaluator.ann_file).read_text())['images']
        self.scenes = {record['file_name']: record['scene'] for record in records}
        self.infos = {Path(info['img_path']).name: info for info in infos}

    def shares(self, name: str, prediction: Prediction) -> ObjectShare:
        """Computed shares of the object pixels of a frame, and of all its pixels."""
        backbone = self.predictor.backbone
        assert backbone is not None
        share = ObjectShare(backbone.arch.patch_size)
        classes = self.dataset.metainfo['classes']
        pixels = object_pixels(prediction.sample, self.infos[name], classes, None)
        share.add(prediction.passes[0], None if pixels is None else pixels[0])
        return share

    def clearest_frame(self) -> str:
        """Name of the frame with most of the object pixels computed for its share of all pixels."""
        names = [n for n, info in self.infos.items() if len(info['instances']) >= LEAST_OBJECTS]
        if not names:
            raise ConfigError(
                f'frame is not given, but must be: no test frame has {LEAST_OBJECTS} objects.'
            )

        def ratio(name: str) -> float:
            share = self.shares(name, self._predict(name))
            return (share.objects or 0.0) / (share.all or 1.0)

        return max(names, key=ratio)

    def draw(self, name: str) -> tuple[Any, str]:
        """Draws a frame.

        Args:
            name: Name of its file.

        Returns:
            (H, W, 3) uint8 RGB, and the text that is written under it.

        Raises:
            ConfigError: If no test frame has the name.
        """
        if name not in self.infos:
            raise ConfigError(f'frame is {name}, but must be one of {", ".join(self.infos)}.')
        backbone = self.predictor.backbone
        assert backbone is not None
        prediction = self._predict(name)
        share = self.shares(name, prediction)
        stages = [share.of_stage(stage)[0] for stage in range(len(backbone.arch.depths))]
        each = ' / '.join('all' if found is None else f'{100 * found:.0f}' for found in stages)
        height, width = prediction.image.shape[:2]
        sparse, dense = self._gmacs(height, width)
        caption = (
            f'Computed: {share.objects or 1:.0%} of the pixels of objects ({each}% in stages 0 to '
            f'{len(stages) - 1}), {share.all or 1:.0%} of all pixels.\n'
            f'The whole model costs {sparse:.1f} GMACs on this frame, dense {dense:.1f}. '
            f'{AUTHORS[self.scenes[name].startswith("kit_")]}'
        )
        picture = draw_kept_windows(
            prediction.image,
            prediction.passes[0],
            resized=(height, width),
            patch_size=backbone.arch.patch_size,
            boxes=[instance['bbox'] for instance in self.infos[name]['instances']],
            caption=caption,
        )
        return picture, caption

    def _predict(self, name: str) -> Prediction:
        path = self.infos[name]['img_path']
        return self.predictor.predict(self.predictor.read(path), path)

    def _gmacs(self, height: int, width: int) -> tuple[float, float]:
        """GMACs of the whole model with its schedule, and with all windows."""
        backbone, cfg = self.predictor.backbone, self.predictor.cfg
        assert backbone is not None
        divisor = size_divisor(cfg)
        sides = (-(-height // divisor) * divisor, -(-width // divisor) * divisor)
        own, found = backbone.pruning_schedule, []
        for schedule in (own, PruningSchedule.dense(backbone.arch.depths)):
            backbone.pruning_schedule = schedule
            report = cost_report(self.predictor.model, cfg, *sides, 1, backbone)
            found.append(report.macs / 1e9)
        backbone.pruning_schedule = own
        return found[0], found[1]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--out', type=Path, required=True, help='the picture')
    parser.add_argument('--frame', help='name of a test frame; by default the clearest one')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/importance_study'))
    aerial = [name for name, data in DATA_SETS.items() if data.folder == 'aerial_cars']
    parser.add_argument('--data', choices=aerial, default='aerial_cars')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--importance', default='contrast')
    parser.add_argument('--ratio', type=float, default=0.7, help='of skipped windows')
    return parser


if __name__ == '__main__':
    main()
