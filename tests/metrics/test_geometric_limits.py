"""Every geometric check on both sides of its limits: figures of exact sizes and speeds, neither scaled nor smoothed."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from hmr4d.body.skeleton import SMPL22
from hmr4d.metrics.figure import STANDING, Figure, figure
from hmr4d.metrics.geometric_checks import CHECKS
from tests.metrics.test_geometric_checks import UPPER, standing

FPS = 20.0
TRUNK = [j for j in UPPER if SMPL22.joint_names[j] not in ("pelvis", "left_hip", "right_hip")]
LEFT_LEG, RIGHT_LEG = ([SMPL22.index(f"{side}_{p}") for p in ("knee", "ankle", "foot")] for side in ("left", "right"))


@cache
def pose() -> np.ndarray:
    """(22, 3) somebody who stands, faces +z and has ankles of one height, wrists low."""
    joints = figure(standing(), FPS).joints[0].copy()
    for part in ("knee", "ankle", "foot", "wrist"):
        pair = list(SMPL22.indices(f"left_{part}", f"right_{part}"))
        joints[pair, 1] = joints[pair, 1].mean()
    return joints


@cache
def legs() -> float:
    """Meters of thigh and shank."""
    return Figure(pose()[None], FPS).legs


class Actor:
    """A figure in the making: (L, 22, 3), standing at first; the left of the body is +x."""

    def __init__(self, seconds: float = 3.0) -> None:
        self.joints = np.tile(pose(), (round(seconds * FPS), 1, 1))
        self.time = np.arange(len(self.joints)) / FPS

    def during(self, start: float, end: float) -> slice:
        return slice(round(start * FPS), round(end * FPS))

    def path(self, name: str) -> np.ndarray:
        """(L, 3) of a joint, to be changed in place."""
        return self.joints[:, SMPL22.index(name)]

    def moves(self, x: float | np.ndarray = 0.0, z: float | np.ndarray = 0.0) -> Actor:
        """The body moves at these speeds, m/s, constant or (L,)."""
        for axis, speed in ((0, x), (2, z)):
            self.joints[..., axis] += (np.cumsum(np.broadcast_to(speed, len(self.time))) / FPS)[:, None]
        return self

    def lowered(self, stature: float | np.ndarray) -> Actor:
        """Everything from the hips up moves down until the pelvis is at this share of the standing height."""
        drop = self.path("pelvis")[:, 1] - np.broadcast_to(stature, len(self.time)) * STANDING * legs()
        self.joints[:, UPPER, 1] -= drop[:, None]
        return self

    def leaned(self, degrees: float, start: float = 0.0, end: float = 99.0) -> Actor:
        """The trunk leans forward by so much from upright in these seconds; it turns about the pelvis."""
        part = self.during(start, end)
        neck = pose()[SMPL22.index("neck")] - pose()[0]
        angle = np.radians(degrees) - np.arctan2(neck[2], neck[1])
        c, s = np.cos(angle), np.sin(angle)
        for joint in TRUNK:
            y, z = (self.joints[part, joint] - self.joints[part, 0])[:, 1:].T
            self.joints[part, joint, 1:] = self.joints[part, 0, 1:] + np.stack([y * c - z * s, y * s + z * c], -1)
        return self

    def turned(self, degrees: np.ndarray, joints: list[int] | None = None) -> Actor:
        """(L,) degrees to the left about the vertical axis through the pelvis, of some joints or all."""
        chosen = list(range(22)) if joints is None else joints
        c, s = np.cos(np.radians(degrees))[:, None], np.sin(np.radians(degrees))[:, None]
        x, z = np.moveaxis((self.joints[:, chosen] - self.joints[:, :1])[..., [0, 2]], -1, 0)
        self.joints[:, chosen, 0] = self.joints[:, :1, 0] + c * x + s * z
        self.joints[:, chosen, 2] = self.joints[:, :1, 2] - s * x + c * z
        return self

    def does(self, check: str) -> bool:
        who = Figure(self.joints, FPS)
        vars(who)["legs"] = legs()  # as long as before: knees of a lowered body do not bend here
        return bool(CHECKS[check](who))


# --- posture ----------------------------------------------------------------------------------------------------------


def seated(stature: float = 0.5, seconds: float = 1.0, thighs: float = 0.0, lean: float = 0.0) -> Actor:
    """Stands for a second, then sits so long, with hips so many meters over the knees; the end is the seat."""
    actor = Actor(1.0 + seconds)
    actor.lowered(np.where(actor.time < 1.0, 1.0, stature))
    sits = actor.during(1.0, 99.0)
    for side in ("left", "right"):
        actor.path(f"{side}_knee")[sits, 1] = actor.path(f"{side}_hip")[sits, 1] - thighs
    return actor.leaned(lean, 1.0)


def squatting(low: float = 0.6, rest: float = 0.0, lean: float = 0.0, start: float = 1.0, end: float = 1.0) -> Actor:
    """Goes down and up within a second, and rests at the bottom; statures at the start, bottom and end."""
    down, up = np.linspace(start, low, 10), np.linspace(low, end, 10)
    way = np.concatenate([np.full(10, start), down, np.full(round(rest * FPS), low), up, np.full(10, end)])
    actor = Actor(len(way) / FPS).lowered(way)
    return actor.leaned(lean, 0.5, len(way) / FPS - 0.5)


def bowing(
    degrees: float = 30.0, seconds: float = 0.5, speed: float = 0.0, hands: float = 0.0, stature: float = 1.0
) -> Actor:
    """Bows from the first second on, with both hands so many meters over the higher knee (0: where they are)."""
    actor = Actor().moves(z=speed).lowered(stature).leaned(degrees, 1.0, 1.0 + seconds)
    if hands:
        knee = max(actor.path(f"{side}_knee")[0, 1] for side in ("left", "right"))
        actor.path("left_wrist")[:, 1] = actor.path("right_wrist")[:, 1] = knee + hands
    return actor


def picking_up(reach: float = 0.4, seconds: float = 1.0, lifted: float = 0.75, stature: float = 1.0) -> Actor:
    """The right hand goes to this height for so long and then to another one, the body to a stature."""
    actor = Actor(2.0 + seconds)
    actor.lowered(np.where(actor.time < 1.0 + seconds, 1.0, stature))
    hand = actor.path("right_wrist")
    hand[actor.during(1.0, 1.0 + seconds), 1] = reach
    hand[actor.during(1.0 + seconds, 99.0), 1] = lifted
    return actor


def standing_still(hand_speed: float = 0.0, over_shoulder: float | None = None, stature: float = 1.0) -> Actor:
    actor = Actor().lowered(stature)
    hand = actor.path("left_wrist")
    hand[:, 2] += hand_speed * actor.time
    if over_shoulder is not None:
        hand[:, 1] = actor.path("left_shoulder")[:, 1] + over_shoulder
    return actor


def balancing(lift: float = 0.2, seconds: float = 1.5, slide: float = 0.0, stature: float = 1.0) -> Actor:
    """The left foot is so high for so long while the right one slides at a speed."""
    actor = Actor().lowered(stature)
    actor.path("left_ankle")[actor.during(0.5, 0.5 + seconds), 1] += lift
    actor.path("right_ankle")[:, 0] += slide * actor.time
    return actor


def upside_down(is_upside_down: bool) -> Actor:
    actor = Actor()
    if is_upside_down:
        actor.joints[..., 1] = actor.joints[..., 1].max() - actor.joints[..., 1]
    return actor


# --- going somewhere --------------------------------------------------------------------------------------------------


def going(
    forward: float = 0.0,
    left: float = 0.0,
    stride: float = 0.0,
    hop: float = 0.0,
    stature: float = 1.0,
    seconds: float = 3.0,
) -> Actor:
    """Goes at speeds, the ankles swing by `stride` meters to the front and back, the feet leave the floor by `hop`."""
    actor = Actor(seconds).lowered(stature).moves(x=left, z=forward)
    swing = np.sin(2 * np.pi * actor.time)[:, None] * stride / 2
    actor.joints[:, LEFT_LEG, 2] += swing
    actor.joints[:, RIGHT_LEG, 2] -= swing
    if hop:
        actor.joints[actor.during(1.0, 1.3), :, 1] += hop
    return actor


def stopping(fast: float, slow: float, seconds: float = 2.0) -> Actor:
    """Fast for so long in the first seconds, slow at the end."""
    actor = Actor()
    return actor.moves(z=np.where(actor.time < seconds, fast, slow))


def jogging(lift: float = 0.1, pace: float = 1.0, speed: float = 0.0) -> Actor:
    """The feet go up in turn for four seconds, both `pace` times a second."""
    actor = Actor(4.0).moves(z=speed)
    swing = lift * np.sin(2 * np.pi * pace * actor.time)[:, None]
    actor.joints[:, LEFT_LEG, 1] += swing.clip(min=0)
    actor.joints[:, RIGHT_LEG, 1] += (-swing).clip(min=0)
    return actor


def turning(degrees: float, stature: float = 1.0) -> Actor:
    actor = Actor().lowered(stature)
    return actor.turned(degrees * np.clip((actor.time - 0.5) / 2.0, 0, 1))


def climbing(gain: float, seconds: float = 1.5) -> Actor:
    """The body is higher from the first second on, for so long."""
    actor = Actor()
    actor.joints[actor.during(1.0, 1.0 + seconds), :, 1] += gain
    return actor


# --- leaving the floor, limbs -----------------------------------------------------------------------------------------


def jumping(lift: float = 0.1, seconds: float = 0.3, ahead: float = 0.0, tucks: bool = False) -> Actor:
    actor = Actor()
    flies = actor.during(1.0, 1.0 + seconds)
    for joint in LEFT_LEG + RIGHT_LEG if tucks else range(22):
        actor.joints[flies, joint, 1] += lift
    actor.joints[..., 2] += (ahead * np.clip((actor.time - 1.0) / seconds, 0, 1))[:, None]
    return actor


def hopping(lift: float = 0.06, times: int = 2, other: float = 0.2) -> Actor:
    """The right foot leaves the floor so often, the left foot stays `other` meters higher."""
    actor = Actor()
    for number in range(times):
        actor.joints[actor.during(1.0 + number, 1.3 + number), :, 1] += lift
    actor.joints[:, LEFT_LEG, 1] += other
    return actor


def jumping_jack(apart: float = 0.5, together: float = 0.3, up: float = 0.1, down: float = -0.2) -> Actor:
    """One second with the feet apart and the hands up, then together and down, heights over the shoulders."""
    actor = Actor(2.0)
    first = actor.time < 1.0
    for side, sign in (("left", 1.0), ("right", -1.0)):
        actor.path(f"{side}_ankle")[:, 0] = actor.path("pelvis")[:, 0] + sign * np.where(first, apart, together) / 2
        height = actor.path(f"{side}_shoulder")[:, 1] + np.where(first, up, down)
        actor.path(f"{side}_wrist")[:, 1] = height
    return actor


def reaching(over_head: float = 0.25, seconds: float = 0.5) -> Actor:
    actor = Actor()
    part = actor.during(1.0, 1.0 + seconds)
    actor.path("right_wrist")[part, 1] = actor.path("head")[part, 1] + over_head
    return actor


def drinking(
    distance: float = 0.3, seconds: float = 1.0, ahead: float = 0.1, other: float = -0.3, lowers: bool = True
) -> Actor:
    """The right hand comes to a distance of the head, and in front of it; the left one is over its shoulder."""
    actor = Actor()
    part = actor.during(1.0, 1.0 + seconds) if lowers else slice(None)
    aside = np.sqrt(distance**2 - ahead**2)
    actor.path("right_wrist")[part] = actor.path("head")[part] + np.array([-aside, 0.0, ahead])
    actor.path("left_wrist")[:, 1] = actor.path("left_shoulder")[:, 1] + other
    return actor


def twisting(degrees: float, speed: float = 0.0) -> Actor:
    """The shoulders turn to and fro by so many degrees in all."""
    actor = Actor(4.0).moves(z=speed)
    return actor.turned(
        degrees / 2 * np.sin(np.pi * actor.time), list(SMPL22.indices("left_shoulder", "right_shoulder"))
    )


def dancing(hands: float = 0.2, feet: float = 0.2, sway: float = 0.3, forward: float = 0.0) -> Actor:
    """Hands and feet swing by meters about the body once a second; it sways, and goes forward."""
    actor = Actor().moves(z=forward)
    swing = np.sin(2 * np.pi * actor.time)
    for side in ("left", "right"):
        actor.path(f"{side}_wrist")[:, 1] += hands * swing
        actor.path(f"{side}_ankle")[:, 2] += feet * swing
    actor.joints[..., 0] += sway * swing[:, None]
    return actor


def raising(seconds: float = 0.5, over_shoulder: float = 0.1, other: float = -0.3) -> Actor:
    """The left hand comes up for so long, the right one is so many meters over its shoulder."""
    actor = Actor()
    part = actor.during(1.0, 1.0 + seconds)
    actor.path("left_wrist")[part, 1] = actor.path("left_shoulder")[part, 1] + over_shoulder
    actor.path("right_wrist")[:, 1] = actor.path("right_shoulder")[:, 1] + other
    return actor


def waving(size: float = 0.1, over_shoulder: float = 0.1, speed: float = 0.0) -> Actor:
    """The left hand goes to and fro by so many meters, once a second."""
    actor = Actor().moves(z=speed)
    hand = actor.path("left_wrist")
    hand[:, 1] = actor.path("left_shoulder")[:, 1] + over_shoulder
    hand[:, 0] += size / 2 * np.sin(2 * np.pi * actor.time)
    return actor


def kicking(
    ahead: float = 0.5, height: float = 0.3, frames: int = 1, support: float = 0.0, slide: float = 0.0
) -> Actor:
    """The right foot goes so far from the pelvis within frames, at a height, while the left one is lifted or slides."""
    actor = Actor()
    share = np.clip((np.arange(len(actor.time)) - 20) / frames, 0, 1)
    for part in ("ankle", "foot"):
        foot = actor.path(f"right_{part}")
        foot[:, 2] = actor.path("pelvis")[:, 2] + share * ahead
        foot[:, 1] += share * (height - foot[0, 1])
    actor.path("left_ankle")[:, 1] += support
    actor.path("left_ankle")[:, 0] += slide * actor.time
    return actor


def punching(reach: float = 0.42, bent: float = 0.15, frames: int = 2) -> Actor:
    """The right wrist goes from one distance of the shoulder to another within frames; arms of 0.45 m."""
    actor = Actor()
    shoulder = actor.path("right_shoulder")
    share = np.clip((np.arange(len(actor.time)) - 40) / frames, 0, 1)
    elbow, wrist = np.zeros((2, *shoulder.shape))
    elbow[:, 1], wrist[:, 2] = -0.2, bent + share * (reach - bent)
    actor.path("right_elbow")[:], actor.path("right_wrist")[:] = shoulder + elbow, shoulder + wrist
    return actor


def on_both_sides(actor: Actor) -> Actor:
    """The right wrist does what the left one does."""
    left, right = (actor.path(f"{side}_wrist") - actor.path(f"{side}_shoulder") for side in ("left", "right"))
    right[:] = left * np.array([-1.0, 1.0, 1.0])
    actor.path("right_wrist")[:] = actor.path("right_shoulder") + right
    return actor


def cases() -> dict[str, tuple[list[Actor], list[Actor]]]:
    """Check -> figures that do it, and figures that just do not."""
    return {
        "sits_down": (
            [seated(), seated(0.36), seated(0.69), seated(seconds=0.65), seated(thighs=0.19), seated(lean=54)],
            [seated(0.34), seated(0.71), seated(seconds=0.5), seated(thighs=0.21), seated(lean=57), Actor()],
        ),
        "squats": (
            [squatting(), squatting(0.73), squatting(rest=0.4), squatting(lean=45)],
            [squatting(0.78), squatting(rest=1.0), squatting(lean=60), squatting(start=0.8), squatting(end=0.8)],
        ),
        "bows": (
            [bowing(), bowing(21), bowing(seconds=0.3), bowing(speed=0.25), bowing(stature=0.82), bowing(hands=-0.05)],
            [bowing(17), bowing(seconds=0.2), bowing(speed=0.35), bowing(stature=0.78), bowing(hands=-0.15)],
        ),
        "picks_up": (
            [
                picking_up(),
                picking_up(0.44),
                picking_up(seconds=2.9),
                picking_up(lifted=0.71),
                picking_up(stature=0.81),
            ],
            [picking_up(0.46), picking_up(seconds=3.1), picking_up(lifted=0.69), picking_up(stature=0.79)],
        ),
        "stands_still": (
            [Actor(), standing_still(0.45), standing_still(over_shoulder=0.04), standing_still(stature=0.88)],
            [standing_still(0.55), standing_still(over_shoulder=0.06), standing_still(stature=0.86)],
        ),
        "balances": (
            [balancing(), balancing(0.13), balancing(slide=0.25), balancing(stature=0.82)],
            [balancing(0.11), balancing(seconds=1.4), balancing(slide=0.35), balancing(stature=0.78)],
        ),
        "turns_over": ([upside_down(True)], [upside_down(False)]),
        "walks": (
            [going(0.35, stride=0.5), going(2.2, stride=0.5), going(1.0, stride=0.5, stature=0.82)],
            [going(0.25, stride=0.5), going(2.4, stride=0.5), going(1.0, stride=0.5, stature=0.78), going(1.0)],
        ),
        "runs": (
            [going(1.6, stride=0.6, hop=0.1)],
            [going(1.4, stride=0.6, hop=0.1), going(1.6, stride=0.6), going(1.6, hop=0.1)],
        ),
        "walks_backwards": (
            [going(-0.25), going(-0.5, left=0.45)],
            [going(-0.15), going(-0.5, left=0.55), going(0.5), going(-0.5, stature=0.7)],
        ),
        "steps_left": (
            [going(left=0.16), going(0.5, left=0.16)],
            [going(left=0.16, seconds=2.0), going(left=0.14, seconds=4.0), going(1.0, left=0.25), going(left=-0.5)],
        ),
        "turns_left": ([turning(50)], [turning(42), turning(-50), turning(50, stature=0.7)]),
        "turns_right": ([turning(-50)], [turning(-42), turning(50)]),
        "turns_around": ([turning(122), turning(-122)], [turning(118), turning(122, stature=0.7)]),
        "stops": (
            [stopping(1.0, 0.3), stopping(0.65, 0.2), stopping(2.0, 0.42)],
            [stopping(1.0, 0.4), stopping(0.55, 0.0), stopping(2.0, 0.5), stopping(1.0, 0.0, seconds=0.4)],
        ),
        "jogs_in_place": (
            [jogging(), jogging(0.05), jogging(speed=0.45)],
            [jogging(0.03), jogging(pace=0.5), jogging(speed=0.55)],
        ),
        "climbs": ([climbing(0.26), climbing(0.4, 0.5)], [climbing(0.24), climbing(0.4, 0.2)]),
        "jumps": (
            [jumping(), jumping(0.085), jumping(seconds=0.1), jumping(seconds=1.0)],
            [jumping(0.075), jumping(seconds=0.05), jumping(seconds=1.1), jumping(tucks=True)],
        ),
        "jumps_forward": ([jumping(ahead=0.32)], [jumping(ahead=0.28)]),
        "hops": ([hopping(), hopping(0.04)], [hopping(0.02), hopping(times=1), hopping(other=0.04)]),
        "jumping_jacks": (
            [jumping_jack(), jumping_jack(apart=0.43), jumping_jack(together=0.39), jumping_jack(down=-0.11)],
            [jumping_jack(apart=0.41), jumping_jack(together=0.41), jumping_jack(up=-0.01), jumping_jack(down=-0.09)],
        ),
        "reaches_up": ([reaching(), reaching(0.21), reaching(seconds=0.3)], [reaching(0.19), reaching(seconds=0.25)]),
        "drinks": (
            [drinking(), drinking(0.36), drinking(seconds=0.7), drinking(ahead=0.06), drinking(other=-0.06)],
            [
                drinking(0.38),
                drinking(seconds=0.45),
                drinking(ahead=0.04),
                drinking(other=-0.04),
                drinking(lowers=False),
            ],
        ),
        "twists": ([twisting(32)], [twisting(28), twisting(32, speed=0.45)]),
        "dances": (
            [dancing(), dancing(hands=0.1), dancing(feet=0.08)],
            [dancing(hands=0.08), dancing(feet=0.07), dancing(sway=0.0, forward=0.4), dancing(forward=0.55)],
        ),
        "raises_left": (
            [raising(), raising(0.3), raising(over_shoulder=-0.07)],
            [raising(0.25), raising(over_shoulder=-0.09), raising(other=0.0)],
        ),
        "waves_left": (
            [waving(), waving(0.04), waving(over_shoulder=-0.14)],
            [waving(0.02), waving(over_shoulder=-0.16)],
        ),
        "waves": ([waving(speed=0.45)], [waving(speed=0.55)]),
        "waves_both": ([on_both_sides(waving())], [waving()]),
        "raises_both": ([on_both_sides(raising())], [raising()]),
        "kicks": (
            [kicking(), kicking(0.37), kicking(height=0.21), kicking(support=0.1), kicking(slide=1.4)],
            [
                kicking(0.33),
                kicking(-0.5),
                kicking(height=0.19),
                kicking(frames=3),
                kicking(support=0.3),
                kicking(slide=1.6),
            ],
        ),
        "kicks_high": ([kicking(height=0.46)], [kicking(height=0.44)]),
        "punches": (
            [punching(), punching(0.39)],
            [punching(0.37), punching(bent=0.35), punching(frames=3)],
        ),
    }


@pytest.mark.parametrize("check", cases())
def test_actions_are_recognized_up_to_the_limits_and_not_beyond(check: str) -> None:
    done, not_done = cases()[check]
    assert [actor.does(check) for actor in done] == [True] * len(done)
    assert [actor.does(check) for actor in not_done] == [False] * len(not_done)
