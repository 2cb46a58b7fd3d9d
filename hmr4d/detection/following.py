"""Tracking of people through the frames of a video.

People of the previous frame are searched at their predicted position. The whole image is searched at intervals, and
squares of it for small people; the published tracker searches only the whole image, and only when it has lost all
people. Identities are not decided here but over the whole video, by `keypoint_files.tracking`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from hmr4d.detection.networks import BODY_SCALE, BodyJoints, JointFinder, PeopleFinder
from hmr4d.detection.regions import Region
from hmr4d.detection.scanning import LEVELS, distinct, squares


@dataclass(frozen=True)
class FollowOptions:
    """Options of the search.

    Attributes:
        most_people: maximum number of tracked people; the largest are kept. least_presence: minimum presence of a new
            person. still_present: minimum presence of a person of the previous frame.
        whole_every, squares_every: seconds between searches of the whole image, and of its squares.
        search_every: seconds between searches of the squares while no person is tracked.
        hidden: seconds for which a lost person is searched around the last position, in every frame.
        same_joints: median distance of joints over the size of the body up to which two are the same person.
    """

    most_people: int = 8
    least_presence: float = 0.5
    still_present: float = 0.2
    whole_every: float = 0.5
    squares_every: float = 2.0
    search_every: float = 0.5
    hidden: float = 0.7
    same_joints: float = 0.06


@dataclass(frozen=True)
class _Followed:
    """A detected person, and the velocity of their region (u, v and size per second)."""

    body: BodyJoints
    time: float
    motion: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def region_at(self, time: float) -> Region:
        """The predicted search region with constant velocity."""
        region, seconds = self.body.next_region, min(time - self.time, 0.2)
        du, dv, growth = self.motion
        size = region.size * math.exp(float(np.clip(growth * seconds, -0.2, 0.2)))
        return Region(region.u + du * seconds, region.v + dv * seconds, size, region.angle)

    def seen_again(self, body: BodyJoints, time: float) -> _Followed:
        seconds = max(time - self.time, 1e-3)
        before, now = self.body.next_region, body.next_region
        steps = ((now.u - before.u), (now.v - before.v), math.log(now.size / before.size))
        # Half of the newest motion: a region that overshoots costs more than one that lags.
        motion = tuple(0.5 * old + 0.5 * step / seconds for old, step in zip(self.motion, steps, strict=True))
        return _Followed(body, time, (motion[0], motion[1], motion[2]))


class PeopleFollower:
    """Detects all people in the frames of a video, one after the other.

    Args:
        people, joints: the networks.
        size: width and height of the frames. options: see `Following`.
    """

    def __init__(
        self, people: PeopleFinder, joints: JointFinder, size: tuple[int, int], options: FollowOptions | None = None
    ) -> None:
        self._people, self._joints, self._size = people, joints, size
        self._options = options or FollowOptions()
        self._followed: list[_Followed] = []
        self._lost: list[_Followed] = []
        self._whole_at = self._squares_at = -math.inf

    def step(self, picture: Image.Image, time: float) -> list[BodyJoints]:
        """All people in a frame.

        Args:
            picture: the next frame. time: its time in seconds, increasing.
        """
        seen = self._follow(picture, time)
        known = [one.body.next_region for one in seen]
        for sighting in distinct(self._people(picture, self._search(time, bool(seen))), known):
            body = self._joints(picture, [sighting.region])[0]
            if body.presence >= self._options.least_presence:  # once more, in the region that it predicts
                body = self._joints(picture, [body.next_region])[0]
            is_there = self._is_there(body, self._options.least_presence)
            if is_there and not any(self._are_same(body, one.body) for one in seen):
                seen.append(_Followed(body, time))
        seen.sort(key=lambda one: -one.body.next_region.size)
        self._followed = seen[: self._options.most_people]
        bodies = [one.body for one in self._followed]
        self._lost = [one for one in self._lost if not any(self._are_same(one.body, body) for body in bodies)]
        return bodies

    def _follow(self, picture: Image.Image, time: float) -> list[_Followed]:
        """The people of the previous frame who are also in this one."""
        bodies = self._joints(picture, [one.region_at(time) for one in self._followed])
        pairs = list(zip(self._followed, bodies, strict=True))
        pairs.sort(key=lambda pair: _surprise(pair[0].region_at(time), pair[1].next_region))
        seen: list[_Followed] = []
        for before, body in pairs:
            is_there = self._is_there(body, self._options.still_present)
            if is_there and not any(self._are_same(body, one.body) for one in seen):
                seen.append(before.seen_again(body, time))
            else:
                self._lost.append(before)
        self._lost = [one for one in self._lost if time - one.time <= self._options.hidden]
        return seen

    def _search(self, time: float, has_people: bool) -> list[Region]:
        """The squares to search now."""
        options = self._options
        around = [replace(one.region_at(time), size=1.5 * one.body.next_region.size, angle=0.0) for one in self._lost]
        if time - self._squares_at >= (options.squares_every if has_people else options.search_every) - 1e-6:
            self._squares_at = self._whole_at = time
            return [square for level in LEVELS for square in squares(self._size, level)] + around
        if time - self._whole_at >= options.whole_every - 1e-6:
            self._whole_at = time
            return squares(self._size, LEVELS[0]) + around
        return around

    def _is_there(self, body: BodyJoints, least: float) -> bool:
        """Whether a person is present: the network predicts it, and their center is in or near the image."""
        region, (width, height) = body.next_region, self._size
        reach = region.size / BODY_SCALE / 2
        is_near = -reach < region.u < width + reach and -reach < region.v < height + reach
        return body.presence >= least and is_near and region.size < 4 * max(self._size)

    def _are_same(self, a: BodyJoints, b: BodyJoints) -> bool:
        apart = float(np.median(np.linalg.norm(a.points - b.points, axis=1)))
        return apart < self._options.same_joints * min(a.next_region.size, b.next_region.size)


def _surprise(expected: Region, found: Region) -> float:
    """Distance of a person from the prediction, in body sizes: a large one is a jump to another person."""
    return math.hypot(found.u - expected.u, found.v - expected.v) / expected.size + abs(
        math.log(found.size / expected.size)
    )
