"""Body meshes of a page: one template mesh, and for each motion a shape and joint rotations."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hmr4d.body.body_model import Body
from hmr4d.body.light_body import load_light_body
from hmr4d.body.posed_body import PosedBody
from hmr4d.body.skeleton import SMPL22
from hmr4d.export.glb import continued_quats
from hmr4d.motion.motion import Motion
from hmr4d.motion.skinning import drive_body, sinking
from hmr4d.utils import lazy_roma as roma
from hmr4d.visualization.figure_style import figure_style
from hmr4d.visualization.page_pack import Pack

_VERTEX_STEP = 2e-4  # meters; quantization step of template vertices
_PLACE_STEP = 4e-4  # meters; quantization step of translations
_TURN_STEP = 1 / 8192  # quantization step of quaternions; rotation errors are below 0.02 degrees
_MAP_STEP = 1 / 65536
_RESIDUAL_STEP = 1e-3  # meters; quantization step of shape residuals, which are mostly zero
_WEIGHT_STEPS = 255
_FRAMES_TO_STAND = 24  # evenly spaced frames of a motion that determine how far its body is raised


def add_template(pack: Pack) -> dict[str, Any]:
    """Adds the light body at rest, once per page."""
    body = load_light_body()
    sides = figure_style(SMPL22).joint_sides
    return {
        "parents": list(body.parents),
        "sides": [sides[driver] for driver in body.drivers],
        "vertices": pack.add(body.rest_vertices.numpy(), step=_VERTEX_STEP),
        "faces": pack.add(body.faces.numpy().reshape(-1)),
        "skin": pack.add(body.skin_indices.numpy(), delta=False),
        "weights": pack.add(_whole_weights(body), delta=False),
        "licence": body.licence,
    }


def add_body(pack: Pack, motion: Motion) -> dict[str, Any]:
    """Adds the light body posed by a motion.

    Args:
        pack: pack that stores the arrays.
        motion: motion of SMPL-22 joints.

    Returns: `rest` (22, 3): joints at rest, meters. `shape` (22 x 4, 3): affine map of each joint; linear blend
        skinning of the template with these maps plus `residual` (V, 3) gives the mesh at rest. `turns` (L, 22 x 4):
        rotations relative to the parent joints, quaternions x y z w. `translation` (L, 3), meters. `lift`: height by
        which the body must be raised to stand on the floor, meters.

    Raises:
        ValueError: a bone has no length, or the convention is unknown.
    """
    posed = drive_body(motion, load_light_body())
    maps, residual = _shape(posed.body)
    turns = continued_quats(roma.rotmat_to_unitquat(posed.rotations).float())
    return {
        "rest": pack.add(posed.body.rest_joints.numpy(), step=_VERTEX_STEP),
        "shape": pack.add(maps, step=_MAP_STEP),
        "residual": pack.add(residual, step=_RESIDUAL_STEP),
        "turns": pack.add(turns.numpy(), step=_TURN_STEP),
        "translation": pack.add(posed.translation.numpy(), step=_PLACE_STEP),
        "lift": round(_lift(posed), 4),
    }


def _lift(posed: PosedBody) -> float:
    """Height by which a body must be raised to the floor, meters, estimated from some frames."""
    frames = np.unique(np.linspace(0, posed.num_frames - 1, _FRAMES_TO_STAND).round().astype(int)).tolist()
    return sinking(PosedBody(posed.body, posed.rotations[frames], posed.translation[frames]).bounds())


def _whole_weights(body: Body) -> NDArray[np.float64]:
    """(V, 4) skinning weights of the page: integers whose sum may differ between vertices."""
    return np.round(body.skin_weights.numpy().astype(np.float64) * _WEIGHT_STEPS)


@lru_cache(maxsize=1)
def _template_columns() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Matrix (V, 4 J) of skinning weight times homogeneous template position, and its pseudo-inverse."""
    body = load_light_body()
    places = np.round(body.rest_vertices.numpy() / _VERTEX_STEP) * _VERTEX_STEP
    weights = _whole_weights(body)
    weights /= weights.sum(axis=1, keepdims=True)
    columns = np.zeros((body.num_vertices, body.num_joints, 4))
    rows = np.arange(body.num_vertices)
    for slot, joints in enumerate(body.skin_indices.numpy().T):
        columns[rows, joints, :3] += weights[:, slot, None] * places
        columns[rows, joints, 3] += weights[:, slot]
    columns = columns.reshape(len(rows), -1)
    return columns, np.linalg.pinv(columns.T @ columns, hermitian=True) @ columns.T


def _shape(body: Body) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Maps (4 J, 3) from the template to the mesh of a body at rest, by least squares, and the residual (V, 3)."""
    columns, inverse = _template_columns()
    wanted = body.rest_vertices.numpy().astype(np.float64)
    maps = np.round(inverse @ wanted / _MAP_STEP) * _MAP_STEP
    return maps, wanted - columns @ maps
