"""The shape of a body from the distances between the joints of a clip, whatever the pose."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from hmr4d.body.body_model import Body, BodyT
from hmr4d.body.inverse_kinematics import clip_rest_joints
from hmr4d.body.skeleton import SMPL22
from hmr4d.body.smpl_bodies import SmplBody

FRAMES_TO_MEASURE = 2048  # of a longer clip; evenly spread
NUM_BETAS = {"smplh": 16}  # as AMASS has them; 10 in other families
ROUNDS = 4
STEPS = 100
HOPELESS = 1e9  # damping; no step is small enough to gain anything
LITTLE = 1e-9  # of the cost; steps that gain less end the search
LEAST_NOISE = 2e-4  # metres; measured distances are not trusted further
# Distances that no pose changes: along bones, and between bones of the same joint.
_PAIRS = SMPL22.bones + tuple(
    (a, b) for a in range(SMPL22.num_joints) for b in range(a)
    if SMPL22.parents[a] == SMPL22.parents[b] and SMPL22.parents[a] >= 0
)  # fmt: skip


def fit_shape(joints3d: Tensor, body: BodyT, *, num_betas: int | None = None) -> BodyT:
    """The body with the one shape that suits a clip best.

    A body of the SMPL family gets shape coefficients: they minimise the squared errors of distances between joints that
    no pose changes, under a standard normal prior; how much to trust the distances is learnt from what no shape
    explains. Any other body takes on the bones themselves.

    Args:
        joints3d: (L, 22, 3) metres.
        body: of any shape.
        num_betas: coefficients to use. None: 16 for SMPL+H, 10 for SMPL and SMPL-X, as their files are used.

    Raises:
        ValueError: more coefficients than the body has.
    """
    frames = joints3d[:: -(-len(joints3d) // FRAMES_TO_MEASURE)]
    if isinstance(body, SmplBody):
        return body.with_betas(_fit_betas(frames, body, num_betas))
    return body.with_rest_joints(clip_rest_joints(frames, smpl_rest_joints(body)))


def smpl_rest_joints(body: Body) -> Tensor:
    """(22, 3) metres; the SMPL joints of a body at rest."""
    return body.rest_joints[list(body.smpl22)]


def _fit_betas(frames: Tensor, body: SmplBody, num_betas: int | None) -> Tensor:
    """(S,) coefficients, computed in float64 from the mean shape on."""
    available = body.shape_directions.shape[-1]
    wanted = min(NUM_BETAS.get(body.name, 10), available) if num_betas is None else num_betas
    if not 1 <= wanted <= available:
        raise ValueError(f"num_betas is {wanted}, but this '{body.name}' model has from 1 to {available}.")
    starts, ends = (list(x) for x in zip(*_PAIRS, strict=True))
    joints = list(body.smpl22)
    mean = (body.joint_regressor @ body.template)[joints].double()
    directions = body.joint_directions[joints, :, :wanted].double()
    seen = (frames[:, ends] - frames[:, starts]).norm(dim=-1).double().median(0).values

    def errors(betas: Tensor) -> tuple[Tensor, Tensor]:
        """Errors (P,) of the distances in metres, and their derivatives (P, S)."""
        bones = (mean + directions @ betas)[ends] - (mean + directions @ betas)[starts]
        lengths = bones.norm(dim=-1)
        slopes = (bones / lengths[:, None])[..., None] * (directions[ends] - directions[starts])
        return seen - lengths, slopes.sum(1)

    betas, noise = torch.zeros(wanted, dtype=torch.float64), LEAST_NOISE
    for _ in range(ROUNDS):
        betas = _most_likely(errors, betas, noise)
        noise = max(LEAST_NOISE, float(errors(betas)[0].square().mean().sqrt()))
    return betas.float()


def _most_likely(errors: Callable[[Tensor], tuple[Tensor, Tensor]], betas: Tensor, noise: float) -> Tensor:
    """Coefficients (S,) that minimise squared errors / noise^2 + |betas|^2 (Levenberg-Marquardt)."""
    damping, (error, jacobian) = 1.0, errors(betas)
    cost = (error.square().sum() / noise**2) + betas.square().sum()
    for _ in range(STEPS):
        gradient = jacobian.mT @ error / noise**2 - betas
        normal = jacobian.mT @ jacobian / noise**2 + torch.eye(len(betas)).to(betas)
        candidate = betas + torch.linalg.solve(normal + damping * normal.diagonal().diag(), gradient)
        new_error, new_jacobian = errors(candidate)
        new_cost = (new_error.square().sum() / noise**2) + candidate.square().sum()
        if new_cost < cost:
            if cost - new_cost < LITTLE * cost:
                return candidate
            betas, error, jacobian, cost, damping = candidate, new_error, new_jacobian, new_cost, damping / 5
        else:
            damping = damping * 5
            if damping > HOPELESS:
                break
    return betas
