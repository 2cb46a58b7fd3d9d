"""Exchanged sides are mended, whole bodies and legs alone; people who turn around are left as they are."""

from __future__ import annotations

import numpy as np

from hmr4d.body.skeleton import MEDIAPIPE33
from hmr4d.detection.sides import exchanged, mend_sides, other_sides

SIZE, FPS, FRAMES = 400.0, 30, 90


def body(turn: np.ndarray) -> np.ndarray:
    """(L, 33, 2) somebody of SIZE whose right side is `turn` (L,) of a half width to the right of the middle."""
    rng = np.random.default_rng(0)
    points = np.zeros((len(turn), 33, 2))
    for j, name in enumerate(MEDIAPIPE33.joint_names):
        side = -1 if "left" in name else 1 if "right" in name else 0
        points[:, j] = np.stack([300 + 60 * side * turn, np.full(len(turn), 100 + 9.0 * j)], -1)
    return points + rng.normal(0, 2, points.shape)


def found(points: np.ndarray) -> np.ndarray:
    return mend_sides(points, np.ones(points.shape[:2]), np.arange(len(points)) / FPS, SIZE, MEDIAPIPE33)


def test_sides_that_are_exchanged_for_a_while_are_corrected() -> None:
    points = body(np.ones(FRAMES))
    wrong = np.zeros((FRAMES, 33), bool)
    wrong[20:50] = wrong[:2] = True
    broken = exchanged(points, wrong, MEDIAPIPE33)
    mended = exchanged(broken, found(broken), MEDIAPIPE33)
    np.testing.assert_array_equal(mended, points)


def test_images_in_which_the_joints_are_elsewhere_do_not_hide_an_exchange() -> None:
    points = body(np.ones(FRAMES))
    wrong = np.zeros((FRAMES, 33), bool)
    wrong[32:70] = True
    broken = exchanged(points, wrong, MEDIAPIPE33)
    broken[30:32] += np.random.default_rng(1).normal(0, 0.5 * SIZE, (2, 33, 2))
    mended = exchanged(broken, found(broken), MEDIAPIPE33)
    clear = np.r_[:30, 32:FRAMES]
    np.testing.assert_array_equal(mended[clear], points[clear])


def test_a_hand_and_a_foot_outside_the_image_do_not_hide_an_exchange() -> None:
    points, conf = body(np.ones(FRAMES)), np.ones((FRAMES, 33))
    conf[:, MEDIAPIPE33.indices("left_wrist", "left_ankle")] = 0.0
    wrong = np.zeros((FRAMES, 33), bool)
    wrong[20:50] = True
    broken, seen = exchanged(points, wrong, MEDIAPIPE33), exchanged(conf, wrong, MEDIAPIPE33)
    shoulder = MEDIAPIPE33.index("left_shoulder")
    found_wrong = mend_sides(broken, seen, np.arange(FRAMES) / FPS, SIZE, MEDIAPIPE33)[:, shoulder]
    np.testing.assert_array_equal(found_wrong, wrong[:, shoulder])


def test_legs_that_are_exchanged_alone_are_corrected_alone() -> None:
    points = body(np.ones(FRAMES))
    legs = np.array([any(w in n for w in ("knee", "ankle", "heel", "foot")) for n in MEDIAPIPE33.joint_names])
    wrong = np.zeros((FRAMES, 33), bool)
    wrong[30:40] = legs
    broken = exchanged(points, wrong, MEDIAPIPE33)
    np.testing.assert_array_equal(exchanged(broken, found(broken), MEDIAPIPE33), points)


def test_somebody_who_turns_around_keeps_the_sides() -> None:
    assert not found(body(np.cos(np.linspace(0, 3 * np.pi, FRAMES)))).any()


def test_what_lasts_is_believed() -> None:
    points = body(np.ones(300))
    wrong = np.zeros((300, 33), bool)
    wrong[:60] = True
    assert found(exchanged(points, wrong, MEDIAPIPE33))[:60, 11].all()
    assert not found(exchanged(points, ~wrong, MEDIAPIPE33))[60:, 11].any()


def test_every_joint_has_its_other_side() -> None:
    others = other_sides(MEDIAPIPE33)
    assert others[0] == 0 and others[11] == 12 and others[31] == 32
    assert [others[j] for j in others] == list(range(33))
    assert sum(j == other for j, other in enumerate(others)) == 1  # the nose
