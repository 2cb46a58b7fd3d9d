"""Motion that does not show its prompt's action is drawn again."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from hmr4d.methods.known_actions import warn_of_other_actions
from hmr4d.methods.motion2to3.pipeline import Motion2to3Pipeline
from hmr4d.nn.action_index import ACTION_AGREEMENT, DRAW, ActionIndex, KnownAction
from hmr4d.nn.motion_recognizer import MotionRecognizer, motion_summary
from hmr4d.utils.randomness import mix_seed
from tests.methods.motion2to3.tiny import TEXT_DIM, tiny_denoiser, tiny_pipeline

TEXTS, SECONDS, SEEDS = ["a walk", "a long jump", "bows"], [1.0, 1.5, 1.2], [3, 4, -5]


def pipeline(max_draws: int, accepted_from: float) -> Motion2to3Pipeline:
    """A tiny pipeline with a random recognizer of motion."""
    made = tiny_pipeline(tiny_denoiser(), num_views=2, step="ddim", num_inference_steps=3)
    made.sampling = replace(made.sampling, max_draws=max_draws, accepted_from=accepted_from)
    actions = [KnownAction(name, name, 1, 2.0, 1.0, 3.0) for name in ("walk", "bow")]
    size = len(motion_summary(torch.rand(9, 22, 3), 20.0))
    weight = 0.1 * torch.randn(2, size, generator=torch.Generator().manual_seed(0))
    recognizer = MotionRecognizer(("walk", "bow"), weight, torch.zeros(2))
    made.actions = ActionIndex(actions, torch.eye(TEXT_DIM)[:2], motion_recognizer=recognizer)
    return made


def test_an_accepted_first_draw_is_the_motion_of_one_draw() -> None:
    one = pipeline(1, 0.9).sample(TEXTS, seconds=SECONDS, seed=SEEDS)
    for several in (pipeline(4, 0.0), pipeline(1, 1.0)):
        assert torch.equal(several.sample(TEXTS, seconds=SECONDS, seed=SEEDS).joints3d, one.joints3d)


def test_motion_that_ignores_the_text_is_drawn_once() -> None:
    one, several = (
        pipeline(n, 1.0).sample(TEXTS, seconds=SECONDS, seed=SEEDS, guidance_scale=0.0).joints3d for n in (1, 3)
    )
    assert torch.equal(one, several)


def test_the_best_of_the_rejected_draws_is_taken_with_everything_that_belongs_to_it() -> None:
    several = pipeline(3, 1.0)
    chosen = several.sample(TEXTS, seconds=SECONDS, seed=SEEDS)
    assert list(chosen.seeds) == SEEDS
    again = set()
    for i, (text, seconds, seed) in enumerate(zip(TEXTS, SECONDS, SEEDS, strict=True)):
        draws = [
            pipeline(1, 1.0).sample([text], seconds=seconds, seed=s)
            for s in (seed, mix_seed(seed, 1), mix_seed(seed, 2))
        ]
        pooled = several.encode_text([text]).pooled
        agreement = [float(several.actions.agreement(pooled, [d[0].joints3d], several.fps)) for d in draws]
        best = draws[agreement.index(max(agreement))]
        assert chosen[i].provenance.more[ACTION_AGREEMENT] == pytest.approx(max(agreement), abs=2e-3)
        assert chosen[i].provenance.more[DRAW] == agreement.index(max(agreement))
        again.add(agreement.index(max(agreement)))
        torch.testing.assert_close(chosen[i].joints3d, best[0].joints3d, atol=1e-4, rtol=0)
        length = len(best[0].joints3d)
        torch.testing.assert_close(chosen.joints2d[i, :, :length], best.joints2d[0], atol=1e-4, rtol=0)
        for key, axis in (("next_root2d", 1), ("camera_joints3d", 0), ("T_w2c", 0)):
            own, wanted = chosen.extras[key][i], best.extras[key][0]
            torch.testing.assert_close(own.narrow(axis, 0, wanted.shape[axis]), wanted, atol=1e-4, rtol=0)
    assert len(again) > 1  # not the same draw for all


def test_whether_a_motion_is_drawn_again_does_not_depend_on_the_batch() -> None:
    several = pipeline(3, 0.7)
    together = several.sample(TEXTS, seconds=SECONDS, seed=SEEDS)
    for i in range(len(TEXTS)):
        alone = several.sample([TEXTS[i]], seconds=SECONDS[i], seed=SEEDS[i])
        torch.testing.assert_close(together[i].joints3d, alone[0].joints3d, atol=1e-4, rtol=0)


def test_motion_of_another_action_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    motions = pipeline(2, 1.0).sample(TEXTS, seconds=SECONDS, seed=SEEDS)
    shown = [{ACTION_AGREEMENT: value} for value in (0.9, 0.3, 0.1)]
    warn_of_other_actions(replace(motions, more_provenance=shown), [{}, {}, {"is_far": True}])
    assert [record.getMessage().split(":")[0] for record in caplog.records] == [
        "The motion for 'a long jump' (seed 4) probably does not show this action"
    ]
    warn_of_other_actions(replace(motions, more_provenance=()), [{}, {}, {}])
    assert len(caplog.records) == 1
