"""Joint limits of a body: minimum and maximum axis-angle components, from a table and from data.

The packaged table is based on anatomy, like the limits that "Learning Text-driven 3D Human Motion Generation from
3D-free Web Videos" (2025) describes. Limits per component are coarse if two components are large, as at shoulders: they
exclude impossible poses but do not model the plausible ones.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hmr4d.body.skeleton import SMPL22
from hmr4d.utils.files import atomic_path

TABLE = Path(__file__).parent / "resources" / "pose_limits.json"
BODY_JOINTS = (*SMPL22.joint_names[1:], "left_hand", "right_hand")  # the 23 joints below the root
_SIDES = {"left_": (1.0, 1.0, 1.0), "right_": (1.0, -1.0, -1.0)}


@dataclass(frozen=True, eq=False)
class PoseLimits:
    """Bounds of the 69 axis-angle components of the joints below the root.

    Attributes:
        least, greatest: (69,) radians.
    """

    least: Tensor
    greatest: Tensor

    def excess(self, pose: Tensor) -> Tensor:
        """(..., 69) radians by which a pose (..., 69) is outside; 0 inside."""
        return (pose - self.greatest.to(pose)).relu() + (self.least.to(pose) - pose).relu()

    def of_smpl22(self) -> tuple[Tensor, Tensor]:
        """Minimum and maximum (22, 3) of the joints of `SMPL22`, radians; infinite for the root."""
        root, count = torch.full((1, 3), torch.inf), 3 * (SMPL22.num_joints - 1)
        least, greatest = (x[:count].unflatten(0, (-1, 3)) for x in (self.least, self.greatest))
        return torch.cat([-root, least]), torch.cat([root, greatest])


def load_pose_limits(path: str | Path = TABLE) -> PoseLimits:
    """Limits from a JSON file like that of the package.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a joint is missing or its bounds are no three pairs in order.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"Pose limits not found: {path}. Pass a JSON file like {TABLE.name} of the package.")
    try:
        table: Mapping[str, list[list[float]]] = json.loads(path.read_text("utf-8"))["limits"]
        rows = [_bounds(joint, table) for joint in BODY_JOINTS]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is no table of pose limits ({error!r}); expected 'limits' with three [least, greatest] for "
            "each of hip, knee, ..., hand."
        ) from error
    bounds = torch.tensor(rows, dtype=torch.float32)  # (23, 3, 2)
    return PoseLimits(bounds[..., 0].flatten(), bounds[..., 1].flatten())


def _bounds(joint: str, table: Mapping[str, list[list[float]]]) -> list[list[float]]:
    """Three pairs of a joint; those of right joints are mirrored from the left."""
    side = next((s for s in _SIDES if joint.startswith(s)), "left_")
    pairs = table[joint.removeprefix(side)]
    if len(pairs) != 3 or not all(len(p) == 2 and p[0] <= p[1] and all(map(math.isfinite, p)) for p in pairs):
        raise ValueError(f"bounds of '{joint}' are {pairs}")
    return [sorted(sign * bound for bound in pair) for sign, pair in zip(_SIDES[side], pairs, strict=True)]


def fit_pose_limits(
    poses: NDArray[np.floating], *, percentile: float = 0.1, margin: float = 0.1
) -> dict[str, list[list[float]]]:
    """The table of limits of measured poses.

    Args:
        poses: (N, 69) or (N, 63) axis-angle components, in radians, of the joints below the root; 63 lack the hands.
        percentile: percentage excluded at each end.
        margin: radians beyond the percentiles.

    Returns:
        Three [minimum, maximum] for each left or central joint, including the mirrored right ones.
    """
    if poses.ndim != 2 or poses.shape[1] not in (63, 69) or not len(poses) or not np.isfinite(poses).all():
        raise ValueError(f"poses have shape {poses.shape}; expected (N, 63) or (N, 69) finite radians.")
    seen: dict[str, list[NDArray[np.floating]]] = {}
    for joint, name in enumerate(BODY_JOINTS[: poses.shape[1] // 3]):
        side = next((s for s in _SIDES if name.startswith(s)), "left_")
        turned = poses[:, 3 * joint : 3 * joint + 3] * np.array(_SIDES[side])
        seen.setdefault(name.removeprefix(side), []).append(turned)
    table = {}
    for name, parts in seen.items():
        low, high = np.percentile(np.concatenate(parts), [percentile, 100 - percentile], axis=0)
        table[name] = [
            [round(float(a) - margin, 3), round(float(b) + margin, 3)] for a, b in zip(low, high, strict=True)
        ]
    return table


def save_pose_limits(path: str | Path, table: Mapping[str, list[list[float]]], about: str) -> None:
    """Writes a table that `load_pose_limits` reads; joints that it lacks are those of the package."""
    whole = json.loads(TABLE.read_text("utf-8"))["limits"] | dict(table)
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps({"about": about, "limits": whole}, indent=1) + "\n", encoding="utf-8")
