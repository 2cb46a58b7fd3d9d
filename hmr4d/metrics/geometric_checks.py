"""Geometric checks of everyday actions: rules on heights, speeds and angles of joints, without a classifier.

Each check is a simple yes/no rule about a `Figure`, a clip of any length. The rules are intentionally loose: they test
the action, not its style. `hmr4d.evaluation.everyday_verbs` measures their accuracy on real clips. Lengths are meters
of a body of neutral height; "standing height" is that of the pelvis of the same body standing straight.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hmr4d.metrics.figure import LIFTED, SIDES, Figure, lasts, stretches, swings

SEATED = (0.35, 0.7)  # share of the standing height; a chair, a low stool, the steps of a house
STRAIGHT = 0.87  # share of the standing height above which the legs are nearly straight
THIGH_LEVEL = 0.2  # meters by which hips may be above knees for thighs that are nearly level

# --- posture ----------------------------------------------------------------------------------------------------------


def _sitting(who: Figure) -> np.ndarray:
    """(L,) bool: pelvis at the height of a seat, thighs nearly level, trunk not lying."""
    drops = [who.height(f"{side}_hip") - who.height(f"{side}_knee") for side in SIDES]
    level = np.abs(np.mean(drops, 0)) <= THIGH_LEVEL
    return level & (who.stature >= SEATED[0]) & (who.stature <= SEATED[1]) & (who.pitch < 55)


def sits_down(who: Figure) -> bool:
    """The body comes down from standing to a seat and stays there for half a second."""
    still = who.speed("pelvis") < 0.3
    for start, end in stretches(_sitting(who) & still):
        if end - start >= who.frames(0.5) and who.stature[:start].max(initial=0.0) >= STRAIGHT:
            return True
    return False


def stands_up(who: Figure) -> bool:
    """The same reversed in time: from a seat, held for half a second, to standing."""
    return sits_down(Figure(who.joints[::-1], who.fps))


def squats(who: Figure) -> bool:
    """The knees bend to below 0.75 of the standing height and stretch again without a rest; feet stay."""
    low = who.stature < 0.75
    for start, end in stretches(low):
        up = who.stature[:start].max(initial=0.0) >= STRAIGHT and who.stature[end:].max(initial=0.0) >= STRAIGHT
        still = (who.speed("pelvis")[start:end] < 0.12).sum()
        upright = who.pitch[start:end].mean() < 50
        if up and upright and still < who.frames(0.6) and not who.flight[start:end].any():
            return True
    return False


def bows(who: Figure) -> bool:
    """The trunk leans at least 18 degrees more than before on nearly straight legs, hands above the knees."""
    upright = np.quantile(who.pitch, 0.1)
    hands = np.minimum(who.height("left_wrist"), who.height("right_wrist"))
    knees = np.maximum(who.height("left_knee"), who.height("right_knee"))
    bent = (who.pitch >= upright + 18) & (who.pitch >= 20) & (who.stature > 0.8) & (hands > knees - 0.1)
    return lasts(who, bent, 0.3) and _net_speed(who) < 0.3 and not who.flight.any()


def picks_up(who: Figure) -> bool:
    """A hand goes down to the shin or lower and comes up with the body, which stands again."""
    for side in SIDES:
        for start, end in stretches(who.height(f"{side}_wrist") < 0.45):
            lifted = who.height(f"{side}_wrist")[end:].max(initial=0.0) >= 0.7
            if lifted and who.stature[end:].max(initial=0.0) >= 0.8 and end - start < who.frames(3.0):
                return who.pitch.max() < 130  # with the head below the hips it is a somersault
    return False


def stands_still(who: Figure) -> bool:
    """Standing, hands low; most of the time not even the fastest of hands, feet and head exceeds 0.5 m/s."""
    names = ("pelvis", "head", "left_wrist", "right_wrist", "left_ankle", "right_ankle")
    fastest = np.max([who.speed(name) for name in names], 0)
    hands = max(who.over_shoulder(side).max() for side in SIDES)
    calm = np.median(fastest) < 0.5 and np.quantile(fastest, 0.9) < 1.0 and np.ptp(who.height("pelvis")) < 0.15
    return bool(calm and hands < 0.05 and np.median(who.stature) > STRAIGHT)


def balances(who: Figure) -> bool:
    """One foot stays clearly off the floor for 1.5 seconds while the other stands."""
    for side, other in zip(SIDES, SIDES[::-1], strict=True):
        held = (who.height(f"{side}_ankle") > who.height(f"{other}_ankle") + 0.12) & (who.speed(f"{other}_ankle") < 0.3)
        if lasts(who, held & (who.stature > 0.8), 1.5):
            return True
    return False


# --- going somewhere --------------------------------------------------------------------------------------------------


def _net_speed(who: Figure) -> float:
    """m/s between first and last position on the floor."""
    path = who.at("pelvis")[:, [0, 2]]
    return float(np.linalg.norm(path[-1] - path[0])) / who.seconds


def _steps(who: Figure) -> int:
    """Number of changes of the leading foot along the facing direction."""
    return swings(who.own_view("left_ankle")[:, 2] - who.own_view("right_ankle")[:, 2], 0.2)


def _flies(who: Figure, lift: float) -> float:
    """Share of time in which both feet are so many meters over the floor."""
    return float((np.minimum(who.lift["left"], who.lift["right"]) > lift).mean())


def walks(who: Figure) -> bool:
    """Forward on two feet, one step after another, not in flight."""
    forward = who.travel[:, 0].mean()
    return bool(
        0.3 <= forward <= 2.3 and _steps(who) >= 1 and _flies(who, LIFTED) < 0.3 and np.median(who.stature) > 0.8
    )


def runs(who: Figure) -> bool:
    """Forward at 1.5 m/s or more for most of a second, with moments in flight."""
    fast = lasts(who, np.linalg.norm(who.travel, axis=-1) > 1.5, 0.8)
    return fast and _flies(who, 0.03) > 0.02 and _steps(who) >= 1


def walks_backwards(who: Figure) -> bool:
    """The body moves backward."""
    backward, aside = -who.travel[:, 0].mean(), abs(who.travel[:, 1].mean())
    return bool(backward >= 0.2 and backward > aside and _stays_upright(who))


def _stays_upright(who: Figure) -> bool:
    return bool(np.median(who.stature) > 0.75 and np.median(who.pitch) < 45)


def steps_aside(who: Figure, side: str) -> bool:
    """The body moves at least 0.4 m to that side, at least 16 degrees from the facing direction."""
    sign = 1.0 if side == "left" else -1.0
    aside = sign * who.travel[:, 1]
    moving = np.abs(aside) > 0.15
    shift = float(aside.sum()) / who.fps
    forward = abs(float(who.travel[:, 0].sum())) / who.fps
    return bool(shift >= 0.4 and shift > 0.28 * forward and moving.mean() > 0.2 and _stays_upright(who))


def turns(who: Figure, side: str, degrees: float = 45.0) -> bool:
    """The body faces at least 45 degrees further to that side at the end than at the beginning."""
    sign = 1.0 if side == "left" else -1.0
    end = who.frames(0.2)
    change = sign * (np.median(who.yaw[-end:]) - np.median(who.yaw[:end]))
    return bool(change >= degrees and _stays_upright(who))


def turns_around(who: Figure) -> bool:
    """The body turns by at least 120 degrees."""
    return bool(np.ptp(who.yaw) >= 120 and _stays_upright(who))


def stops(who: Figure) -> bool:
    """Faster than 0.6 m/s for half a second, and slower than 0.3 m/s and 30 % of that at the end."""
    speed = np.linalg.norm(who.travel, axis=-1)
    end = who.frames(0.25)
    peak = np.quantile(speed, 0.9)
    return bool(lasts(who, speed > 0.6, 0.5) and speed[-end:].mean() < min(0.45, 0.35 * peak))


def jogs_in_place(who: Figure) -> bool:
    """The feet are lifted in turn, five times in 4 seconds or more, and the body stays in place."""
    count = swings(who.height("left_ankle") - who.height("right_ankle"), 0.08)
    return count >= max(3, 1.25 * who.seconds) and _net_speed(who) < 0.5 and abs(who.travel[:, 0].mean()) < 0.5


def climbs(who: Figure) -> bool:
    """For a third of a second both feet are at least 0.25 m higher than before: stairs, steps, a ladder."""
    lower = np.minimum(who.height("left_ankle"), who.height("right_ankle"))
    hold = who.frames(0.3)
    carried = np.array([lower[i : i + hold].min() for i in range(max(len(lower) - hold, 1))])
    gain = (carried - np.minimum.accumulate(carried)).max()
    return bool(gain >= 0.25 and np.median(who.pitch) < 60 and not lasts(who, _sitting(who), 1.0))


# --- leaving the floor ------------------------------------------------------------------------------------------------


def _leaps(who: Figure) -> list[tuple[int, int]]:
    """Flights of up to a second, both feet off the floor, with the pelvis 8 cm above its usual height."""
    usual = np.median(who.height("pelvis"))
    return [
        (start, end)
        for start, end in stretches(who.flight)
        if who.frames(0.1) <= end - start <= who.frames(1.0) and who.height("pelvis")[start:end].max() >= usual + 0.08
    ]


def jumps(who: Figure) -> bool:
    """Both feet leave the floor by 5 cm or more while the pelvis rises."""
    return bool(_leaps(who))


def jumps_forward(who: Figure) -> bool:
    """A jump that carries the body at least 0.3 m ahead."""
    path = who.at("pelvis")[:, [0, 2]]
    pad = who.frames(0.1)
    gains = [
        np.linalg.norm(path[min(end + pad, len(path) - 1)] - path[max(start - pad, 0)]) for start, end in _leaps(who)
    ]
    return bool(max(gains, default=0.0) >= 0.3)


def hops(who: Figure) -> bool:
    """One foot stays off the floor while the other leaves it and lands, at least twice."""
    for side, other in zip(SIDES, SIDES[::-1], strict=True):
        for start, end in stretches(who.height(f"{side}_ankle") > who.height(f"{other}_ankle") + 0.05):
            if end - start >= who.frames(0.7) and len(stretches(who.lift[other][start:end] > 0.03)) >= 2:
                return True
    return False


def jumping_jacks(who: Figure) -> bool:
    """Feet apart with the hands up, feet together with the hands down, at least once each."""
    spread = np.abs(who.own_view("left_ankle")[:, 0] - who.own_view("right_ankle")[:, 0])
    hands = np.minimum(who.over_shoulder("left"), who.over_shoulder("right"))
    return bool(((spread > 0.42) & (hands > 0)).any() and ((spread < 0.4) & (hands < -0.1)).any())


def turns_over(who: Figure) -> bool:
    """The feet are above the hips and the hips above the head, as in a cartwheel or a handstand."""
    feet = np.maximum(who.height("left_ankle"), who.height("right_ankle"))
    hips = who.height("pelvis")
    return bool(((feet > hips) & (hips > who.height("head") - 0.05)).any())


# --- limbs ------------------------------------------------------------------------------------------------------------


def kicks(who: Figure, height: float = 0.2) -> bool:
    """A foot swings out, ahead or aside, faster than 4.5 m/s as seen from the pelvis, while the other stands.

    Args:
        who: of the clip.
        height: meters that toe or ankle reach in front of the body; 0.2 for a ball, 0.45, the knee's, for an opponent.
    """
    for leg, other in zip(SIDES, SIDES[::-1], strict=True):
        foot = who.own_view(f"{leg}_foot")
        out = (np.linalg.norm(foot[:, [0, 2]], axis=-1) > 0.35) & (foot[:, 2] > -0.2)
        high = np.maximum(who.height(f"{leg}_foot"), who.height(f"{leg}_ankle")) > height
        fast = who.speed(f"{leg}_foot", "pelvis") > 4.5
        near = np.convolve(fast, np.ones(2 * who.frames(0.3) + 1), "same") > 0
        standing = (who.height(f"{other}_ankle") < 0.25) & (who.speed(f"{other}_ankle") < 1.5)
        if (out & high & near & standing).any():
            return True
    return False


def punches(who: Figure) -> bool:
    """A bent arm is thrust out near shoulder height, the hand faster than 2 m/s as seen from the pelvis."""
    for arm in SIDES:
        reach = np.linalg.norm(who.at(f"{arm}_wrist") - who.at(f"{arm}_shoulder"), axis=-1)
        full = np.median(np.linalg.norm(who.at(f"{arm}_elbow") - who.at(f"{arm}_shoulder"), axis=-1))
        full += np.median(np.linalg.norm(who.at(f"{arm}_wrist") - who.at(f"{arm}_elbow"), axis=-1))
        outward = np.gradient(reach) * who.fps
        back = who.frames(0.4)
        level = np.abs(who.over_shoulder(arm)) < 0.35
        speed = who.speed(f"{arm}_wrist", "pelvis")
        for frame in np.flatnonzero((reach > 0.85 * full) & level):
            before = slice(max(frame - back, 0), frame + 1)
            thrust = reach[before].min() < 0.75 * full and outward[before].max() > 1.2
            if thrust and speed[before].max() > 2.0:
                return True
    return False


def _waving(who: Figure, side: str) -> bool:
    """The wrist is above the chest and goes to and fro there, at least two reversals of 3 cm in 3 seconds."""
    wrist = who.own_view(f"{side}_wrist") - who.own_view(f"{side}_shoulder")
    for start, end in stretches(who.over_shoulder(side) > -0.15):
        window = who.frames(3.0)
        for first in range(start, max(end - window, start) + 1, who.frames(0.5)):
            part = wrist[first : min(first + window, end)]
            if len(part) >= who.frames(0.5) and max(swings(part[:, axis], 0.03) for axis in range(3)) >= 2:
                return True
    return False


def waves(who: Figure, side: str | None = None) -> bool:
    """A raised hand goes to and fro; the side that is named, or "both", or either for None."""
    if not _stays_in_place(who):
        return False
    found = {one: _waving(who, one) for one in SIDES}
    if side is None:
        return any(found.values())
    if side == "both":
        return all(found.values())
    other = "right" if side == "left" else "left"
    return found[side] and not _raised(who, other)


def _stays_in_place(who: Figure) -> bool:
    return _net_speed(who) < 0.5 and bool(np.median(who.stature) > 0.8)


def _raised(who: Figure, side: str) -> bool:
    """The wrist is at the height of the shoulder or above for 0.3 seconds."""
    return lasts(who, who.over_shoulder(side) > -0.08, 0.3)


def raises(who: Figure, side: str) -> bool:
    """The hand of the named side alone, or "both", comes up to the shoulder or above and stays for a moment."""
    low = [who.over_shoulder(one).min() < -0.1 for one in SIDES]
    if side == "both":
        return all(_raised(who, one) for one in SIDES) and all(low) and _stays_in_place(who)
    other = "right" if side == "left" else "left"
    return _raised(who, side) and not _raised(who, other) and low[SIDES.index(side)] and _stays_in_place(who)


def reaches_up(who: Figure) -> bool:
    """A hand goes far over the head."""
    return any(lasts(who, who.height(f"{side}_wrist") > who.height("head") + 0.2, 0.3) for side in SIDES)


def drinks(who: Figure) -> bool:
    """One hand comes to the mouth and rests there for half a second, the other stays low."""
    for side, other in zip(SIDES, SIDES[::-1], strict=True):
        hand = np.linalg.norm(who.at(f"{side}_wrist") - who.at("head"), axis=-1)
        ahead = who.own_view(f"{side}_wrist")[:, 2] - who.own_view("head")[:, 2]
        sips = (hand < 0.37) & (who.over_shoulder(side) > 0.05) & (ahead > 0.05) & (who.over_shoulder(other) < -0.05)
        if lasts(who, sips & (who.speed(f"{side}_wrist", "pelvis") < 0.6), 0.5):
            return _stays_in_place(who) and who.over_shoulder(side).min() < -0.05
    return False


def twists(who: Figure) -> bool:
    """The shoulders turn to and fro against the hips by 30 degrees."""
    angles = []
    for name in ("hip", "shoulder"):
        x, z = (who.at(f"left_{name}") - who.at(f"right_{name}"))[:, [0, 2]].T
        angles.append(np.degrees(np.unwrap(np.arctan2(-z, x))))
    return swings(angles[1] - angles[0], 30.0) >= 1 and _net_speed(who) < 0.4


def dances(who: Figure) -> bool:
    """Arms and legs move all the time, and the body goes to and fro or turns rather than straight ahead."""
    hands = [np.mean(who.speed(f"{side}_wrist", "pelvis")) for side in SIDES]
    feet = [np.mean(who.speed(f"{side}_ankle", "pelvis")) for side in SIDES]
    path = who.at("pelvis")[:, [0, 2]]
    way = np.linalg.norm(np.diff(path, axis=0), axis=-1).sum()
    straight = np.linalg.norm(path[-1] - path[0]) / max(way, 1e-6)
    lively = min(hands) > 0.35 and min(feet) > 0.3
    return bool(lively and abs(who.travel[:, 0].mean()) < 0.5 and (straight < 0.8 or np.ptp(who.yaw) > 90))


CHECKS: dict[str, Callable[[Figure], bool]] = {
    "sits_down": sits_down, "stands_up": stands_up, "squats": squats, "bows": bows, "picks_up": picks_up,
    "stands_still": stands_still, "balances": balances, "walks": walks, "runs": runs,
    "walks_backwards": walks_backwards, "steps_left": lambda who: steps_aside(who, "left"),
    "steps_right": lambda who: steps_aside(who, "right"), "turns_left": lambda who: turns(who, "left"),
    "turns_right": lambda who: turns(who, "right"), "turns_around": turns_around, "stops": stops,
    "jogs_in_place": jogs_in_place, "climbs": climbs, "jumps": jumps, "jumps_forward": jumps_forward, "hops": hops,
    "jumping_jacks": jumping_jacks, "turns_over": turns_over, "kicks": kicks,
    "kicks_high": lambda who: kicks(who, 0.45), "punches": punches,
    "waves": waves, "waves_left": lambda who: waves(who, "left"), "waves_right": lambda who: waves(who, "right"),
    "waves_both": lambda who: waves(who, "both"), "raises_left": lambda who: raises(who, "left"),
    "raises_right": lambda who: raises(who, "right"), "raises_both": lambda who: raises(who, "both"),
    "reaches_up": reaches_up, "drinks": drinks, "twists": twists, "dances": dances,
}  # fmt: skip
