"""Plan of the study: what is tested and timed, by name."""

from __future__ import annotations

from projects.importance_study.plan import LONGER, Case

IMPORTANCE = 'contrast'
ADAPTED, WITH_HEADS = IMPORTANCE, f'{IMPORTANCE}+heads'

NO_HEADS = (0.0, 0.0, 0.0, 0.0)


def fine(ratio: float) -> tuple[float, ...]:
    """Head ratios that skip windows at the two finest resolutions, where nearly all MACs are."""
    return ratio, ratio, 0.0, 0.0


CASES = {
    'dense': Case(LONGER),
    **{f'dense at {scale}×': Case(LONGER, scale=scale) for scale in (0.85, 0.7, 0.6, 0.5)},
    **{f'backbone {ratio}': Case(ADAPTED, IMPORTANCE, ratio) for ratio in (0.5, 0.7)},
    'adapted, all windows': Case(WITH_HEADS, IMPORTANCE, 0.0, head_ratios=NO_HEADS),
    **{
        f'backbone {ratio}, heads {heads}': Case(
            WITH_HEADS, IMPORTANCE, ratio, head_ratios=fine(heads)
        )
        for ratio, heads in ((0.0, 0.7), (0.5, 0.5), (0.5, 0.7), (0.7, 0.7), (0.7, 0.85))
    },
}
"""By name: the dense network at every resolution, and windows skipped in the backbone, or in
backbone, neck and head. All trainings are equally long."""
