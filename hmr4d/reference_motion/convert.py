"""Conversion of a motion and its camera to the 276 features of a reference motion, and the published conversion.

The canonical frame: z up, floor at z = 0, first pelvis above the origin, the person's right at +x in the first frame.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from hmr4d.body.pose import Pose
from hmr4d.body.skeleton import SMPL22
from hmr4d.geometry.cameras import rigid
from hmr4d.geometry.published_rotations import (
    axis_angle_to_matrix,
    matrix_to_axis_angle,
    matrix_to_rot6d_block,
)
from hmr4d.motion.motion import Motion
from hmr4d.motion.pose_interpolation import interpolate_pose, resample_times
from hmr4d.motion.resampling import resample_positions
from hmr4d.motion.rigid_motion import pose_motion
from hmr4d.reference_motion.clip import ReferenceClip
from hmr4d.reference_motion.placing import floor_height
from hmr4d.reference_motion.reference_file import ReferenceMotion
from hmr4d.reference_motion.rest_joints import derived_rest_joints, smplx_pelvis
from hmr4d.reference_motion.video_camera import CAMERA_TO_Y_UP, LEFT_UP_TO_OPENCV, Z_UP_TO_Y_UP
from hmr4d.representation.rep276 import FPS, PosedBody276, decode, encode

FLOORS = ("lowest", "stances", "none")
LEAST_ACROSS = 1e-3  # meters; smallest horizontal distance between the hips that determines a heading


def convert(
    clip: ReferenceClip, *, fps: float | None = FPS, rest_joints: Tensor | None = None, floor: str = "lowest"
) -> ReferenceMotion:
    """Converts a clip to a reference motion.

    Args:
        clip: clip with joints or a pose. Joints without a pose are converted by `pose_motion`.
        fps: frame rate of the result; rotations are interpolated spherically, positions linearly. None: unchanged.
        rest_joints: (22, 3) rest joints of the body of the features, meters. None: those of the pose, or the derived
            ones.
        floor: alignment to the floor: "lowest": by the lowest joint of the clip; "stances": by standing feet, which is
            more robust to single low frames; "none": heights relative to the first pelvis.

    Raises:
        ValueError: the clip has fewer than two frames, another skeleton, values that are not finite, or vertically
            aligned hips in the first frame.
    """
    given, clip = clip.motion, resampled(clip, fps or clip.motion.fps)
    if clip.motion.num_frames < 2:
        raise ValueError(
            f"The clip has {given.num_frames} frame(s) at {given.fps:g} per second, which gives "
            f"{clip.motion.num_frames} at {clip.motion.fps:g}; features need at least two frames. Use a longer part."
        )
    pose = posed(clip.motion, rest_joints)
    body = PosedBody276(pose.rotations.double(), pose.translation.double(), pose.joints().double())
    body = replace(body, translation=body.translation + pose.rest_joints[0].double() - smplx_pelvis())
    placed, T_z2canonical = _canonical(_rotated(body, torch.tensor(Z_UP_TO_Y_UP).double()), floor, clip.motion.fps)
    extrinsic = None
    if clip.camera is not None:
        T_y2z = rigid(torch.tensor(Z_UP_TO_Y_UP).double(), torch.zeros(3).double())
        extrinsic = extrinsic_rows(clip.camera.moved(T_z2canonical @ T_y2z).T_w2c)[:-1].float()
    return ReferenceMotion(
        encode(placed.rotations, placed.translation, placed.joints3d).float(),
        clip.motion.fps,
        extrinsic,
        None if clip.camera is None else clip.camera.K,
        pose.rest_joints.float(),
        clip.motion.text,
        clip.motion.provenance,
    )


def resampled(clip: ReferenceClip, fps: float) -> ReferenceClip:
    """A clip at another frame rate, from its first to its last frame; unchanged if the rate is equal."""
    motion = clip.motion
    if motion.fps == fps:
        return clip
    times = resample_times(motion.num_frames, motion.fps, fps)
    pose = None if motion.pose is None else interpolate_pose(motion.pose, times)
    joints3d = (
        pose.joints() if pose is not None else torch.from_numpy(resample_positions(motion.array(), motion.fps, fps))
    )
    motion = replace(motion, joints3d=joints3d, fps=fps, pose=pose, views=None, uncertainty=None)
    return replace(clip, motion=motion, camera=clip.camera and clip.camera.at(times), frames=None)


def posed(motion: Motion, rest_joints: Tensor | None = None) -> Pose:
    """The pose of a motion on the bones of a body, float32. Raises ValueError for another skeleton or values that
    are not finite."""
    if motion.skeleton.name != SMPL22.name:
        raise ValueError(f"The motion has skeleton '{motion.skeleton.name}'; reference motions need '{SMPL22.name}'.")
    template = derived_rest_joints() if rest_joints is None else rest_joints
    return pose_motion(motion, template, keep_bones=rest_joints is not None).pose


def extrinsic_rows(T_w2c: Tensor) -> Tensor:
    """Camera rows (N, 9) of the features from transforms (N, 4, 4) to OpenCV cameras.

    A row contains rot6d_block(R_c) and T_c, with X_cam = X R_c + T_c for row vectors and cameras with x left, y up.
    """
    flip = torch.tensor(LEFT_UP_TO_OPENCV).to(T_w2c)
    R_c, T_c = (flip[:, None] * T_w2c[:, :3, :3]).mT, flip * T_w2c[:, :3, 3]
    return torch.cat([matrix_to_rot6d_block(R_c), T_c], -1)


def published_features(
    global_orient: Tensor, body_pose: Tensor, transl: Tensor, rest_joints: Tensor, *, floor: str = "lowest"
) -> tuple[Tensor, Tensor]:
    """Features and camera rows that equal those of the published converter, at the frame rate of the input.

    It encodes the body in the frame of the camera, sums the velocities of the features up again, and only then turns
    and places the body. `axis_angle_to_matrix` is orthonormal only to 1e-6, so the summed root rotation drifts, in
    double precision too.

    Args:
        global_orient, body_pose, transl: (L, 3) and (L, 63) axis-angle, and (L, 3) meters, in camera coordinates.
        rest_joints: (22, 3) meters.
        floor: "lowest" or "none", as in `convert`.

    Returns:
        (L - 1, 276) and (L - 1, 9).
    """
    axis_angle = torch.cat([global_orient, body_pose], -1).unflatten(-1, (-1, 3))
    rotations = axis_angle_to_matrix(axis_angle)
    joints3d = Pose("smplx", rotations, transl, rest_joints).joints()
    body = decode(encode(rotations, transl, joints3d), extra_frame=True)
    pelvis = rest_joints[0]
    body = _rotated(body, torch.tensor([[-1.0, 0, 0], [0, 0, -1], [0, -1, 0]]).to(pelvis), pelvis)
    placed, T_z2canonical = _canonical(body, floor, pelvis=pelvis)
    T_z2c = torch.eye(4).to(pelvis)
    T_z2c[:3, :3] = torch.tensor([[-1.0, 0, 0], [0, 0, -1], [0, -1, 0]])
    rows = extrinsic_rows((T_z2c.double() @ torch.linalg.inv(T_z2canonical.double()))[None].to(pelvis))
    features = encode(placed.rotations, placed.translation, placed.joints3d)
    return features, rows.expand(len(features), -1)


def convert_published(clip: ReferenceClip) -> ReferenceMotion:
    """Converts a clip with the published conversion, at the frame rate of the clip.

    Raises:
        ValueError: the clip is not in camera coordinates, has no pose, or has fewer than two frames.
    """
    pose, camera = clip.motion.pose, clip.camera
    flip = torch.tensor(CAMERA_TO_Y_UP)
    upright = rigid(flip, torch.zeros(3))
    if pose is None or camera is None or not torch.allclose(camera.T_w2c.float(), upright):
        raise ValueError(
            "The published conversion needs body parameters in camera coordinates. Read the file with --space camera "
            "and without --level."
        )
    rotations, rest = pose.rotations.float(), pose.rest_joints.float()
    rotations = torch.cat([(flip @ rotations[:, 0])[:, None], rotations[:, 1:]], 1)
    translation = (pose.translation.float() + rest[0]) @ flip - rest[0]
    axis_angle = matrix_to_axis_angle(rotations).flatten(1)
    features, rows = published_features(axis_angle[:, :3], axis_angle[:, 3:], translation, rest)
    return ReferenceMotion(features, clip.motion.fps, rows, camera.K, rest, clip.motion.text, clip.motion.provenance)


def _rotated(body: PosedBody276, R: Tensor, pelvis: Tensor | None = None) -> PosedBody276:
    """A body in a rotated world. The rotation acts on the pelvis, independent of the origin of the translation."""
    rest = (smplx_pelvis() if pelvis is None else pelvis).to(R)
    rotations = torch.cat([(R @ body.rotations[:, 0])[:, None], body.rotations[:, 1:]], 1)
    return PosedBody276(rotations, (body.translation + rest) @ R.mT - rest, body.joints3d @ R.mT)


def _canonical(
    body: PosedBody276, floor: str, fps: float = FPS, *, pelvis: Tensor | None = None
) -> tuple[PosedBody276, Tensor]:
    """A body with z up in the canonical frame, and the transform (4, 4) to it."""
    if floor not in FLOORS:
        raise ValueError(f"floor is '{floor}'; expected one of {', '.join(FLOORS)}.")
    left, right = SMPL22.indices("left_hip", "right_hip")
    across = (body.joints3d[0, right] - body.joints3d[0, left]) * body.joints3d.new_tensor([1.0, 1.0, 0.0])
    if across.norm() < LEAST_ACROSS:
        raise ValueError(
            "In the first frame one hip is vertically above the other, so the heading is undefined. Remove the first "
            "frames."
        )
    x, up = across / across.norm(), across.new_tensor([0.0, 0.0, 1.0])
    R = torch.stack([x, torch.linalg.cross(up, x), up])
    body = _rotated(body, R, pelvis)
    shift = -body.joints3d[0, 0].clone()
    if floor == "lowest":
        shift[2] = -body.joints3d[..., 2].min()
    elif floor == "stances":
        shift[2] = -floor_height(body.joints3d @ body.joints3d.new_tensor(Z_UP_TO_Y_UP), fps)
    moved = replace(body, translation=body.translation + shift, joints3d=body.joints3d + shift)
    return moved, rigid(R, shift)
