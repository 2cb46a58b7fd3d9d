"""The joint metrics of MBench on motions whose values are known in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hmr4d.metrics import mbench
from hmr4d.metrics.mbench import Metric

LEFT, RIGHT = mbench.FEET


def still(frames: int, feet_at: float = 0.5) -> np.ndarray:
    """(L, 22, 3) a body at rest, its toes so high over the floor and apart from the pelvis."""
    joints = np.zeros((frames, 22, 3))
    joints[:, 0, 1] = 1.0
    joints[:, [LEFT, RIGHT], 1] = feet_at
    return joints


def test_jitter_and_dynamic_degree_count_the_body_and_its_pose() -> None:
    times = np.arange(9.0)
    whole, arm = still(9), still(9)
    whole[..., 0] += 0.5 * 0.03 * times[:, None] ** 2  # an acceleration that the pose does not have
    arm[:, 20, 2] = 0.5 * 0.03 * times**2  # of one joint of 22, in the world and against the pelvis
    assert mbench.jitter_degree(whole) == pytest.approx(0.03)
    assert mbench.jitter_degree(arm) == pytest.approx(2 * 0.03 / 22)
    whole, arm = still(9), still(9)
    whole += times[:, None, None] * np.array([0.03, 0.0, 0.04])
    arm[:, 20, 2] = 0.05 * times
    assert mbench.dynamic_degree(whole) == pytest.approx(0.05) and mbench.jitter_degree(whole) == pytest.approx(0)
    assert mbench.dynamic_degree(arm) == pytest.approx(2 * 0.05 / 22)
    assert math.isnan(mbench.jitter_degree(whole[:2])) and math.isfinite(mbench.jitter_degree(whole[:3]))
    assert math.isnan(mbench.dynamic_degree(whole[:1])) and math.isfinite(mbench.dynamic_degree(whole[:2]))


def test_feet_stand_where_they_are_slow_or_low() -> None:
    joints = still(4)
    joints[:, LEFT, 2] = [0.0, 0.009, 0.029, 0.058]  # the last step counts twice
    joints[:, RIGHT, 0] = [0.0, 1.0, 2.0, 3.0]
    joints[:, RIGHT, 1] = [0.019, 0.021, 0.019, 0.021]
    assert mbench.foot_contact(joints).T.tolist() == [[True, False, False, False], [True, False, True, False]]
    assert mbench.foot_contact(still(1)).all()
    swapped = joints[..., [0, 2, 1]]
    for axis in ("z", "legacy"):
        assert np.array_equal(mbench.foot_contact(swapped, axis), mbench.foot_contact(joints))


def test_penetration_is_the_mean_depth_of_the_feet_under_the_floor() -> None:
    joints = still(5)
    joints[:, 5, 1] = -1.0  # no toe
    assert mbench.ground_penetration(joints) == 0
    joints[:3, LEFT, 1] = [-0.01, -0.004, 0.0]
    joints[:2, RIGHT, 1] = [-0.05, -0.03]
    assert mbench.ground_penetration(joints) == pytest.approx(0.03)
    assert mbench.ground_penetration(joints[..., [0, 2, 1]], "z") == pytest.approx(0.03)


def test_sliding_is_the_horizontal_speed_of_standing_feet() -> None:
    joints = still(6, feet_at=0.0)
    joints[:, LEFT, 0] = 0.04 * np.arange(6)
    joints[:, LEFT, 2] = 0.03 * np.arange(6)
    joints[:, RIGHT, 1] = -0.1 * np.arange(6)  # downwards: no sliding
    assert mbench.foot_sliding(joints) == pytest.approx(0.05 / 2, rel=1e-4)
    joints[3:, LEFT, 1] = 0.5  # in the air for the last three frames, and fast
    assert mbench.foot_sliding(joints) == pytest.approx(0.05 / 2, rel=1e-4)
    assert mbench.foot_sliding(joints[..., [0, 2, 1]], "z") == pytest.approx(0.05 / 2, rel=1e-4)
    assert mbench.foot_sliding(still(6, feet_at=3.0) + joints[:, LEFT : LEFT + 1]) == 0  # nobody stands


def moved(root: float, left: float, right: float, feet_at: tuple[float, float], frames: int = 10) -> np.ndarray:
    """A body whose pelvis moves along x with so many meters a frame, its toes with others; the rest stays behind."""
    joints = still(frames)
    joints[:, 0, 0] = root * np.arange(frames)
    for foot, speed, height in ((LEFT, left, feet_at[0]), (RIGHT, right, feet_at[1])):
        joints[:, foot, 0] = speed * np.arange(frames)
        joints[:, foot, 1] = height
    return joints


@pytest.mark.parametrize(
    ("root", "left", "right", "feet_at", "share"),
    [
        (0.05, 0.0, 0.0, (0.0, 0.0), 0),  # both feet stay where they are
        (0.05, 0.05, 0.05, (0.0, 0.0), 1),  # both are carried along
        (0.05, 0.05, 0.0, (0.0, 0.0), 0),  # one of two stands: enough
        (0.05, 0.05, 0.15, (0.0, 0.5), 1),  # the only one on the floor is carried along
        (0.05, 0.15, 0.0, (0.0, 0.0), 0),
        (0.05, 0.15, 0.15, (0.0, 0.0), 1),  # both go twice as fast against the body as planted feet
        (0.05, 0.025, 0.025, (0.0, 0.0), 1),  # half as fast
        (0.05, 0.018, 0.018, (0.0, 0.0), 0),  # 0.64 of it
        (0.05, -0.035, -0.035, (0.0, 0.0), 0),  # 1.7 of it
        (0.05, -0.04, -0.04, (0.0, 0.0), 1),  # 1.8 of it
        (0.0009, 0.0009, 0.0009, (0.0, 0.0), 0),  # the body rests
        (0.0011, 0.0011, 0.0011, (0.0, 0.0), 1),
        (0.05, 0.05, 0.15, (0.5, 0.5), 0.5),  # in the air, one foot drifts with the body: half
        (0.05, 0.069, 0.15, (0.5, 0.5), 0.5),
        (0.05, 0.071, 0.15, (0.5, 0.5), 0),
        (0.05, 0.05, 0.05, (0.5, 0.5), 1),
        (0.0, 0.015, 0.015, (0.5, 0.5), 0),  # the body rests during the flight
    ],
)
def test_floating_counts_frames_of_feet_that_move_as_none_does(
    root: float, left: float, right: float, feet_at: tuple[float, float], share: float
) -> None:
    assert mbench.foot_floating(moved(root, left, right, feet_at)) == pytest.approx(share)


def test_short_flights_do_not_drift() -> None:
    joints = moved(0.05, 0.05, 0.0, (0.5, 0.0))
    joints[4:, LEFT, 0] = joints[4, LEFT, 0]  # it stands, on a stair
    assert mbench.foot_floating(joints) == pytest.approx(4 / 2 / 10)
    joints[3, LEFT, 0] = joints[4, LEFT, 0]
    assert mbench.foot_floating(joints) == 0


@pytest.mark.parametrize(("swings", "wobbles"), [(2, False), (3, True)])
def test_a_left_foot_that_swings_in_a_jump_wobbles(swings: int, wobbles: bool) -> None:
    count = 4 * swings + 3
    joints = moved(0.05, 0.15, 0.15, (0.5, 0.5), count)
    joints[1:, LEFT, 2] = 0.3 * np.sin(np.pi / 2 * np.arange(count - 1)) * np.arange(1, count)
    assert mbench.foot_floating(joints) == pytest.approx(1.0 if wobbles else 0.0)
    assert mbench.foot_floating(joints[:, [*range(10), RIGHT, LEFT, *range(12, 22)]]) == 0  # the right one may swing
    joints[count // 2 + 1, RIGHT] = joints[count // 2, RIGHT]  # a step of the right foot divides the jump
    assert mbench.foot_floating(joints) == 0


def test_drifting_frames_count_in_flights_that_are_long_and_travel() -> None:
    ratio, root_speed = np.zeros(12), np.ones(12)
    ratio[5] = 0.5
    for flights, frames in (([(6, 9)], 0), ([(6, 10)], 4), ([(5, 10)], 4), ([(0, 4), (6, 12)], 10)):
        assert mbench._drifting(flights, ratio, root_speed) == frames, flights
    root_speed[[6, 7]] = 0.0
    assert mbench._drifting([(6, 10)], ratio, root_speed) == 4  # the body rests in half of them
    root_speed[8] = 0.0
    assert mbench._drifting([(6, 10)], ratio, root_speed) == 0


def test_wobbling_is_found_in_the_frames_of_both_flights() -> None:
    foot = np.zeros((12, 3))
    angles = np.radians([0, 40, 0, 40, 0, 40, 0])
    foot[3:10] = np.stack([np.cos(angles), np.sin(angles), 0 * angles], -1) * np.arange(1, 8)[:, None]
    foot[10:] = foot[9] + [0, 5, 0]
    for left, right in (((2, 10), (0, 12)), ((0, 12), (2, 10)), ((2, 11), (1, 10))):
        wanted = 8 if max(left[0], right[0]) == 2 else 0
        assert mbench._wobbling([left], [right], foot) == wanted, (left, right)
    assert mbench._wobbling([(2, 9)], [(0, 12)], foot) == 0  # two swings are left
    assert mbench._wobbling([(2, 6)], [(6, 12)], foot) == 0
    assert mbench._angles(np.array([[1.0, 1, 1], [3, 1, 1], [1, 4, 1], [2, 2, 1]])) == pytest.approx(
        [45, 45, 0], abs=0.1
    )


def test_peaks_are_counted_once_and_not_at_the_ends() -> None:
    for values, peaks in (([0, 1, 0], 1), ([0, 1, 1, 0], 1), ([2, 1, 2], 0), ([0, 2, 1, 3, 0], 2), ([1], 0)):
        assert mbench._num_peaks(np.array(values, float)) == peaks, values


def test_metrics_have_their_units_per_second() -> None:
    joints = moved(0.05, 0.08, 0.0, (0.0, -0.02), 8)
    joints[:, 20, 1] += 0.01 * np.arange(8) ** 2
    found = mbench.joint_metrics(joints, 30.0)
    wanted = {
        "Jitter_Degree": (mbench.jitter_degree(joints), 900.0, "m/s^2"),
        "Ground_Penetration": (0.02, 1.0, "m"),
        "Foot_Floating": (mbench.foot_floating(joints), 1.0, "share of frames"),
        "Foot_Sliding": (0.04, 30.0, "m/s"),
        "Dynamic_Degree": (mbench.dynamic_degree(joints), 30.0, "m/s"),
    }
    assert found.keys() == wanted.keys() and found["Jitter_Degree"].value > 0
    for name, (value, factor, unit) in wanted.items():
        assert found[name].value == pytest.approx(value, rel=1e-4) and found[name].unit == unit
        assert found[name].si == pytest.approx(factor * found[name].value)
    high = mbench.joint_metrics(joints[..., [0, 2, 1]], 30.0, "z")
    assert all(high[name].value == pytest.approx(found[name].value) for name in found)


def test_sets_have_a_mean_a_deviation_and_a_count_without_what_is_not_measured() -> None:
    assert mbench.aggregate([1.0, math.nan, 3.0]) == {"mean": 2.0, "std": 1.0, "num_samples": 2}
    assert mbench.aggregate([math.nan]) == {"mean": None, "std": None, "num_samples": 0}
    motions = [{"a": Metric(1.0, 10.0, "m/s"), "b": Metric(5.0, 5.0, "m")}, {"a": Metric(3.0, 50.0, "m/s")}]
    found = mbench.aggregate_metrics(motions)
    in_si = {"mean": 30.0, "std": 20.0, "num_samples": 2, "unit": "m/s"}
    assert found.pop("a") == {"mean": 2.0, "std": 1.0, "num_samples": 2, "si": in_si}
    in_si = {"mean": 5.0, "std": 0.0, "num_samples": 1, "unit": "m"}
    assert found == {"b": {"mean": 5.0, "std": 0.0, "num_samples": 1, "si": in_si}}


@pytest.mark.parametrize(
    ("joints", "fps", "axis", "message"),
    [
        (np.zeros((4, 11, 3)), 20.0, "y", r"shape \(4, 11, 3\); expected"),
        (np.zeros((4, 22, 2)), 20.0, "y", "expected"),
        (np.zeros((0, 22, 3)), 20.0, "y", "at least one frame"),
        (np.zeros((22, 3)), 20.0, "y", "expected"),
        (np.where(np.arange(264).reshape(4, 22, 3) == 150, np.nan, 0.0), 20.0, "y", "in frame 2"),
        (np.zeros((4, 22, 3)), 0.0, "y", "fps is 0"),
        (np.zeros((4, 22, 3)), math.inf, "y", "fps is inf"),
        (np.zeros((4, 22, 3)), 20.0, "x", "height_axis is 'x'; known: y, z, legacy"),
    ],
)
def test_motions_that_cannot_be_measured_are_refused(joints: np.ndarray, fps: float, axis: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mbench.joint_metrics(joints, fps, axis)
    assert mbench.jitter_degree(np.zeros((4, 12, 3))) == 0  # up to the toes is enough
