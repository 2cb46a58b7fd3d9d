"""Lifts the track of one person to 3D motion in meters, and checks the result."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hmr4d.body.joint_conversion import convert_joints
from hmr4d.body.light_body import load_light_body
from hmr4d.body.skeleton import SMPL22
from hmr4d.camera.camera_files import CameraFile, read_rig
from hmr4d.camera.floor_checks import check_on_floor, heights_over_floor
from hmr4d.camera.rig_samplers import feet_place, virtual_rig
from hmr4d.export.lift_npz import SIGMAS, LiftedPerson, verdict_metadata
from hmr4d.geometry.rigs import Rig
from hmr4d.keypoint_files.body_order import side_exchanges
from hmr4d.keypoint_files.gaps import SURE, bridge_gaps, drop_unsure, longest_unseen
from hmr4d.keypoint_files.reading import KeypointTrack
from hmr4d.keypoint_files.smpl_joints import observed_depth, observed_joints
from hmr4d.lifting.keypoint_inputs import USUAL_FPS
from hmr4d.lifting.request import LiftRequest
from hmr4d.lifting.results import overlay_of
from hmr4d.methods.base import Pipeline
from hmr4d.metrics.lift_checks import LiftCheck, check_lift, doubts
from hmr4d.metrics.lift_confidence import expected_error
from hmr4d.motion.ground_contact import standing_joints
from hmr4d.motion.motion import MotionBatch
from hmr4d.utils.command_line import command_line

logger = logging.getLogger(__name__)

MADE_UP_SECONDS = 0.5  # longer periods without a visible person give a warning


def deployment_rig(camera: CameraFile, kp2d: torch.Tensor, conf: torch.Tensor, lifter: Pipeline) -> Rig:
    """The camera and virtual copies of it around the median position of the feet, float64, meters, world of the camera.

    Args:
        camera: the real camera.
        kp2d, conf: input joints of the lifter in pixels (L, J, 2), and their confidence (L, J).
        lifter: skeleton and heights of its standing feet.
    """
    distance, lateral = feet_place(camera.rig, kp2d.double(), conf >= SURE, lifter.input_skeleton, lifter.foot_heights)
    side = "left" if lateral < 0 else "right"
    logger.info("The feet are mostly %.1f m ahead of the camera and %.1f m to its %s.", distance, abs(lateral), side)
    return virtual_rig(camera.rig, distance, lateral)


def lift_track(track: KeypointTrack, camera: CameraFile, lifter: Pipeline, request: LiftRequest) -> LiftedPerson:
    """One person's motion with the checks of the result, meters, world of the camera, y up.

    Args:
        track: keypoints in pixels of a pinhole camera.
        camera: the real camera.
        lifter: what lifts.
        request: virtual cameras, samples, steps, seed and height.

    Raises:
        ValueError: the keypoints do not fit the camera, or the person cannot be lifted.
    """
    check_on_floor(track, camera, _own_heights(track, lifter))
    fps = USUAL_FPS if track.fps is None else track.fps
    sure2d = drop_unsure(torch.from_numpy(track.kp2d), torch.from_numpy(track.kp2d_conf), lifter.min_conf)
    kp2d, conf = observed_joints(*sure2d, track.skeleton, lifter.skeleton)
    lifted2d, lifted_conf = observed_joints(*bridge_gaps(*sure2d, fps), track.skeleton, lifter.input_skeleton)
    _tell_exchanges(track)
    first, unseen = longest_unseen(lifted_conf)
    if unseen / fps > MADE_UP_SECONDS:
        logger.warning(
            "Person %s is not visible for %.1f s from frame %d on; the motion there is interpolated.",
            track.person,
            unseen / fps,
            track.frame_ids[first],
        )
    if not lifter.uses_virtual_views:
        rig = camera.rig
    else:
        rig = read_rig(request.rig, camera) if request.rig else deployment_rig(camera, lifted2d, lifted_conf, lifter)
    hints: dict[str, Any] = {}
    if lifter.uses_depth and track.depth is not None:
        hints["depth"] = observed_depth(torch.from_numpy(track.depth), track.skeleton, lifter.input_skeleton)[None]
    output = lifter.lift(
        lifted2d[None],
        lifted_conf[None],
        rig.to(torch.float32),
        fps=fps,
        seed=request.seed,
        num_samples=request.samples,
        num_inference_steps=request.steps,
        **hints,
    )
    lifted = _lifted_person(output, track, kp2d, conf, rig, lifter)
    stature = None if request.is_everyone else request.stature  # of one person
    lifted = replace(lifted, checks=check_result(track, camera, lifted, lifter, stature))
    errors = overlay_of(lifted).errors
    away = np.linalg.norm(lifted.root[:, [0, 2]], axis=1)
    sure = "" if lifted.motion.uncertainty is None else f", confidence {lifted.confidence.mean():.2f}"
    logger.info(
        "Person %s: %d frames, %.1f to %.1f m away, mean reprojection error %.1f pixels%s.",
        track.person,
        lifted.motion.num_frames,
        away.min(),
        away.max(),
        np.nanmean(errors),
        sure,
    )
    if lifted.motion.provenance.more.get("depth") == "relative":
        logger.warning(
            "Person %s: the depth of this model is relative; distances and sizes are those of a usual height.",
            track.person,
        )
    for check in doubts(lifted.checks):
        logger.warning("Person %s: the result is doubtful; %s", track.person, check.advice)
    return lifted


def _tell_exchanges(track: KeypointTrack) -> None:
    """Warns about frames in which left and right keypoints are exchanged."""
    seen = np.where(track.kp2d_conf >= SURE, track.kp2d_conf, 0)
    if exchanges := side_exchanges(np.concatenate([track.kp2d, seen[..., None]], -1), track.skeleton):
        logger.warning(
            "Person %s: left and right are exchanged from one frame to the next, %d times, first before frame %d. The "
            "motion turns around there; correct the keypoints.",
            track.person,
            len(exchanges),
            track.frame_ids[exchanges[0]],
        )


def _lifted_person(
    output: MotionBatch, track: KeypointTrack, kp2d: Tensor, conf: Tensor, rig: Rig, lifter: Pipeline
) -> LiftedPerson:
    """The motion of a batch of one, with its cameras and its uncertainty."""
    made = output[0]
    assert made.views is not None
    names = ["camera", *(f"virtual {view}" for view in range(1, rig.num_views))]
    sigma = {key: output.extras[key][0, : made.num_frames] for key in SIGMAS if key in output.extras}
    if "uncertainty" in output.extras:
        uncertainty: Tensor | None = output.extras["uncertainty"][0, : made.num_frames]
    else:
        uncertainty = expected_error(output, 0, kp2d, conf) if lifter.uses_virtual_views else None
    motion = replace(made, views=replace(made.views, rig=rig, names=names), uncertainty=uncertainty)
    return LiftedPerson(
        motion,
        track.person,
        lifter.method,
        residual=output.extras["residual"][0, : made.num_frames].numpy(),
        spread=output.extras["spread"][0, : made.num_frames].numpy(),
        contacts=standing_joints(made.joints3d, fps=made.fps, skeleton=made.skeleton).numpy(),
        kp2d=kp2d.numpy(),
        kp2d_conf=conf.numpy(),
        frame_ids=track.frame_ids,
        sigma={key: x.numpy() for key, x in sigma.items()},
    )


def with_origin(lifted: LiftedPerson, lifter: Pipeline, request: LiftRequest) -> LiftedPerson:
    """A copy with a caption, and with its origin and verdict in the provenance of the motion."""
    about = {
        **lifter.about,
        "method": lifted.method,
        "seed": request.seed,
        "samples": request.samples,
        "keypoints": str(request.keypoints.resolve()),
        "camera": request.camera.name if request.camera else "guessed",
        "command": command_line(),
        **verdict_metadata(lifted),
    }
    caption = f"{request.keypoints.name}, person {lifted.person}"
    provenance = lifted.motion.provenance.updated(**about)
    return replace(lifted, motion=replace(lifted.motion, text=caption, provenance=provenance))


def _own_heights(track: KeypointTrack, lifter: Pipeline) -> Mapping[str, float] | None:
    """Heights of standing feet, meters, if the keypoints are the joints of the lifter; None: those of a detector."""
    return lifter.foot_heights if track.skeleton.name == lifter.skeleton.name else None


def check_result(
    track: KeypointTrack, camera: CameraFile, lifted: LiftedPerson, lifter: Pipeline, stature: float | None = None
) -> tuple[LiftCheck, ...]:
    """The checks of a lifted motion against its keypoints, its camera and, where known, the height of the person.

    Args:
        track: keypoints in pixels of a pinhole camera.
        camera: the real camera.
        lifted: motion in meters, world, y up.
        lifter: what lifted it.
        stature: height of the person, meters; None: unknown.
    """
    kp2d, conf = torch.from_numpy(lifted.kp2d), torch.from_numpy(lifted.kp2d_conf)
    rest = load_light_body().rest_joints
    if lifter.skeleton.name != SMPL22.name:
        rest = convert_joints(rest, SMPL22, lifter.skeleton)
    heights = heights_over_floor(track, camera, _own_heights(track, lifter))
    return check_lift(
        lifted.motion, kp2d, conf, camera.rig, rest_joints=rest.double(), heights=heights, stature=stature
    )
