"""The motion and its batch: what belongs together, what is refused, and where a motion says it comes from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from hmr4d.body.joint_conventions import rest_in_convention
from hmr4d.body.light_body import load_light_body
from hmr4d.body.pose import Pose
from hmr4d.body.skeleton import COCO17
from hmr4d.geometry.rigs import Rig
from hmr4d.motion.motion import Motion, MotionBatch, Provenance, Views2D

POSE = Pose("smpl", torch.eye(3).repeat(4, 22, 1, 1), torch.zeros(4, 3), torch.zeros(22, 3))


def rig(*leading: int) -> Rig:
    return Rig(torch.zeros(*leading, 2), torch.zeros(*leading, 4), torch.eye(4).expand(*leading, 4, 4))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"joints3d": torch.zeros(2, 4, 22, 3)}, "one motion at a time"),
        ({"joints3d": torch.zeros(0, 22, 3)}, "no frames"),
        ({"joints3d": torch.zeros(4, 22, 3, dtype=torch.bool)}, "real numbers"),
        ({"joints3d": np.full((4, 22, 3), "x")}, "real numbers"),
        ({"skeleton": COCO17}, "22 joints but skeleton 'coco17' has 17"),
        ({"fps": 0}, "fps is 0"),
        ({"pose": Pose("smpl", torch.zeros(3, 22, 3, 3), torch.zeros(3, 3), torch.zeros(22, 3))}, r"pose.*\(3, 22\)"),
        ({"views": Views2D(torch.zeros(1, 4, 23, 2))}, r"views.*\(4, 23\)"),
        ({"uncertainty": torch.zeros(4, 21)}, r"uncertainty.*\(4, 21\)"),
    ],
)
def test_what_does_not_belong_together_is_refused(change: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"joints3d": torch.zeros(4, 22, 3), "fps": 20.0, **change}
    with pytest.raises(ValueError, match=message):
        Motion(**given)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Views2D(torch.zeros(4, 22, 2)), "at least one view"),
        (lambda: Views2D(torch.zeros(2, 4, 22, 2), conf=torch.zeros(2, 4)), "conf has shape"),
        (lambda: Views2D(torch.zeros(2, 4, 22, 2), rig=rig(3)), "one camera for 2"),
        (lambda: Views2D(torch.zeros(2, 4, 22, 2), names=["one"]), "1 names for 2 views"),
        (
            lambda: Pose("smpl", torch.zeros(4, 22, 3), torch.zeros(4, 3), torch.zeros(22, 3)),
            r"expected \(L, J, 3, 3\)",
        ),
        (lambda: Pose("smpl", POSE.rotations, torch.zeros(3, 3), POSE.rest_joints), r"translation.*\(3, 3\)"),
        (lambda: Pose("smpl", POSE.rotations, POSE.translation, torch.zeros(24, 3)), r"rest_joints.*\(24, 3\)"),
        (lambda: Pose("smpl", *(POSE.rotations, POSE.translation, POSE.rest_joints), torch.zeros(4, 10)), "one shape"),
        (
            lambda: MotionBatch(torch.zeros(2, 4, 22, 3), torch.tensor([4, 4]), 20.0, ["one"]),
            "text has 1 values for 2",
        ),
    ],
)
def test_parts_and_batches_that_do_not_fit_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_an_array_becomes_a_tensor_and_numbers_that_are_not_finite_are_named() -> None:
    motion = Motion(np.zeros((4, 22, 3)), 20)  # type: ignore[arg-type]
    assert motion.joints3d.dtype == torch.float32 and motion.seconds == 0.2
    motion.joints3d[1, 15] = torch.nan
    with pytest.raises(ValueError, match=r"frame 1, joint 15 \(head\)"):
        motion.array()


def test_a_batch_gives_motions_cut_to_their_lengths_with_all_that_is_known() -> None:
    joints3d = torch.rand(2, 5, 22, 3)
    batch = MotionBatch(
        joints3d,
        torch.tensor([5, 4]),
        20.0,
        ["a walk", "a bow"],
        joint_convention="bandai_namco",
        joints2d=torch.rand(2, 3, 5, 22, 2),
        rig=rig(2, 3),
        poses=[POSE, POSE],
        seeds=[7, 8],
        provenance=Provenance(model="m", licence="CC0"),
    )
    motion = batch[1]
    assert (len(batch), motion.num_frames, motion.text, motion.pose) == (2, 4, "a bow", POSE)
    assert torch.equal(motion.joints3d, joints3d[1, :4])
    assert motion.views is not None and motion.views.rig is not None
    assert motion.views.joints2d.shape == (3, 4, 22, 2) and motion.views.rig.K4.shape == (3, 4)
    assert motion.metadata == {"model": "m", "licence": "CC0", "seed": 8, "joint_convention": "bandai_namco"}
    with pytest.raises(ValueError, match=r"pose.*\(4, 22\).*\(5, 22\)"):
        batch[0]  # its pose is shorter
    with pytest.raises(IndexError, match="no motion 2"):
        batch[2]


def test_batches_can_be_iterated_and_those_of_2d_motion_say_that_they_have_no_joints() -> None:
    batch = MotionBatch(torch.rand(2, 5, 22, 3), torch.tensor([5, 4]), 20.0)
    assert [motion.num_frames for motion in batch] == [5, 4]
    assert batch[-1].text == "" and batch[-1].metadata == {}
    with pytest.raises(ValueError, match="only 2D motion"):
        MotionBatch(None, torch.tensor([5]), 20.0)[0]


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"seed": 3, "model": "m", "by": ["a"]},
        {"seed": None, "licence": 5},
        {"command": "x", "seed": "3", "more": 1},
    ],
)
def test_provenance_gives_back_the_metadata_it_was_read_from(metadata: dict[str, Any]) -> None:
    assert Provenance.from_metadata(metadata).metadata() == metadata
    assert Provenance.from_metadata(metadata).updated(seed=9, extra=1).metadata() == {**metadata, "seed": 9, "extra": 1}


def test_motions_of_a_batch_of_two_sources_have_the_convention_of_their_own_feet() -> None:
    names = ["cmu", "bandai_namco"]
    stand = torch.stack([rest_in_convention(load_light_body().rest_joints, name).expand(9, 22, 3) for name in names])
    batch = MotionBatch(stand, torch.tensor([9, 9]), 20.0, joint_convention="bandai_namco+cmu")
    assert [motion.metadata["joint_convention"] for motion in batch] == names
