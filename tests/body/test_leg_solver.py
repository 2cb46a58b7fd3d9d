"""Legs reach for their feet on bones that do not stretch."""

from __future__ import annotations

import numpy as np

from hmr4d.body.leg_solver import LEGS, move_feet
from hmr4d.body.skeleton import SMPL22
from tests.body.people import ANKLES, TOES, standing, walk


def bones(motion: np.ndarray) -> np.ndarray:
    parents, children = zip(*SMPL22.bones, strict=True)
    return np.linalg.norm(motion[:, list(children)] - motion[:, list(parents)], axis=-1)


def test_feet_go_where_they_are_sent_and_nothing_else_moves() -> None:
    motion = walk(30)
    offsets = np.random.default_rng(0).uniform(-0.05, 0.05, (30, 2, 3)) + [0.0, 0.05, 0.0]
    made = move_feet(motion, offsets)
    for joints in (ANKLES, TOES):
        np.testing.assert_allclose(made[:, list(joints)], motion[:, list(joints)] + offsets, atol=1e-9)
    legs = {j for names in LEGS for j in SMPL22.indices(*names[1:])}
    others = [j for j in range(22) if j not in legs]
    np.testing.assert_array_equal(made[:, others], motion[:, others])
    np.testing.assert_allclose(bones(made), bones(motion), atol=1e-9)


def test_no_offset_is_no_change() -> None:
    made = move_feet(walk(30), np.zeros((30, 2, 3)))
    assert np.abs(made - walk(30)).max() < 0.02  # knees that are straight lean a little towards the toes
    np.testing.assert_allclose(made[:, [*ANKLES, *TOES]], walk(30)[:, [*ANKLES, *TOES]], atol=1e-9)


def test_out_of_reach_the_leg_stretches_and_folds_no_further_than_it_can() -> None:
    motion = standing(2)
    for offset in ([0.0, -1.0, 0.3], [0.0, 0.9, 0.0], [0.0, -5.0, 0.0]):
        made = move_feet(motion, np.tile(np.array(offset), (2, 2, 1)))
        np.testing.assert_allclose(bones(made), bones(motion), atol=1e-5)
        assert np.isfinite(made).all()


def test_knees_bend_forwards() -> None:
    made = move_feet(standing(1), np.tile(np.array([0.0, 0.2, 0.0]), (1, 2, 1)))
    for names in LEGS:
        hip, knee, ankle, _ = SMPL22.indices(*names)
        middle = (made[0, hip] + made[0, ankle]) / 2
        assert made[0, knee, 2] - middle[2] > 0.1
