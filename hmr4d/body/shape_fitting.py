"""The shape of a body from pose-independent distances between the joints of a clip."""

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
HOPELESS = 1e9  # damping above which no step improves the cost
LITTLE = 1e-9  # fraction of the cost; smaller improvements end the search
LEAST_NOISE = 2e-4  # meters; assumed minimum noise of distances
UNEXPLAINED = 1e-3  # meters; with a larger residual, the search restarts from other shapes
STARTS = 8
SPREAD = 1.5  # of the other starts, against a standard normal distribution
# Distances that no pose changes: along bones, and between bones of the same joint.
_PAIRS = torch.tensor(
    SMPL22.bones
    + tuple(
        (a, b)
        for a in range(SMPL22.num_joints)
        for b in range(a)
        if SMPL22.parents[a] == SMPL22.parents[b] and SMPL22.parents[a] >= 0
    )
)
_TRIPLES = torch.tensor(
    [
        SMPL22.indices("pelvis", "left_hip", "right_hip", "spine1"),
        SMPL22.indices("spine3", "neck", "left_collar", "right_collar"),
    ]
)

Errors = Callable[[Tensor], tuple[Tensor, Tensor]]


def fit_shape(joints3d: Tensor, body: BodyT, *, num_betas: int | None = None) -> BodyT:
    """The body with the shape that fits a clip best.

    A body of the SMPL family gets shape coefficients: they minimize the squared errors of pose-independent quantities
        (distances between joints and the side of bones) with a standard normal prior; the weight of the data is
        estimated from the unexplained residual. Any other body takes the measured bones directly.

    Args:
        joints3d: (L, 22, 3) meters.
        body: of any shape.
        num_betas: coefficients to use. None: 16 for SMPL+H, 10 for SMPL and SMPL-X.

    Raises:
        ValueError: more coefficients than the body has.
    """
    frames = joints3d[:: -(-len(joints3d) // FRAMES_TO_MEASURE)]
    if isinstance(body, SmplBody):
        return body.with_betas(_fit_betas(frames, body, num_betas))
    return body.with_rest_joints(clip_rest_joints(frames, smpl_rest_joints(body)))


def smpl_rest_joints(body: Body) -> Tensor:
    """(22, 3) meters; the SMPL joints of a body at rest."""
    return body.rest_joints[list(body.smpl22)]


def num_coefficients(body: SmplBody, num_betas: int | None) -> int:
    """Number of fitted shape coefficients for a requested `num_betas`; ValueError if it is not available."""
    available = body.shape_directions.shape[-1]
    wanted = min(NUM_BETAS.get(body.name, 10), available) if num_betas is None else num_betas
    if not 1 <= wanted <= available:
        raise ValueError(f"num_betas is {wanted}, but this '{body.name}' model has from 1 to {available}.")
    return wanted


def _fit_betas(frames: Tensor, body: SmplBody, num_betas: int | None) -> Tensor:
    """(S,) coefficients, computed in float64 starting from the mean shape, and from others if the residual is large."""
    wanted = num_coefficients(body, num_betas)
    joints = list(body.smpl22)
    mean = (body.joint_regressor @ body.template)[joints].double()
    directions = body.joint_directions[joints, :, :wanted].double()
    seen = torch.cat([x.double().median(0).values for x in (_distances(frames), _sides(frames))])

    def errors(betas: Tensor) -> tuple[Tensor, Tensor]:
        """Errors (K, P) of the measures in meters, and their derivatives (K, P, S), of shapes (K, S)."""
        rest = mean + torch.einsum("jcs,ks->kjc", directions, betas)
        slopes = torch.cat([_distance_slopes(rest, directions), _side_slopes(rest, directions)], 1)
        return seen - torch.cat([_distances(rest), _sides(rest)], 1), slopes

    betas, noise = _shapes_from(errors, torch.zeros(1, wanted, dtype=torch.float64))
    if float(noise) > UNEXPLAINED:
        normal = torch.randn(STARTS, wanted, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        others = _shapes_from(errors, SPREAD * normal)
        betas, noise = torch.cat([betas, others[0]]), torch.cat([noise, others[1]])
    unlikely = 2 * len(seen) * noise.log() + betas.square().sum(-1)
    return betas[int(unlikely.argmin())].float()


def _distances(joints: Tensor) -> Tensor:
    """(K, D) meters between those joints (K, 22, 3) whose distance no pose changes."""
    starts, ends = _PAIRS.T
    return (joints[:, ends] - joints[:, starts]).norm(dim=-1)


def _distance_slopes(joints: Tensor, directions: Tensor) -> Tensor:
    """(K, D, S) derivatives of the distances when the joints move along directions (22, 3, S)."""
    starts, ends = _PAIRS.T
    bones = joints[:, ends] - joints[:, starts]
    return torch.einsum("kpc,pcs->kps", bones / bones.norm(dim=-1, keepdim=True), directions[ends] - directions[starts])


def _sides(joints: Tensor) -> Tensor:
    """(K, 2) meters by which three bones of a joint span a space, negative in a mirror, where distances are the same.

    The volume of the three over the sum of their squared lengths.
    """
    bones = joints[:, _TRIPLES[:, 1:]] - joints[:, _TRIPLES[:, :1]]  # (K, 2, 3 bones, 3)
    return torch.linalg.det(bones) / bones.square().sum((-1, -2))


def _side_slopes(joints: Tensor, directions: Tensor) -> Tensor:
    """(K, 2, S) derivatives of the sides when the joints move along directions (22, 3, S)."""
    bones = joints[:, _TRIPLES[:, 1:]] - joints[:, _TRIPLES[:, :1]]
    squares = bones.square().sum((-1, -2))[..., None, None]
    faces = torch.linalg.cross(bones.roll(-1, -2), bones.roll(-2, -2))
    by_bone = (faces - 2 * bones * _sides(joints)[..., None, None]) / squares
    moves = directions[_TRIPLES[:, 1:]] - directions[_TRIPLES[:, :1]]  # (2, 3 bones, 3, S)
    return torch.einsum("ktbc,tbcs->kts", by_bone, moves)


def _shapes_from(errors: Errors, betas: Tensor) -> tuple[Tensor, Tensor]:
    """Most likely coefficients (K, S) next to starts (K, S), and what (K,) meters of the measures they leave open."""
    noise = torch.full((len(betas),), LEAST_NOISE).to(betas)
    for _ in range(ROUNDS):
        betas = _most_likely(errors, betas, noise)
        noise = errors(betas)[0].square().mean(-1).sqrt().clamp(min=LEAST_NOISE)
    return betas, noise


def _most_likely(errors: Errors, betas: Tensor, noise: Tensor) -> Tensor:
    """Coefficients (K, S) that minimize squared errors / noise^2 + |betas|^2, by Levenberg-Marquardt side by side."""
    identity = torch.eye(betas.shape[1]).to(betas)
    trust = (1 / noise**2)[:, None]
    damping = torch.ones_like(trust)
    error, jacobian = errors(betas)
    cost = trust * error.square().sum(1, keepdim=True) + betas.square().sum(1, keepdim=True)
    for _ in range(STEPS):
        gradient = (jacobian.mT @ error[..., None])[..., 0] * trust - betas
        normal = jacobian.mT @ jacobian * trust[..., None] + identity
        damped = normal + damping[..., None] * torch.diag_embed(normal.diagonal(dim1=1, dim2=2))
        candidate = betas + torch.linalg.solve(damped, gradient)
        new_error, new_jacobian = errors(candidate)
        new_cost = trust * new_error.square().sum(1, keepdim=True) + candidate.square().sum(1, keepdim=True)
        better = new_cost < cost
        done = torch.where(better, cost - new_cost < LITTLE * cost, damping > HOPELESS)
        betas, error = torch.where(better, candidate, betas), torch.where(better, new_error, error)
        jacobian, cost = torch.where(better[..., None], new_jacobian, jacobian), torch.where(better, new_cost, cost)
        damping = torch.where(better, damping / 5, damping * 5)
        if done.all():
            break
    return betas
