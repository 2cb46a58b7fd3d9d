"""Standing feet stand, flying feet fly, and what people stand on is not always the floor."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from hmr4d.motion.foot_lock import plant_feet
from hmr4d.motion.stances import find_stances
from tests.body.people import ANKLES, FPS, PEOPLE, TOES, jump, lying, run, sit, stairs, standing, walk

Make = Callable[[], np.ndarray]
FEET = [*ANKLES, *TOES]


def drift(num_frames: int, *meters_per_second: float) -> np.ndarray:
    """(L, 1, 3)"""
    return (np.arange(num_frames)[:, None] / FPS * np.array(meters_per_second))[:, None]


def slides(motion: np.ndarray) -> float:
    """Meters per second of the toes along the floor, median over the stances of the motion."""
    feet = find_stances(motion, fps=FPS)
    steps = [np.diff(feet.toes[s.frames, s.foot], axis=0)[:, [0, 2]] for s in feet.stances]
    return float(np.median(np.linalg.norm(np.concatenate(steps), axis=-1)) * FPS)


def test_somebody_who_slides_and_rises_comes_to_rest() -> None:
    given = standing(80) + drift(80, 0.3, 0.05, -0.2)
    made = plant_feet(given, fps=FPS)
    assert np.abs(made[:, FEET] - made[:1, FEET])[..., [0, 2]].max() < 0.01
    assert np.ptp(made[:, FEET, 1], axis=0).max() < 0.02
    assert np.ptp(made[:, 0, 1]) < 0.07 < np.ptp(given[:, 0, 1])


@pytest.mark.parametrize(("make", "slip"), [(walk, 0.3), (run, 0.7)])
def test_stances_do_not_slide_and_the_pace_is_kept(make: Make, slip: float) -> None:
    given = make() + drift(len(make()), 0.0, 0.0, slip)
    made = plant_feet(given, fps=FPS)
    assert slides(given) > 0.8 * slip and slides(made) < 0.15 * slip
    path = [m[-1, 0, 2] - m[0, 0, 2] for m in (given, made)]
    assert path[1] == pytest.approx(path[0], rel=0.25)


def test_a_run_has_flight_and_a_walk_has_none() -> None:
    for make, most in ((walk, 0), (run, 30)):
        for motion in (make(), plant_feet(make() + drift(len(make()), 0.0, 0.02, 0.3), fps=FPS)):
            feet = find_stances(motion, fps=FPS)
            held = np.zeros(len(motion), bool)
            for stance in feet.stances:
                held[stance.frames] = True
            assert (~held[3:-3]).sum() <= most
            assert make is walk or (~held[3:-3]).sum() >= 4


def test_a_jump_leaves_the_floor_and_lands_on_it() -> None:
    made = plant_feet(jump(height=0.4), fps=FPS)
    lowest = made[..., 1].min(1)
    assert lowest.max() == pytest.approx(0.4, abs=0.02) and np.abs(lowest[[0, -1]]).max() < 0.01
    assert len(find_stances(jump(), fps=FPS).stances) == 4


@pytest.mark.parametrize("fall", [-0.25, 0.25])
def test_a_jump_that_ends_at_another_height_is_brought_back_to_the_floor(fall: float) -> None:
    given = jump(height=0.4)
    flight = np.flatnonzero(given[..., 1].min(1) > 0.02)
    share = np.interp(np.arange(len(given)), [flight[0], flight[-1]], [0.0, 1.0])
    made = plant_feet(given + (share * fall)[:, None, None] * np.array([0.0, 1.0, 0.0]), fps=FPS)
    lowest = made[..., 1].min(1) - made[..., 1].min()
    standing_frames = np.r_[0 : flight[0] - 2, flight[-1] + 3 : len(given)]
    assert lowest[standing_frames].max() < 0.03
    assert lowest.max() == pytest.approx(0.4, abs=0.1)
    assert len({s.level for s in find_stances(made, fps=FPS).stances}) == 1


def test_each_step_of_the_stairs_keeps_its_height() -> None:
    levels = {round(s.level, 2) for s in find_stances(stairs(), fps=FPS).stances}
    assert levels == {round(0.17 * k, 2) for k in range(len(levels))} and len(levels) >= 4


def test_one_foot_on_a_stool_stays_there() -> None:
    motion = standing(60)
    foot = [ANKLES[0], TOES[0]]
    shift = np.array([0.0, 0.3, 0.0])
    knee, hip = motion[0, 4].copy(), motion[0, 1].copy()
    motion[:, foot] += shift
    motion[:, 4] = (hip + motion[0, ANKLES[0]]) / 2 + np.array([0.0, 0.0, 0.3])
    assert knee[1] < motion[0, 4, 1]
    made = plant_feet(motion + drift(60, 0.1, 0.0, 0.0), fps=FPS)
    assert made[:, TOES[0], 1] == pytest.approx(motion[:, TOES[0], 1], abs=0.01)


def test_drift_is_taken_away_and_a_seat_is_not() -> None:
    true = sit(120)
    made = plant_feet(true + drift(120, 0.0, 0.02, 0.0), fps=FPS)
    down = [m[60, 0, 1] - m[0, 0, 1] for m in (true, made)]
    assert down[1] == pytest.approx(down[0], abs=0.035)
    assert np.ptp(made[:, TOES, 1], axis=0).max() < 0.02


def test_somebody_who_lies_stays_where_they_are() -> None:
    assert np.abs(plant_feet(lying(), fps=FPS) - lying()).max() < 0.005


@pytest.mark.parametrize("name", PEOPLE)
def test_nothing_pops(name: str) -> None:
    """No joint's acceleration grows beyond what the feet of the motion already have, and some."""
    true = PEOPLE[name]()
    given = true + drift(len(true), 0.1, 0.02, 0.1)
    before, after = (
        np.linalg.norm(np.diff(m, n=2, axis=0), axis=-1).max() for m in (given, plant_feet(given, fps=FPS))
    )
    assert after < 1.3 * before + 0.03


@pytest.mark.parametrize("num_frames", [1, 2, 3, 5])
def test_short_motions(num_frames: int) -> None:
    made = plant_feet(standing(num_frames), fps=FPS)
    assert np.abs(made - standing(num_frames)).max() < 0.005


def test_frames_without_sense_stay_finite() -> None:
    noise = np.random.default_rng(0).normal(size=(30, 22, 3))
    for motion in (noise, np.zeros((30, 22, 3)), 0.01 * noise):
        assert np.isfinite(plant_feet(motion, fps=FPS)).all()
