"""Bit masks, clips and their ids on tracks whose faults are known frame by frame."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from hmr4d.curation.edge_measures import edge_measures
from hmr4d.curation.filters import Failure, Thresholds, Track, frame_failures, reject_reason, runs_of
from hmr4d.curation.largest_person import keypoint_boxes, track_boxes
from hmr4d.curation.trimming import TrimRules, bridge, clip_failures, clip_id, trim
from tests.curation.tracks import HEIGHT, boxes_of, shifted, unsure, walk

LIMITS, RULES = Thresholds(), TrimRules()


def frames_failing(track: Track, failure: Failure, limits: Thresholds = LIMITS) -> list[int]:
    return np.flatnonzero(frame_failures(track, limits) & np.uint16(failure)).tolist()


def test_an_even_walk_fails_nothing_and_is_one_clip() -> None:
    track = walk(120)
    mask = frame_failures(track, LIMITS)
    assert not mask.any()
    ((first, last, clip),) = trim(track, mask, LIMITS, RULES)
    assert (first, last) == (0, 120) and np.array_equal(clip.keypoints, track.keypoints)


def test_a_teleport_is_another_person_and_too_fast_around_the_jump() -> None:
    track = shifted(walk(150), 70, 300.0)
    assert frames_failing(track, Failure.IDENTITY_SWITCH) == [70]
    # A jump of 300 px spreads over the five steps whose 5-frame means it enters: 60 px a frame = 4.5 h/s.
    assert frames_failing(track, Failure.SPEED) == []
    assert frames_failing(shifted(walk(150), 70, 420.0), Failure.SPEED) == [68, 69, 70, 71, 72]
    # Acceleration is that of the means before and after the ramp: 60 px a frame squared = 135 h/s^2.
    assert frames_failing(track, Failure.ACCELERATION) == [67, 72]
    assert reject_reason(frame_failures(track, LIMITS))[0] is Failure.IDENTITY_SWITCH


def test_speed_is_in_heights_per_second() -> None:
    assert frames_failing(walk(60, speed=5.9), Failure.SPEED) == []
    # The centered mean is shorter at the ends and moves by half a step there.
    assert frames_failing(walk(60, speed=6.1), Failure.SPEED) == list(range(3, 58))


def test_standing_still_fails_in_seconds_without_motion() -> None:
    assert frames_failing(walk(60, speed=0.0), Failure.STATIC) == list(range(60))
    moving, frozen = walk(120).keypoints.copy(), walk(120).keypoints.copy()
    moving[60:] = frozen[60]
    static = frames_failing(Track(moving, boxes_of(moving), (1280, 720)), Failure.STATIC)
    # The window of 31 frames around t has 0.5 h/s in its frames before 60: below 0.1 from a fifth of them on.
    assert static[0] in (69, 70) and static[-1] == 119 and static == list(range(static[0], 120))


def test_confidence_needs_thirteen_of_seventeen_and_all_legs() -> None:
    track = walk(60)
    assert frames_failing(unsure(track, slice(5, 8), [0, 1, 2, 3]), Failure.CONFIDENCE) == []
    assert frames_failing(unsure(track, slice(5, 8), [0, 1, 2, 3, 4]), Failure.CONFIDENCE) == [5, 6, 7]
    assert frames_failing(unsure(track, slice(5, 8), [14]), Failure.CONFIDENCE) == [5, 6, 7]
    assert frames_failing(unsure(track, slice(5, 6), [14], 0.5), Failure.CONFIDENCE) == [5]  # not more than 0.5


def test_small_and_absent_people_fail() -> None:
    track = walk(40)
    boxes = track.boxes.copy()
    boxes[10:20, 1] = boxes[10:20, 3] - 240.0  # a third of 720
    boxes[30:33] = 0.0
    failed = replace(track, boxes=boxes)
    assert frames_failing(failed, Failure.SIZE) == list(range(10, 20))
    assert frames_failing(failed, Failure.PERSON) == [30, 31, 32]
    assert not set(frames_failing(failed, Failure.STATIC)) & {30, 31, 32}


def camera_of(frames: np.ndarray, track: Track) -> Track:
    """The track with measures of gray frames (F, 180, 320) of a video of 1280 x 720."""
    return replace(track, camera=np.stack(list(edge_measures(frames, track.boxes, track.size))))


def background(shift: int = 0, seed: int = 0) -> np.ndarray:
    """(180, 320) gray texture, moved to the left."""
    rows = np.random.default_rng(seed).integers(0, 256, (180, 2000), dtype=np.uint8)
    smooth = np.stack([np.roll(rows, k, 1) for k in range(5)]).mean(0).astype(np.uint8)
    return smooth[:, shift : shift + 320]


def test_a_still_camera_passes_and_a_fast_pan_fails_in_both_strips() -> None:
    track = walk(40)
    still = camera_of(np.stack([background()] * 40), track)
    assert frames_failing(still, Failure.CAMERA_MOTION) == []
    pan = camera_of(np.stack([background(8 * t) for t in range(40)]), track)
    assert frames_failing(pan, Failure.CAMERA_MOTION) == list(range(1, 40))


def test_a_slow_pan_is_detected_with_the_frame_half_a_second_before() -> None:
    slopes = np.abs(np.arange(720) % 100 - 50.0) * 5.1  # gray values: 5 from a pixel to the next
    wave = np.tile(slopes, (180, 1)).astype(np.uint8)
    pan = camera_of(np.stack([wave[:, t // 3 : t // 3 + 320] for t in range(60)]), walk(60))
    with np.errstate(invalid="ignore"):
        assert not (pan.camera[:, :2] > LIMITS.edge_previous).all(1).any()  # type: ignore[index]
    assert frames_failing(pan, Failure.CAMERA_MOTION) == list(range(15, 60))


def test_strips_covered_by_the_person_give_nan() -> None:
    track = walk(20)
    whole = replace(track, boxes=np.tile(np.array([0, 0, 1280, 720], np.float32), (20, 1)))
    pan = camera_of(np.stack([background(8 * t) for t in range(20)]), whole)
    assert np.isnan(pan.camera[:, :4]).all() and not frames_failing(pan, Failure.CAMERA_MOTION)  # type: ignore[index]


def test_a_cut_is_one_frame_and_the_main_reason_despite_its_aftermath() -> None:
    scenes = np.stack([background()] * 50 + [background(seed=1) // 3] * 50)
    track = camera_of(scenes, shifted(walk(100), 50, 200.0))
    assert frames_failing(track, Failure.SHOT_CUT) == [50]
    assert frames_failing(track, Failure.CAMERA_MOTION) == list(range(50, 65))  # edges of the other shot
    mask = frame_failures(track, LIMITS)
    reason, counts = reject_reason(mask)
    assert reason is Failure.SHOT_CUT and counts["camera_motion"] == 15 and not trim(track, mask, LIMITS, RULES)


def test_a_camera_that_follows_a_person_is_the_main_reason() -> None:
    pan = camera_of(np.stack([background(8 * t) for t in range(40)]), walk(40, speed=0.0))
    reason, counts = reject_reason(frame_failures(pan, LIMITS))
    assert reason is Failure.CAMERA_MOTION and counts == {"camera_motion": 39, "static": 40}


@pytest.mark.parametrize(
    ("track", "reason"),
    [
        (walk(90, speed=0.0), Failure.STATIC),
        (unsure(walk(90), slice(20, 70), [13, 15]), Failure.CONFIDENCE),
        (replace(walk(90), boxes=walk(90).boxes * 0), Failure.PERSON),
        (walk(90, speed=6.3, start=-2000.0), Failure.SPEED),
        (replace(walk(90), size=(1280, 1300)), Failure.SIZE),
    ],
    ids=["freeze", "occlusion", "nobody", "fast", "small"],
)
def test_reasons_of_sources_without_a_good_run(track: Track, reason: Failure) -> None:
    mask = frame_failures(track, LIMITS)
    assert reject_reason(mask)[0] is reason and not trim(track, mask, LIMITS, RULES)


def test_short_gaps_of_confidence_are_interpolated_linearly() -> None:
    track = unsure(walk(100), slice(40, 43), [13])
    track.keypoints[40:43, 13, :2] = 0.0
    mask = frame_failures(track, LIMITS)
    assert np.flatnonzero(mask).tolist() == [40, 41, 42] and set(mask[40:43]) == {np.uint16(Failure.CONFIDENCE)}
    ((first, last, clip),) = trim(track, mask, LIMITS, RULES)
    assert (first, last) == (0, 100)
    assert np.allclose(clip.keypoints[40:43, 13], walk(100).keypoints[40:43, 13], atol=1e-3)
    assert bridge(np.array([0, 64, 64, 64, 64, 0], np.uint16), 3).sum() == 0
    assert bridge(np.array([0, 64, 65, 64, 0], np.uint16), 3).sum() == 0
    assert bridge(np.array([64, 0, 64], np.uint16), 3).sum() == 0


def test_runs_are_dropped_below_60_and_split_evenly_above_300_frames() -> None:
    track = walk(800, speed=0.05)
    mask = np.zeros(800, np.uint16)
    mask[[59, 120]] = Failure.SIZE
    mask[421:] = Failure.SIZE
    spans = [(a, b) for a, b, _ in trim(track, mask, LIMITS, RULES)]
    assert spans == [(60, 120), (121, 421)]
    mask[120] = mask[59] = 0
    mask[:] = 0
    mask[631:] = Failure.SIZE
    lengths = [b - a for a, b, _ in trim(track, mask, LIMITS, RULES)]
    assert sum(lengths) == 631 and len(lengths) == 3 and max(lengths) - min(lengths) <= 1


def test_clip_limits_and_ids() -> None:
    assert clip_failures(walk(60, speed=1.0), LIMITS) == Failure(0)
    assert Failure.SPEED in clip_failures(walk(60, speed=8.0), LIMITS)
    wanted = hashlib.sha1(b"a/b.mp4,1500,4000,1").hexdigest()[:16]
    assert clip_id("a/b.mp4", 1.5, 4.0) == wanted and len(wanted) == 16
    assert len({clip_id("a", 1.5, 4.0), clip_id("a", 1.5, 4.001), clip_id("b", 1.5, 4.0)}) == 3


def test_keypoints_lost_for_a_tenth_of_a_second_count_for_the_box() -> None:
    sought, lost = walk(60).keypoints, walk(60).keypoints.copy()
    lost[20:23, 13:] = lost[40:44, 13:] = 0.0
    lost[50] = 0.0
    boxes = track_boxes(lost, 3)
    assert np.allclose(boxes[:40], keypoint_boxes(sought)[:40], atol=1e-3)
    assert (boxes[40:44, 3] < sought[40:44, 13, 1]).all() and not boxes[50].any()


def test_runs_of_good_frames() -> None:
    assert runs_of(np.array([1, 1, 0, 1], bool)) == [(0, 2), (3, 4)] and runs_of(np.zeros(3, bool)) == []
    assert HEIGHT == 400.0


def test_rules_that_no_clip_can_meet_are_refused() -> None:
    with pytest.raises(ValueError, match="expected 1 <= min_frames <= max_frames"):
        TrimRules(min_frames=100, max_frames=50)
