"""Lifting of 2D keypoints to a body in the frame of a real camera with the tokenizer alone.

The tokenizer assumes one focal length and a principal point at the image center. Pixels of a person depend only on the
ratio of depth and focal length, so the depth for a real camera is the tokenizer's depth times the ratio of the focal
lengths. The true depth also depends on the person's height, which one camera does not determine. Depths are therefore
relative.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from hmr4d.body.keypoint_body import KeypointBody
from hmr4d.body.pose import Pose
from hmr4d.geometry.rigs import Rig
from hmr4d.methods.k2m.keypoint_input import LEAST_CONF
from hmr4d.methods.k2m.losses import Observed
from hmr4d.methods.k2m.placement import DRIFT_WINDOW, solved_shift
from hmr4d.methods.k2m.projection import FOCAL_LENGTH
from hmr4d.methods.k2m.smpl_head import BodyParameters
from hmr4d.methods.k2m.tokenizer import UNIT, MotionTokenizer
from hmr4d.methods.k2m.world import pose_of, turned


def keypoints_of(kp2d: Tensor, conf: Tensor, size: Tensor) -> Tensor:
    """Keypoints (F, 18, 3) from pixels (F, 17, 2), confidence (F, 17) and image size (2,); missing keypoints are (0,
    0, 0)."""
    seen = (conf >= LEAST_CONF) & kp2d.isfinite().all(-1)
    rows = torch.cat([torch.where(seen[..., None], kp2d, 0.0), torch.where(seen, conf, 0.0)[..., None]], -1)
    last = torch.cat([size, size.new_ones(1)]).to(rows)
    return torch.cat([rows, last.expand(len(rows), 1, 3)], 1)


def padded_to_unit(keypoints: Tensor) -> Tensor:
    """A clip (F, 18, 3) padded with its last frame to a multiple of the frames per token."""
    missing = -len(keypoints) % UNIT
    return torch.cat([keypoints, keypoints[-1:].expand(missing, -1, -1)])


@torch.no_grad()
def lift_clip(tokenizer: MotionTokenizer, keypoints: Tensor, model: KeypointBody, *, min_conf: float) -> BodyParameters:
    """Body parameters (F, ...) of one clip (F, 18, 3) in the frame of the tokenizer's camera.

    Args:
        tokenizer: trained tokenizer.
        keypoints: (F, 18, 3) pixels and confidence.
        model: body model of the keypoints.
        min_conf: keypoints of lower confidence are not used for the position of the person.
    """
    tokens = tokenizer.tokenize(padded_to_unit(keypoints))
    size = keypoints[:1, -1, :2]
    body = tokenizer.decode_tokens(tokens[None], size)
    body = BodyParameters(*(value[:, : len(keypoints)] for value in vars(body).values()))
    if tokenizer.head.translation == "path":
        points = model(body.betas, body.rotations, body.translation)[1]
        valid = torch.ones(1, len(keypoints), dtype=torch.bool, device=keypoints.device)
        observed = Observed(keypoints[None, :, :-1, :2], keypoints[None, :, :-1, 2], valid)
        shift = solved_shift(points, observed, size, min_conf=min_conf, window=DRIFT_WINDOW)
        body = replace(body, translation=body.translation + shift)
    return BodyParameters(*(value[0] for value in vars(body).values()))


def pose_in_world(body: BodyParameters, model: KeypointBody, rig: Rig) -> Pose:
    """Pose of one clip in the world of a camera, from body parameters in the frame of the tokenizer's camera.

    Args:
        body: body parameters (F, ...).
        model: body model.
        rig: one camera, (1, ...).
    """
    pose = pose_of(body, model)
    K4, size, T_w2c = rig.K4[0], rig.size[0], rig.T_w2c[0]
    root = pose.translation + pose.rest_joints[0]
    pixels = FOCAL_LENGTH * root[:, :2] / root[:, 2:] + size / 2
    focal = K4[:2].mean()
    depth = root[:, 2:] * focal / FOCAL_LENGTH
    place = torch.cat([(pixels - K4[2:]) / K4[:2] * depth, depth], -1)
    turn = T_w2c[:3, :3].mT
    rotations, moved = turned(pose.rotations, place - T_w2c[:3, 3] - pose.rest_joints[0], pose.rest_joints[0], turn)
    return Pose(pose.body, rotations, moved, pose.rest_joints, betas=pose.betas, gender=pose.gender)
