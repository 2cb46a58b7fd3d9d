"""What a lifted motion says of its own input: good input is not doubted, every mistake is, by the check for it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from hmr4d.body.light_body import load_light_body
from hmr4d.body.skeleton import SMPL22
from hmr4d.geometry.rigs import Rig, camera_pose, project
from hmr4d.metrics.lift_checks import LIMITS, LiftCheck, check_lift, doubts
from hmr4d.motion.procedural import synthetic_joints
from tests.motions import as_motion

FPS, FRAMES = 20.0, 80
REST = load_light_body().rest_joints.double()


def camera(yaw: float = 0.0) -> Rig:
    pitch, roll, turn = (torch.tensor([math.radians(a)], dtype=torch.float64) for a in (12.0, 0.0, yaw))
    T_w2c = camera_pose(pitch, roll, turn, torch.tensor([[0.0, 1.6, 0.0]], dtype=torch.float64))
    size = torch.tensor([[1920.0, 1080.0]], dtype=torch.float64)
    return Rig(size, torch.tensor([[1400.0, 1400.0, 960.0, 540.0]], dtype=torch.float64), T_w2c)


def motion(content: str = "walk") -> torch.Tensor:
    """(L, 22, 3) somebody six meters ahead, whose steps are those of the length of legs."""
    joints3d = torch.from_numpy(synthetic_joints(content, FRAMES, np.random.default_rng(0))).double()
    return joints3d - joints3d[:, 0].mean(0) * torch.tensor([1.0, 0.0, 1.0]) + torch.tensor([0.0, 0.0, -6.0])


def seen(joints3d: torch.Tensor, noise: float = 2.0) -> torch.Tensor:
    pixels = project(camera(), joints3d)[0][0]
    return pixels + noise * torch.randn(pixels.shape, generator=torch.manual_seed(1), dtype=torch.float64)


def parts(tall: torch.Tensor) -> torch.Tensor:
    """(N, 3) heights of head, shoulders and hips of somebody so tall."""
    return tall[:, None] * torch.tensor([1.0, 0.82, 0.53])


def doubted(joints3d: torch.Tensor, kp2d: torch.Tensor, conf: torch.Tensor | None = None, **told: Any) -> list[str]:
    conf = torch.ones(kp2d.shape[:2]) if conf is None else conf
    heights = told.pop("heights", (parts(torch.full((FRAMES,), 1.7)), torch.linspace(5, 7, FRAMES)))
    rig = told.pop("rig", camera())
    motion = as_motion(joints3d, fps=told.pop("fps", FPS))
    checks = check_lift(motion, kp2d, conf, rig, rest_joints=REST, heights=heights, **told)
    assert [check.name for check in checks] == list(LIMITS)
    assert all(check.advice for check in doubts(checks))
    return [check.name for check in doubts(checks)]


@pytest.mark.parametrize("content", ["walk", "run", "walk-turn-left", "bow", "wave-left-hand"])
@pytest.mark.parametrize("noise", [0.0, 8.0])
def test_good_input_is_not_doubted(content: str, noise: float) -> None:
    joints3d = motion(content)
    kp2d = seen(joints3d, noise)
    inside = ((kp2d >= 0) & (kp2d <= camera().size[0])).all(-1)  # detectors find nobody outside the picture
    assert doubted(joints3d, kp2d, inside.float()) == []


def test_motion_next_to_its_keypoints_is_rated_doubtful() -> None:
    joints3d = motion()
    assert doubted(joints3d + torch.tensor([0.3, 0.0, 0.0]), seen(joints3d)) == ["reprojection"]


def test_a_wrong_joint_order_is_rated_doubtful() -> None:
    joints3d = motion()
    order = list(np.random.default_rng(0).permutation(22))
    assert {"reprojection", "proportions"} <= set(doubted(joints3d, seen(joints3d)[:, order]))


def test_two_people_under_one_id_are_rated_doubtful() -> None:
    joints3d = motion()
    is_other = torch.arange(FRAMES)[:, None, None] // 20 % 2 == 1
    mixed = torch.where(is_other, joints3d + torch.tensor([1.0, 0.0, 0.0]), joints3d)
    assert doubted(mixed, seen(mixed)) == ["jumps"]


def test_motion_that_trembles_is_rated_doubtful() -> None:
    joints3d = motion()
    tremble = 0.06 * torch.randn(FRAMES, 1, 1, generator=torch.manual_seed(0)) * torch.tensor([0.0, 0.0, 1.0])
    assert doubted(joints3d + tremble, seen(joints3d)) == ["shaking"]


def test_people_whose_size_in_the_image_trembles_are_rated_doubtful() -> None:
    joints3d = motion()
    kp2d = seen(joints3d)
    middle = kp2d.mean(1, keepdim=True)
    scale = 1 + 0.12 * torch.randn(FRAMES, 1, 1, generator=torch.manual_seed(0), dtype=torch.float64)
    assert "trembling" in doubted(joints3d, middle + scale * (kp2d - middle))


@pytest.mark.parametrize("stature", [0.9, 2.2])
def test_dwarfs_and_giants_are_doubted(stature: float) -> None:
    joints3d = motion()
    heights = parts(torch.full((FRAMES,), stature)), torch.linspace(5, 7, FRAMES)
    assert doubted(joints3d, seen(joints3d), heights=heights) == ["stature"]
    checks = check_lift(
        as_motion(joints3d, fps=FPS),
        seen(joints3d),
        torch.ones(FRAMES, 22),
        camera(),
        rest_joints=REST,
        heights=heights,
    )
    advice = next(check.advice for check in checks if check.name == "stature")
    assert f"the person looks {stature:.2f} m tall" in advice


@pytest.mark.parametrize(("given", "doubts"), [(1.75, []), (1.5, ["given_stature"]), (1.95, ["given_stature"])])
def test_a_given_stature_reveals_a_wrong_scale(given: float, doubts: list[str]) -> None:
    joints3d = motion()
    assert doubted(joints3d, seen(joints3d), stature=given) == doubts


def test_a_given_stature_replaces_the_usual_ones() -> None:
    joints3d = motion()
    heights = parts(torch.full((FRAMES,), 2.2)), torch.linspace(5, 7, FRAMES)
    assert doubted(joints3d, seen(joints3d), heights=heights, stature=1.75) == ["given_stature"]
    assert doubted(joints3d, seen(joints3d), heights=heights, stature=2.2) == []


def test_the_advice_on_a_given_stature_says_what_was_seen_and_the_height_of_the_camera_that_fits() -> None:
    joints3d, heights = motion(), (parts(torch.full((FRAMES,), 2.0)), torch.linspace(5, 7, FRAMES))
    told = {"rest_joints": REST, "heights": heights, "stature": 1.5}
    checks = check_lift(as_motion(joints3d, fps=FPS), seen(joints3d), torch.ones(FRAMES, 22), camera(), **told)
    advice = next(check.advice for check in checks if check.name == "given_stature")
    assert "looks 2.00 m tall, and --stature says 1.50 m" in advice
    assert "it is 1.20 m instead of 1.60 m" in advice  # the camera's 1.6 m times 1.5 / 2


def test_people_who_grow_on_their_way_are_rated_doubtful() -> None:
    joints3d = motion()
    heights, away = parts(torch.linspace(1.6, 1.75, FRAMES)), torch.linspace(4, 8, FRAMES)
    assert doubted(joints3d, seen(joints3d), heights=(heights, away)) == ["stature_change"]
    assert not doubted(
        joints3d, seen(joints3d), heights=(heights, torch.full((FRAMES,), 5.0))
    )  # they stay in one place
    heights[:, 1] = torch.nan
    assert doubted(joints3d, seen(joints3d), heights=(heights, away)) == ["stature_change"]


def test_people_who_bend_on_their_way_are_not_doubted() -> None:
    joints3d = motion()
    heights, away = parts(torch.linspace(1.75, 1.4, FRAMES)), torch.linspace(4, 8, FRAMES)
    heights[:, 2] = 0.9  # hips stay as high
    assert not doubted(joints3d, seen(joints3d), heights=(heights, away))


@pytest.mark.parametrize("degrees", [-6.0, 6.0])
def test_a_camera_that_pans_is_rated_doubtful(degrees: float) -> None:
    """Somebody stands and waves, and lifts as somebody who glides."""
    joints3d = motion("wave-left-hand")
    angle = torch.deg2rad(degrees * (torch.arange(FRAMES).double() / FPS - 2))
    cos, sin, zero, one = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
    turn = torch.stack([cos, zero, sin, zero, one, zero, -sin, zero, cos], -1).unflatten(-1, (3, 3))
    gliding = joints3d @ turn.mT
    assert doubted(gliding, seen(gliding)) == ["sliding"]


def test_left_and_right_exchanged_are_doubted() -> None:
    backward = motion().flip(0)
    for joints3d in (motion()[:, list(SMPL22.mirror_order)], backward):
        assert doubted(joints3d, seen(joints3d)) == ["sides"]
    x, _, z = torch.nn.functional.normalize(backward[-1, 0] - backward[0, 0], dim=0).tolist()
    turn = torch.tensor([[x, 0.0, z], [0.0, 1.0, 0.0], [-z, 0.0, x]], dtype=torch.float64)
    middle = torch.tensor([0.0, 0.0, -6.0], dtype=torch.float64)
    across = (backward - middle) @ turn.mT + 4 * middle  # so far away that no step leads to the camera or away
    assert doubted(across, seen(across, 0.0)) == []


def test_pictures_of_another_size_are_doubted() -> None:
    joints3d = motion()
    big = Rig(2 * camera().size, 2 * camera().K4, camera().T_w2c)
    assert "corner" in doubted(joints3d, seen(joints3d), rig=big)
    small = Rig(camera().size / 1.5, camera().K4 / 1.5, camera().T_w2c)
    assert "outside" in doubted(joints3d, seen(joints3d), rig=small)


def test_what_cannot_be_measured_is_not_doubted() -> None:
    joints3d = motion()[:4]
    nothing = torch.zeros(4, 22, 2, dtype=torch.float64), torch.zeros(4, 22)
    assert doubted(joints3d, *nothing, heights=None) == []
    assert LiftCheck("jumps", math.nan).is_fine and not LiftCheck("jumps", math.inf).is_fine


# --- the numbers themselves, of somebody who stands still -------------------------------------------------------------


def measured(
    joints3d: torch.Tensor, kp2d: torch.Tensor, conf: torch.Tensor | None = None, **told: Any
) -> dict[str, float]:
    conf = torch.ones(kp2d.shape[:2]) if conf is None else conf
    rest = told.pop("rest", REST)
    motion = as_motion(joints3d, fps=told.pop("fps", FPS))
    checks = check_lift(motion, kp2d, conf, camera(), rest_joints=rest, **told)
    return {check.name: check.value for check in checks}


def figure(frames: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    """(L, 22, 3) a still person six meters ahead and (L, 22, 2) its pixels; a hidden joint is at the origin."""
    joints3d = (REST - REST[0] + torch.tensor([0.0, 1.0, -6.0])).expand(frames, 22, 3).clone()
    return joints3d, seen(joints3d, noise=0.0)


def hidden(kp2d: torch.Tensor, *joints: int) -> torch.Tensor:
    """(L, 22) confidence without these joints, whose pixels become zeros."""
    kp2d[:, list(joints)] = 0
    conf = torch.ones(kp2d.shape[:2])
    conf[:, list(joints)] = 0
    return conf


def diagonal(kp2d: torch.Tensor, conf: torch.Tensor) -> float:
    shown = kp2d[0][conf[0] > 0]
    return float((shown.amax(0) - shown.amin(0)).norm())


def test_reprojection_is_the_distance_over_the_diagonal_of_visible_joints() -> None:
    joints3d, kp2d = figure()
    kp2d += torch.tensor([30.0, 40.0])
    kp2d[:5] += 500.0  # a few frames do not count
    conf = hidden(kp2d, 3, 8)
    assert measured(joints3d, kp2d, conf)["reprojection"] == pytest.approx(50 / diagonal(kp2d[10:], conf), rel=1e-6)


def test_a_jump_is_measured_in_meters_per_second_of_a_usual_body() -> None:
    joints3d, kp2d = figure()
    kp2d[20:, :, 0] += 100.0
    conf = hidden(kp2d, 3, 8)
    expected = 100 / diagonal(kp2d, conf) * 1.7 * FPS
    assert measured(joints3d, kp2d, conf)["jumps"] == pytest.approx(expected, rel=1e-6)
    kp2d[20:] = kp2d[20:].mean(1, keepdim=True) + 3 * (kp2d[20:] - kp2d[20:].mean(1, keepdim=True))
    steps = (kp2d[20] - kp2d[19]).norm(dim=-1)[conf[20] > 0]
    expected = float(steps.median()) / diagonal(kp2d, conf) * 1.7 * FPS  # relative to the smaller of both bodies
    assert measured(joints3d, kp2d, conf)["jumps"] == pytest.approx(expected, rel=1e-6)
    conf[20, 4:] = 0  # the frame behind the jump shows four joints alone
    assert measured(joints3d, kp2d, conf)["jumps"] == pytest.approx(0, abs=1e-6)


def test_shaking_is_the_acceleration() -> None:
    joints3d, kp2d = figure()
    joints3d[..., 1] += (0.5 * 3.0 * (torch.arange(40) / FPS) ** 2)[:, None]
    assert measured(joints3d, kp2d)["shaking"] == pytest.approx(3.0, rel=1e-3)
    assert measured(joints3d[:3], kp2d[:3])["shaking"] == pytest.approx(3.0, rel=1e-3)
    assert math.isnan(measured(joints3d[:2], kp2d[:2])["shaking"])


def test_trembling_is_the_change_of_the_size_beside_both_neighbors() -> None:
    joints3d, kp2d = figure()
    middle = kp2d.mean(1, keepdim=True)
    scale = torch.where(torch.arange(40) % 2 == 0, 1.1, 1 / 1.1)[:, None, None]
    kp2d = middle + scale * (kp2d - middle)
    expected = pytest.approx(2 * math.log(1.1), rel=1e-6)
    assert measured(joints3d, kp2d)["trembling"] == expected
    assert measured(joints3d, kp2d, hidden(kp2d, 3, 8))["trembling"] == expected
    assert measured(joints3d, kp2d, hidden(kp2d, 3, 8), fps=15.0)["trembling"] == expected
    assert math.isnan(measured(joints3d, kp2d, hidden(kp2d, 3, 8), fps=14.9)["trembling"])
    now_and_then = hidden(kp2d, 3, 8)
    now_and_then[::3, 5] = 0
    disturbed = kp2d.clone()
    disturbed[::3, 5] = -1e4
    disturbed[7] *= 3  # three values of 38 are off
    assert measured(joints3d, disturbed, now_and_then)["trembling"] == expected
    conf = hidden(kp2d, *range(12))  # fewer than half of the joints
    assert math.isnan(measured(joints3d, kp2d, conf)["trembling"])


def test_proportions_are_the_second_longest_or_shortest_bone() -> None:
    joints3d, kp2d = figure()
    flat = torch.cat([kp2d[0] / 100, torch.zeros(22, 1, dtype=torch.float64)], -1)
    flat = flat - flat[0]
    rest = flat.clone()
    assert measured(joints3d, kp2d, rest=rest)["proportions"] == pytest.approx(0, abs=1e-6)
    for name, start in (("left_wrist", "left_elbow"), ("right_wrist", "right_elbow")):
        end, before = SMPL22.index(name), SMPL22.index(start)
        rest[end] = rest[before] + 3 * (flat[end] - flat[before])  # of the body, so that the keypoints are too short
        value = measured(joints3d, kp2d, rest=rest)["proportions"]
        assert value == pytest.approx(0 if name == "left_wrist" else math.log(3), abs=1e-6)


@pytest.mark.parametrize(
    ("tall", "value"), [(1.5, 0.0), (1.76, 0.0), (1.35, math.log(1.5 / 1.35)), (2.0, math.log(2 / 1.76))]
)
def test_statures_are_measured_from_the_usual_ones(tall: float, value: float) -> None:
    heights = parts(torch.full((40,), tall)), torch.linspace(5, 7, 40)
    assert measured(*figure(), heights=heights)["stature"] == pytest.approx(value, abs=1e-6)


def test_growth_is_that_of_the_part_that_grows_least() -> None:
    heights, away = parts(torch.full((90,), 1.7)), torch.linspace(4, 8, 90)
    heights[60:] *= torch.tensor([1.3, 1.2, 1.25])
    told = {"heights": (heights, away)}
    assert measured(*figure(), **told)["stature_change"] == pytest.approx(math.log(1.2), rel=1e-5)
    heights[60:, 1] = torch.nan
    assert measured(*figure(), **told)["stature_change"] == pytest.approx(math.log(1.25), rel=1e-5)
    assert math.isnan(measured(*figure(), heights=(heights, torch.linspace(4, 4.8, 90)))["stature_change"])
    heights[60:, 2] *= 0.7  # one part grows, another one shrinks
    assert measured(*figure(), **told)["stature_change"] == 0


def test_sliding_is_the_speed_of_a_body_that_moves_as_a_whole() -> None:
    joints3d, _ = figure()
    joints3d[..., 0] += 0.3 * torch.arange(40)[:, None] / FPS - 0.3
    assert measured(joints3d, seen(joints3d, noise=0.0))["sliding"] == pytest.approx(0.3, rel=0.1)


def test_frames_with_fewer_than_half_of_the_joints_have_no_size() -> None:
    joints3d, kp2d = figure()
    kp2d[::2] += torch.tensor([0.0, 40.0])
    conf = torch.ones(40, 22)
    conf[1::2, 11:] = 0
    assert measured(joints3d, kp2d, conf)["reprojection"] == 0  # half of them suffice
    conf[1::2, 10] = 0
    assert measured(joints3d, kp2d, conf)["reprojection"] == pytest.approx(40 / diagonal(kp2d, conf), rel=1e-6)
