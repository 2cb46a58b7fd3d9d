"""Fitting a body to joints: one shape per clip, a rotation for every joint and frame, and the undetermined parts.

Three steps, all on joints alone and without a mesh: the shape from pose-independent distances (`shape_fitting`), the
    rotations in closed form with twists smoothed in time (`inverse_kinematics`), and, if the joint errors are still
    large, a refinement of all frames at once (`fit_refinement`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from hmr4d.body.body_model import Body
from hmr4d.body.fit_refinement import refine_pose
from hmr4d.body.inverse_kinematics import solve_pose
from hmr4d.body.joint_checks import MIN_BONE, bone_lengths, check_finite, check_size, counted
from hmr4d.body.joint_conventions import rest_in_convention
from hmr4d.body.joint_noise import joint_noise, without_noise
from hmr4d.body.kinematics import posed_joints
from hmr4d.body.pose import Pose
from hmr4d.body.posed_body import PosedBody
from hmr4d.body.shape_fitting import fit_shape, smpl_rest_joints
from hmr4d.body.skeleton import SMPL22
from hmr4d.body.smpl_bodies import SmplBody
from hmr4d.motion.motion import Motion
from hmr4d.utils import lazy_roma as roma

FRAMES_PER_BLOCK = 4096  # for residuals; limits the memory of long clips
GOOD_ENOUGH = 1e-3  # meters at every joint; no refinement below this
BENT = 0.35  # sine of 20 degrees; a smaller bend hardly determines the twist of a limb
_LIMBS = {  # joint whose twist is only visible in the bend of the next one, and the joint beyond
    "left_hip": ("left_knee", "left_ankle"),
    "right_hip": ("right_knee", "right_ankle"),
    "left_shoulder": ("left_elbow", "left_wrist"),
    "right_shoulder": ("right_elbow", "right_wrist"),
}
_SEVERAL = ("pelvis", "spine3")  # joints with several bones: these show their whole rotation


@dataclass(frozen=True)
class Undetermined:
    """A part of the pose that joints do not determine.

    Attributes:
        joint: SMPL-22 name, or "fingers and face".
        part: "rotation": the whole rotation, kept at rest; "twist": the rotation about its bone, interpolated smoothly.
        share: fraction of the affected frames, 0 to 1.
    """

    joint: str
    part: str
    share: float = 1.0


@dataclass(frozen=True, eq=False)
class BodyFit:
    """A body in every frame of a motion.

    Attributes:
        source: the motion that the body was fitted to. body: body with the shape of the clip. pose: pose of the SMPL-22
            joints of that body.
        residual: (L, 22) meters from each given joint to that of the body, in the convention of the source.
        undetermined: parts that the joints did not determine.
        noise: meters, standard deviation of each coordinate from frame to frame; it was removed by smoothing.
    """

    source: Motion
    body: Body
    pose: Pose
    residual: Tensor
    undetermined: tuple[Undetermined, ...]
    noise: float = 0.0

    @property
    def num_frames(self) -> int:
        return self.pose.num_frames

    @property
    def motion(self) -> Motion:
        """The motion of the body, with its pose: what every writer takes."""
        return replace(
            self.source, joints3d=self.joints(), joint_convention=None, pose=self.pose, views=None, uncertainty=None
        )

    @property
    def axis_angle(self) -> Tensor:
        """(L, 22, 3) radians; the rotations as axis times angle."""
        return roma.rotmat_to_rotvec(self.pose.rotations)

    @property
    def joint_residual(self) -> Tensor:
        """(22,) meters; mean over frames."""
        return self.residual.mean(0)

    @property
    def mean_residual(self) -> float:
        """Meters; mean over joints and frames."""
        return float(self.residual.double().mean())

    @property
    def max_residual(self) -> float:
        """Meters; the largest of all joints and frames."""
        return float(self.residual.max())

    def posed(self) -> PosedBody:
        """The body with all its own joints turned, for meshes and files."""
        return PosedBody(self.body, self.body.from_smpl22(self.pose.rotations), self.pose.translation)

    def joints(self) -> Tensor:
        """(L, 22, 3) meters; positions of the SMPL joints of the body."""
        return self.pose.joints()


def fit_body(motion: Motion, body: Body, *, keep_shape: bool = False, num_betas: int | None = None) -> BodyFit:
    """A body fitted to one clip. Time is linear in the number of frames; memory is small.

    Args:
        motion: motion of SMPL-22 joints. The fit uses the joint positions of its convention, so that head and feet have
            the orientation of the person. A pose of it is not used because it belongs to another body.
        body: any of `load_body`.
        keep_shape: use the body as it is, instead of giving it the shape of the clip.
        num_betas: shape coefficients of bodies of the SMPL family. None: 16 for SMPL+H, 10 for others.

    Raises:
        ValueError: another skeleton, an unknown convention, positions that are not finite or not in meters, or bones
            without length.
    """
    joints3d = _checked(motion)
    noise = joint_noise(joints3d)
    clean = without_noise(joints3d, noise)
    if not keep_shape:
        body = fit_shape(clean, body, num_betas=num_betas)
    rest = rest_in_convention(smpl_rest_joints(body), motion.joint_convention)
    solved = solve_pose(clean, rest, fps=motion.fps)
    rotations, translation = solved.rotations, solved.translation
    if float(solved.residual.max()) > GOOD_ENOUGH:
        rotations, translation = refine_pose(rotations, translation, clean, rest)
    residual = (joints3d - posed_joints(rotations, translation, rest)).norm(dim=-1)
    betas = body.betas if isinstance(body, SmplBody) else None
    pose = Pose(body.name, rotations, translation, smpl_rest_joints(body), betas)
    return BodyFit(motion, body, pose, residual, _undetermined(clean, body), noise)


# ----------------------------------------------------------------------------------------------------------------------


def _checked(motion: Motion) -> Tensor:
    """The joints as float32; ValueError names the error and its position."""
    if motion.skeleton != SMPL22:
        raise ValueError(
            f"Bodies are fitted to the joints of '{SMPL22.name}', not of '{motion.skeleton.name}'. Convert the motion "
            "first."
        )
    names = SMPL22.joint_names
    joints3d = motion.joints3d.detach().float()
    check_finite(joints3d, SMPL22)
    if (short := bone_lengths(joints3d, SMPL22) < MIN_BONE).any():
        frame, bone = short.nonzero()[0].tolist()
        start, end = (names[joint] for joint in SMPL22.bones[bone])
        raise ValueError(
            f"The bone {start} - {end} has no length at frame {frame}, and so no direction; "
            f"{counted(int(short.any(1).sum()), 'frame has', 'frames have')} such bones. Cut padding off, or mend the "
            "motion."
        )
    check_size(joints3d, SMPL22)
    return joints3d


def _undetermined(joints3d: Tensor, body: Body) -> tuple[Undetermined, ...]:
    """The parts that the joints of a clip do not determine."""
    parts = []
    for index, joint in enumerate(SMPL22.joint_names):
        if index not in SMPL22.parents:
            parts.append(Undetermined(joint, "rotation"))
        elif joint in _LIMBS:
            middle, end = (SMPL22.index(n) for n in _LIMBS[joint])
            upper, lower = joints3d[:, middle] - joints3d[:, index], joints3d[:, end] - joints3d[:, middle]
            sine = torch.linalg.cross(upper, lower).norm(dim=-1) / (upper.norm(dim=-1) * lower.norm(dim=-1))
            parts.append(Undetermined(joint, "twist", float((sine < BENT).float().mean())))
        elif joint not in _SEVERAL:
            parts.append(Undetermined(joint, "twist"))
    if body.num_joints > SMPL22.num_joints:
        parts.append(Undetermined("fingers and face", "rotation"))
    return tuple(p for p in parts if p.share > 0)
