"""Geometric checks on made-up figures that do one thing."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from hmr4d.body.skeleton import SMPL22
from hmr4d.evaluation.everyday_verbs import everyday_verbs
from hmr4d.metrics.figure import figure, lasts, stretches, swings
from hmr4d.metrics.geometric_checks import CHECKS
from hmr4d.motion.canonical import mirror
from hmr4d.motion.procedural import synthetic_joints

FPS = 20.0
SYNTHETIC = {
    "walk": {"walks"},
    "run": {"runs"},
    "walk-back": {"walks_backwards"},
    "walk-turn-left": {"turns_left", "walks"},
    "walk-turn-right": {"turns_right", "walks"},
    "bow": {"bows"},
    "wave-left-hand": {"waves_left", "waves"},
    "wave-right-hand": {"waves_right", "waves"},
    "wave-both-hands": {"waves_both", "waves"},
    "raise-up-left-hand": {"raises_left"},
    "raise-up-right-hand": {"raises_right"},
    "raise-up-both-hands": {"raises_both"},
}


def person() -> torch.Tensor:
    """(22, 3) a standing person who faces +z with hanging arms."""
    return torch.from_numpy(synthetic_joints("bow", 40, np.random.default_rng(0)))[0]


def faced(pose: torch.Tensor) -> torch.Tensor:
    """The pose turned to face +z, root above the origin."""
    across = (pose[1] - pose[2])[[0, 2]]
    x, z = (across / across.norm()).tolist()
    turn = torch.tensor([[x, 0, z], [0, 1, 0], [-z, 0, x]])
    return (pose - pose[:1] * torch.tensor([1.0, 0, 1.0])) @ turn.T


def standing(seconds: float = 3.0) -> torch.Tensor:
    return faced(person()).expand(round(seconds * FPS), 22, 3).clone()


def joints(*names: str) -> list[int]:
    return list(SMPL22.indices(*names))


def ramp(seconds: float, start: float, end: float) -> torch.Tensor:
    """(L,) 0 before `start`, 1 after `end`."""
    t = torch.arange(round(seconds * FPS)) / FPS
    return ((t - start) / (end - start)).clamp(0, 1)


UPPER = [j for j, name in enumerate(SMPL22.joint_names) if not any(p in name for p in ("knee", "ankle", "foot"))]


def with_knees(clip: torch.Tensor) -> torch.Tensor:
    """The clip with knees bent forward so that thighs and shanks keep the lengths of the first frame."""
    for side in ("left", "right"):
        hip, knee, ankle = (clip[:, j] for j in joints(f"{side}_hip", f"{side}_knee", f"{side}_ankle"))
        thigh, shank = (knee[0] - hip[0]).norm(), (ankle[0] - knee[0]).norm()
        along = ankle - hip
        span = along.norm(dim=-1, keepdim=True).clamp(max=float(thigh + shank))
        share = (thigh**2 - shank**2 + span**2) / (2 * span)
        out = (thigh**2 - share**2).clamp(min=0).sqrt()
        across = torch.tensor([1.0, 0, 0]).expand_as(along)
        forward = torch.nn.functional.normalize(torch.linalg.cross(along, across), dim=-1)
        forward = forward * torch.sign(forward[:, 2:])
        clip[:, joints(f"{side}_knee")[0]] = hip + along / span * share + forward * out
    return clip


def sitting() -> torch.Tensor:
    """Hips move down and back to a seat, feet stay."""
    clip, share = standing(), ramp(3.0, 0.5, 1.5)
    clip[:, UPPER, 1] -= 0.42 * share[:, None]
    clip[:, UPPER, 2] -= 0.35 * share[:, None]
    return with_knees(clip)


def squatting() -> torch.Tensor:
    clip = standing(4.0)
    t = torch.arange(len(clip)) / FPS
    clip[:, UPPER, 1] -= 0.4 * (0.5 - 0.5 * torch.cos(2 * torch.pi * t / 2.0))[:, None]
    return with_knees(clip)


def jumping(ahead: float = 0.0) -> torch.Tensor:
    clip = standing()
    t = torch.arange(len(clip)) / FPS
    clip[..., 1] += (2.4 * (t - 1.2) - 4.9 * (t - 1.2) ** 2).clamp(min=0)[:, None]
    clip[..., 2] += ahead * ramp(3.0, 1.2, 1.8)[:, None]
    return clip


def hopping() -> torch.Tensor:
    clip = standing()
    t = torch.arange(len(clip)) / FPS
    clip[:, joints("left_knee", "left_ankle", "left_foot"), 1] += 0.25
    clip[..., 1] += 0.15 * torch.sin(2 * torch.pi * t * 1.5).clamp(min=0)[:, None]
    return clip


def kicking(height: float) -> torch.Tensor:
    clip = standing()
    t = torch.arange(len(clip)) / FPS
    swing = torch.exp(-(((t - 1.5) / 0.12) ** 2))[:, None]
    for part in ("ankle", "foot"):
        index = joints(f"right_{part}")
        clip[:, index, 1] += height * swing
        clip[:, index, 2] += 0.8 * swing
    return clip


def punching() -> torch.Tensor:
    clip = standing()
    out = ramp(3.0, 1.0, 1.15)
    shoulder = clip[:, joints("right_shoulder")[0]]
    for name, bent, straight in (("elbow", (0, -0.25, 0.02), (0, 0, 0.26)), ("wrist", (0, -0.05, 0.15), (0, 0, 0.5))):
        path = torch.tensor(bent) + out[:, None] * (torch.tensor(straight) - torch.tensor(bent))
        clip[:, joints(f"right_{name}")[0]] = shoulder + path
    return clip


def side_stepping() -> torch.Tensor:
    clip = standing()
    clip[..., 0] += 1.0 * ramp(3.0, 0.5, 2.5)[:, None]  # left is +x
    return clip


def climbing() -> torch.Tensor:
    clip = standing()
    clip[..., 1] += 0.6 * ramp(3.0, 0.5, 2.5)[:, None]
    return clip


def picking_up() -> torch.Tensor:
    clip = standing(4.0)
    t = torch.arange(len(clip)) / FPS
    down = (0.5 - 0.5 * torch.cos(2 * torch.pi * (t - 1.0).clamp(0, 2) / 2.0))[:, None]
    clip[:, UPPER, 1] -= 0.35 * down
    clip[:, joints("right_wrist"), 1] -= 0.3 * down
    return with_knees(clip)


@pytest.mark.parametrize("content", SYNTHETIC)
def test_synthetic_contents_pass_their_own_check(content: str):
    clips = [torch.from_numpy(synthetic_joints(content, 80, np.random.default_rng(seed))) for seed in range(4)]
    for check in SYNTHETIC[content]:
        assert all(CHECKS[check](figure(clip, FPS)) for clip in clips), check


@pytest.mark.parametrize("check", sorted(set.union(*SYNTHETIC.values()) - {"waves"}))
def test_synthetic_contents_fail_the_checks_of_others(check: str):
    for content, own in SYNTHETIC.items():
        also = {"waves_left", "waves_right", "waves_both", "raises_left", "raises_right", "raises_both"}
        if check in own or (check in also and own & also):
            continue
        who = figure(torch.from_numpy(synthetic_joints(content, 80, np.random.default_rng(1))), FPS)
        assert not CHECKS[check](who), content


@pytest.mark.parametrize(
    ("make", "done", "not_done"),
    [
        (sitting, {"sits_down"}, {"squats", "stands_up", "jumps", "bows", "stands_still"}),
        (lambda: sitting().flip(0), {"stands_up"}, {"sits_down", "climbs"}),
        (squatting, {"squats"}, {"sits_down", "jumps", "walks"}),
        (jumping, {"jumps"}, {"jumps_forward", "squats", "runs", "climbs"}),
        (lambda: jumping(0.8), {"jumps", "jumps_forward"}, {"sits_down"}),
        (hopping, {"hops"}, {"walks", "sits_down"}),
        (lambda: kicking(0.25), {"kicks"}, {"kicks_high", "jumps", "walks"}),
        (lambda: kicking(0.8), {"kicks", "kicks_high"}, {"walks", "runs"}),
        (punching, {"punches"}, {"kicks", "waves"}),
        (side_stepping, {"steps_left"}, {"steps_right", "walks", "turns_left"}),
        (lambda: mirror(side_stepping()), {"steps_right"}, {"steps_left"}),
        (climbing, {"climbs"}, {"jumps", "sits_down"}),
        (picking_up, {"picks_up"}, {"sits_down", "waves"}),
        (standing, {"stands_still"}, set(CHECKS) - {"stands_still"}),
    ],
)
def test_one_action_is_distinguished_from_others(make: Callable[[], torch.Tensor], done: set[str], not_done: set[str]):
    who = figure(make() * 1.1, FPS)
    assert {check for check in done | not_done if CHECKS[check](who)} == done


def test_every_prompt_has_a_check_and_real_clips_to_try_it_on():
    verbs = everyday_verbs()
    assert len(verbs) >= 30 and len({verb.prompt for verb in verbs}) == len(verbs)
    assert {verb.check for verb in verbs} <= set(CHECKS)
    assert all(verb.shown_by and not verb.shown_by & verb.may_show for verb in verbs)


def test_entries_of_an_action_override_those_of_its_content():
    verb = next(verb for verb in everyday_verbs() if verb.check == "turns_left")
    assert verb.verdict("walk-turn-left", "walk and turn ninety degrees left") is True
    assert verb.verdict("walk-turn-left", "walk and veer left") is None
    assert verb.verdict("walk", "walk") is False


def test_runs_and_reversals_are_counted():
    assert stretches(np.array([True, True, False, True])) == [(0, 2), (3, 4)]
    assert swings(np.sin(np.linspace(0, 4 * np.pi, 100)), 0.5) == 4
    assert swings(np.linspace(0, 1, 50), 0.5) == 0
    for path, expected in (
        ([0, 0.3, 0], 1),
        ([0, -0.3, 0], 1),
        ([9, 9.3, 9, 9.3, 9], 3),
        ([0, 0.3, 0.18, 0.3, 0.6], 0),  # what turns back by less than the size goes on
        ([0, -0.3, -0.18, -0.3, -0.6], 0),
        ([0, 0.1, 0, 0.1, 0], 0),
    ):
        assert swings(np.array(path), 0.2) == expected, path


def test_a_state_lasts_from_so_many_frames_in_one_run():
    who = figure(standing(), FPS)
    assert who.seconds == 3.0
    mask = np.zeros(60, bool)
    mask[20:25] = mask[40:49] = True
    assert lasts(who, mask, 9 / FPS) and not lasts(who, mask, 10 / FPS)


def turned(clip: torch.Tensor, degrees: float) -> torch.Tensor:
    """The clip turned to the left about the vertical axis."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return clip @ torch.tensor([[c, 0, -s], [0, 1, 0], [s, 0, c]], dtype=clip.dtype)


