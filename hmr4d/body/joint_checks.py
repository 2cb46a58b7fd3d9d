"""Checks of joints before they are converted to rotations, meshes or files: finite, with bones, in meters, y up."""

from __future__ import annotations

from torch import Tensor

from hmr4d.body.skeleton import Skeleton
from hmr4d.body.stance import points_of_skeleton, standing_axis

MIN_BONE = 1e-4  # meters
SIZES = (0.1, 50.0)  # allowed total length of all bones in meters; about five in adults
FRAMES_TO_MEASURE = 8192  # number of evenly spaced frames in which the bones of a longer motion are measured
UNDER_THE_FLOOR = 0.3  # meters; joints of a motion over the floor y = 0 are never deeper
A_LITTLE_UNDER = 0.1  # meters; joints of a person lying on the floor y = 0 are never deeper
RARE = 0.05  # fraction of frames: a few bad frames do not change the axes
MOSTLY = 0.5  # share of frames
NEAR_ZERO = 0.2  # meters
OVER_ANY_BED = 1.0  # meters; a person never lies higher than this all the time
FURTHER_THAN_A_FALL = 1.2  # meters; vertical root movement that lying or getting up never reaches


def counted(number: int, one: str, many: str) -> str:
    """ "1 point", "3 points"."""
    return f"{number} {one if number == 1 else many}"


def check_finite(joints3d: Tensor, skeleton: Skeleton) -> None:
    """ValueError names the first frame and joint of a motion (L, J, 3) that is not finite."""
    finite = joints3d.isfinite().all(-1)
    if not finite.all():
        frame, joint = (~finite).nonzero()[0].tolist()
        raise ValueError(
            f"joints3d is not finite at frame {frame}, joint {joint} ({skeleton.joint_names[joint]}); "
            f"{counted(int((~finite).sum()), 'point', 'points')} in all. Mend or cut the motion first."
        )


def bone_lengths(joints3d: Tensor, skeleton: Skeleton) -> Tensor:
    """(L, J - 1) lengths of the bones of a motion (L, J, 3), in the order of `skeleton.bones`."""
    starts, ends = (list(joints) for joints in zip(*skeleton.bones, strict=True))
    return (joints3d[:, ends] - joints3d[:, starts]).norm(dim=-1)


def check_size(joints3d: Tensor, skeleton: Skeleton) -> None:
    """ValueError unless the bones of a motion (L, J, 3) are as long as those of a body in meters."""
    size = float(bone_lengths(_spread(joints3d), skeleton).sum(-1).median())
    if not SIZES[0] < size < SIZES[1]:
        raise ValueError(
            f"The bones measure {size:.4g} meters in all, from {SIZES[0]} to {SIZES[1]:g} were expected. "
            "Give joints in meters."
        )


def check_bones(joints3d: Tensor, skeleton: Skeleton) -> None:
    """ValueError unless a motion (L, J, 3) is finite, and its bones have lengths that a body in meters may have.

    A bone has a length if its median over the frames has one: a few frames of padding are no matter.
    """
    if joints3d.ndim != 3 or joints3d.shape[1:] != (skeleton.num_joints, 3) or not len(joints3d):
        raise ValueError(
            f"joints3d has shape {tuple(joints3d.shape)}; expected (L, {skeleton.num_joints}, 3), the joints of "
            f"'{skeleton.name}' in at least one frame."
        )
    check_finite(joints3d, skeleton)
    lengths = bone_lengths(_spread(joints3d), skeleton).median(0).values
    if lengths.max() >= MIN_BONE:
        check_size(joints3d, skeleton)
    if without := [
        skeleton.joint_names[child] for (_, child), a in zip(skeleton.bones, lengths, strict=True) if a < MIN_BONE
    ]:
        raise ValueError(
            f"{'The bone' if len(without) == 1 else 'The bones'} to {', '.join(without)} "
            f"{'has' if len(without) == 1 else 'have'} no length and therefore no direction. Use anatomical joint "
            "positions; positions without bones can be written as csv."
        )


def axes_doubt(joints3d: Tensor, skeleton: Skeleton) -> str | None:
    """A warning if a motion (L, J, 3) in meters is implausible with y up over the floor y = 0; None if it is plausible.

    Three criteria: joints far below the floor; joints high above it all the time, or movement along y, while the body
        is upright along z on a floor z = 0; or the latter with joints slightly below the floor, so that the person
        cannot be lying on it.
    """
    joints3d = _spread(joints3d.detach().float().cpu())
    lowest = joints3d[..., 1].amin(-1)
    depth = -float(lowest.quantile(RARE))
    axis = standing_axis(joints3d.numpy(), points_of_skeleton(skeleton), share=MOSTLY)
    on_floor = abs(float(joints3d[..., 2].amin(-1).median())) < NEAR_ZERO
    root = joints3d[:, list(skeleton.root_joints), 1].mean(1)
    travel = float(root.quantile(1 - RARE) - root.quantile(RARE))
    off_floor = depth > A_LITTLE_UNDER or -depth > OVER_ANY_BED or travel > FURTHER_THAN_A_FALL
    advice = "Motions are expected with y up and the floor at y = 0; (x, z, -y) turns one with z up."
    if axis == "z" and on_floor and off_floor:
        return f"The body stands along z; is z up? {advice}"
    if axis in ("-y", "-z") and depth > UNDER_THE_FLOOR:
        return f"The body stands along {axis}; is {axis} up? {advice}"
    if depth > UNDER_THE_FLOOR:
        return f"The motion reaches {depth:.2f} m below the floor; is z up? {advice}"
    return None


def _spread(joints3d: Tensor) -> Tensor:
    """At most FRAMES_TO_MEASURE frames, evenly spread."""
    return joints3d[:: -(-len(joints3d) // FRAMES_TO_MEASURE)]
