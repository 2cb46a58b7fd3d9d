"""Short gaps of single joints are closed, long ones stay."""

from __future__ import annotations

import torch

from hmr4d.body.skeleton import COCO17, SMPL22
from hmr4d.keypoint_files.gaps import bridge_gaps, drop_unsure, longest_unseen
from hmr4d.keypoint_files.smpl_joints import observed_joints

FPS = 30.0  # gaps of up to 6 frames, 3 at the ends


def moving(num_frames: int = 40) -> torch.Tensor:
    """(L, 3, 2) joints that move evenly, each its own way."""
    speed = torch.tensor([[3.0, 0.5], [-2.0, 1.0], [0.0, 4.0]])
    return torch.tensor([100.0, 200.0]) + torch.arange(num_frames)[:, None, None] * speed


def test_short_gaps_are_closed_along_the_line_and_long_ones_stay() -> None:
    truth = moving()
    conf = torch.full(truth.shape[:2], 0.9)
    conf[5:11, 0], conf[11, 0] = 0, 0.4
    conf[20:27, 1] = 0
    given = truth * (conf > 0)[..., None]
    kp2d, found = bridge_gaps(given, conf, FPS)
    torch.testing.assert_close(kp2d[:, [0, 2]], truth[:, [0, 2]])
    assert (found[5:12, 0] == 0.4).all() and (found[:, 2] == 0.9).all()
    assert not found[20:27, 1].any() and not kp2d[20:27, 1].any()
    assert bridge_gaps(given, conf, 60.0)[1][20:27, 1].all()  # seven frames of a faster camera are shorter


def test_ends_are_held_for_a_moment() -> None:
    truth = moving()
    conf = torch.ones(truth.shape[:2])
    conf[:3, 0] = conf[-4:, 0] = 0
    conf[:, 1] = 0  # never seen
    kp2d, found = bridge_gaps(truth * (conf > 0)[..., None], conf, FPS)
    assert (kp2d[:3, 0] == truth[3, 0]).all() and (found[:3, 0] == 1).all()
    assert not found[-4:, 0].any() and not found[:, 1].any() and not kp2d[:, 1].any()


def test_every_track_of_a_batch_is_its_own() -> None:
    conf = (torch.rand(3, 40, 3, generator=torch.manual_seed(0)) > 0.3).float()
    tracks = torch.stack([moving(), moving() + 50, moving() * 2]) * conf[..., None]
    together = bridge_gaps(tracks, conf, FPS)
    for row in range(3):
        for both, alone in zip(together, bridge_gaps(tracks[row], conf[row], FPS), strict=True):
            torch.testing.assert_close(both[row], alone)


def test_an_unsure_shoulder_is_worth_as_much_as_a_missing_one() -> None:
    """It neither takes the torso with it nor keeps the gap from being closed."""
    kp2d = torch.randn(30, 17, 2, generator=torch.manual_seed(0)).cumsum(0)
    shoulder, pelvis = COCO17.index("left_shoulder"), SMPL22.index("pelvis")
    found = []
    for confidence in (0.0, 0.29):
        conf = torch.full((30, 17), 0.9)
        conf[0, shoulder] = conf[10:20, shoulder] = confidence
        track = bridge_gaps(*drop_unsure(kp2d, conf), FPS)
        found.append(observed_joints(*track, COCO17, SMPL22))
    torch.testing.assert_close(found[0], found[1])
    assert (found[1][1][:, pelvis] >= 0.3).all()  # from the hips alone where the shoulder is missing for long
    points, conf = drop_unsure(kp2d, torch.full((30, 17), 0.2), least=0.1)
    assert torch.equal(points, kp2d) and (conf == 0.2).all()


def test_the_longest_stretch_without_the_person_is_found() -> None:
    conf = torch.ones(40, 3)
    assert longest_unseen(conf)[1] == 0
    conf[5:9] = 0
    conf[20:27] = 0
    conf[22, 1] = 0.5
    assert longest_unseen(conf) == (5, 4)
    conf[30:] = 0
    assert longest_unseen(conf) == (30, 10)
    assert longest_unseen(torch.zeros(7, 3)) == (0, 7)
