"""Pose quality of the MBench benchmark: distance of poses to plausible human poses, by a published network (NRDF).

The user provides the published weights, `checkpoint_epoch_best.tar`, and the YAML file of their configuration. He et
al., "NRDF: Neural Riemannian Distance Fields for Learning Articulated Pose Priors", CVPR 2024.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hmr4d.geometry.published_rotations import matrix_to_axis_angle
from hmr4d.utils.text_files import read_yaml
from hmr4d.utils.weights import DAMAGED, load_inert, load_strictly, short_reason

SCALE = 10.0  # of the published number
_FEATURES = 6  # of each joint
_SMALL_ANGLE = 1e-6  # radians
_STATE_KEY = "model_state_dict"
_PARTS = ("enc.", "dfnet.")  # a checkpoint may also contain a decoder, which is not needed


class PoseDistance(nn.Module):
    """The distance of a pose to plausible human poses.

    Args:
        parents: of each joint, -1 for those that stand by themselves; a parent comes before its children.
        widths: of the hidden layers.
        activation: "softplus", "relu" or "lrelu".
        beta: of softplus.
    """

    def __init__(self, parents: list[int], widths: list[int], *, activation: str = "softplus", beta: float = 100.0):
        super().__init__()
        makers = {"softplus": lambda: nn.Softplus(beta), "relu": nn.ReLU, "lrelu": nn.LeakyReLU}
        if activation not in makers:
            raise ValueError(f"activation is '{activation}'; known: {', '.join(makers)}.")
        if any(not -1 <= parent < joint for joint, parent in enumerate(parents)):
            raise ValueError(f"parents are {parents}; each must be -1 or an earlier joint.")
        self.parents, self.act = parents, makers[activation]()
        self.last = nn.ReLU() if activation == "lrelu" else self.act
        self.enc = nn.Module()
        self.enc.net = nn.ModuleList(_joint_network(parent >= 0, makers[activation]) for parent in parents)
        self.dfnet = nn.Module()
        sizes = [_FEATURES * len(parents), *widths, 1]
        for number, (given, made) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
            setattr(self.dfnet, f"lin{number}", nn.Linear(given, made))
        self.num_layers = len(sizes) - 1

    def forward(self, quat_wxyz: Tensor) -> Tensor:
        """Distances (B,) of poses (B, J, 4): rotations of the joints relative to their parents."""
        features: list[Tensor] = []
        for joint, parent in enumerate(self.parents):
            own = quat_wxyz[:, joint]
            features.append(
                self.enc.get_submodule(f"net.{joint}")(own if parent < 0 else torch.cat([own, features[parent]], -1))
            )
        x = torch.cat(features, -1)
        for number in range(self.num_layers):
            x = self.dfnet.get_submodule(f"lin{number}")(x)
            x = self.last(x) if number == self.num_layers - 1 else self.act(x)
        return x[:, 0]


def _joint_network(has_parent: bool, activation: Any) -> nn.Module:
    hidden = 4 + _FEATURES
    part = nn.Module()
    part.net = nn.Sequential(
        nn.Linear(hidden if has_parent else 4, hidden), activation(), nn.Linear(hidden, _FEATURES), activation()
    )
    part.forward = part.net.forward  # type: ignore[method-assign]  # the names of the checkpoint have one level more
    return part


def load_pose_distance(weights: str | os.PathLike[str], config: str | os.PathLike[str]) -> PoseDistance:
    """The published network from its checkpoint and its configuration.

    Raises:
        FileNotFoundError: one of the files is missing.
        ValueError: a file is damaged, or they do not belong together.
    """
    paths = [Path(weights), Path(config)]
    if missing := [str(path) for path in paths if not path.is_file()]:
        raise FileNotFoundError(f"The pose network is not complete: {', '.join(missing)} not found.")
    content = read_yaml(paths[1])
    try:
        encoder, network = content["model"]["StrEnc"], content["model"]["DFNet"]
        model = PoseDistance(
            _integers(encoder["smpl_mapping"]),
            _integers(network["dims"]),
            activation=network["act"],
            beta=float(network.get("beta", 100.0)),
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{config} is no configuration of the pose network ({error!r}).") from error
    try:
        state = load_inert(paths[0])
        state = state.get(_STATE_KEY, state) if isinstance(state, Mapping) else {}
    except DAMAGED as error:
        raise ValueError(f"{weights} is no readable checkpoint ({short_reason(error)}).") from error
    wanted = {name: value for name, value in state.items() if str(name).startswith(_PARTS)}
    load_strictly(model, wanted, (), source=str(weights))
    return model.eval()


def pose_quality(model: PoseDistance, rotations: Tensor, *, legacy: bool = False) -> float:
    """10 times the mean distance of the poses of a motion; lower is better.

    Args:
        model: the network.
        rotations: (L, 22, 3, 3) of the SMPL joints relative to their parents.
        legacy: pass the root as the first joint, as in the published tables, so that every joint is read as its
            predecessor.
    """
    count = len(model.parents)
    first = 0 if legacy else 1
    if rotations.ndim != 4 or rotations.shape[1] < first + count:
        raise ValueError(f"rotations has shape {tuple(rotations.shape)}; expected (L, {first + count} or more, 3, 3).")
    poses = axis_angle_to_quat_wxyz(matrix_to_axis_angle(rotations[:, first : first + count].float()))
    with torch.inference_mode():
        return SCALE * float(model(poses).mean())


def axis_angle_to_quat_wxyz(axis_angle: Tensor) -> Tensor:
    """(..., 4) unit quaternions of (..., 3), with the first terms of the series for angles under 1e-6."""
    angle = axis_angle.norm(dim=-1, keepdim=True)
    is_small = angle < _SMALL_ANGLE
    safe = torch.where(is_small, torch.ones_like(angle), angle)
    factor = torch.where(is_small, 0.5 - angle**2 / 48, (angle / 2).sin() / safe)
    return torch.cat([(angle / 2).cos(), axis_angle * factor], -1)


def _integers(value: Any) -> list[int]:
    return [int(v) for v in (value.split(",") if isinstance(value, str) else value)]