def test_what_the_body_sees_does_not_depend_on_where_it_faces():
    """The left ankle is put forward while the body walks forward and drifts to its left."""
    clip = standing()
    clip[:, joints("left_ankle"), 2] += 0.3
    clip += torch.arange(60)[:, None, None] / FPS * torch.tensor([0.2, 0.0, 1.0])
    ahead = figure(clip, FPS)
    scale = float(np.linalg.norm(ahead.at("neck")[0] - ahead.at("pelvis")[0])) / float(
        (clip[0, joints("neck")] - clip[0, joints("pelvis")]).norm()
    )
    np.testing.assert_allclose(ahead.travel[20], scale * np.array([1.0, 0.2]), atol=1e-4)
    np.testing.assert_allclose(ahead.own_view("left_ankle"), ahead.at("left_ankle") - ahead.at("pelvis"), atol=1e-4)
    assert ahead.own_view("left_hip")[0, 0] > 0 > ahead.own_view("right_hip")[0, 0]
    for degrees in (90.0, -130.0):
        other = figure(turned(clip, degrees), FPS)
        np.testing.assert_allclose(other.yaw - ahead.yaw, degrees, atol=1e-3)
        np.testing.assert_allclose(other.travel, ahead.travel, atol=1e-4)
        for name in ("left_ankle", "right_wrist"):
            np.testing.assert_allclose(other.own_view(name), ahead.own_view(name), atol=1e-4)
    assert ahead.speed("right_wrist")[30] > 0.9 and ahead.speed("right_wrist", "pelvis")[30] < 1e-4


def test_both_feet_are_in_the_air_in_a_flight():
    clip = standing()
    clip[15:, joints("left_ankle", "left_foot"), 1] += 0.3
    clip[40:, joints("right_ankle", "right_foot"), 1] += 0.3
    flight = figure(clip, FPS).flight
    assert not flight[:38].any() and flight[43:].all()


def test_smoothing_takes_the_same_time_at_every_rate():
    """A spike of one frame keeps 1 / (sqrt(2 pi) sigma) of its height, sigma being 0.04 s in frames."""
    for fps in (40.0, 100.0):
        clip = faced(person()).expand(60, 22, 3).clone()
        clip[30, joints("left_wrist"), 2] += 0.4
        path = figure(clip, fps).at("left_wrist")[:, 2]
        height = (path[30] - path[0]) / (figure(clip, 1.0).at("left_wrist")[30, 2] - path[0])
        assert height == pytest.approx(1 / (np.sqrt(2 * np.pi) * 0.04 * fps), rel=0.03)


def test_clips_of_other_skeletons_are_refused():
    with pytest.raises(ValueError, match="need"):
        figure(torch.zeros(20, 24, 3), FPS)
    with pytest.raises(ValueError, match="L >= 4"):
        figure(standing()[:3], FPS)
    assert len(figure(standing()[:4], FPS).joints) == 4
