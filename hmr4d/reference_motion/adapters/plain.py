"""Dictionaries of body parameters: files of the SMPLest-X exporter, and other files with the names of the package
smplx."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hmr4d.reference_motion.adapters.base import (
    CAMERA_UP,
    Adapter,
    Source,
    body_of,
    camera_of,
    first_focal,
    first_number,
    frame_numbers,
    mean_betas,
    placement,
)
from hmr4d.reference_motion.body_track import UPRIGHT, BodyTrack, mean_torso
from hmr4d.reference_motion.rest_joints import derived_rest_joints
from hmr4d.utils.foreign_files import array_of

ORIENT = ("global_orient", "root_orient", "root_pose", "smplx_root_pose")
BODY = ("body_pose", "pose_body", "smplx_body_pose")
TRANSL = ("transl", "trans", "translation", "cam_trans")
SHAPE = ("betas", "shape", "smplx_shape")
RATES = ("fps", "frame_rate", "mocap_framerate", "mocap_frame_rate")
FRAMES = ("frame_ids", "frame_index", "frames", "frame")
CAMERA = ("focal_length", "width", "height")
CAMERA_MARKS = ("focal_length", "focal_length_xy", "princpt", "cam_trans", "smplx_root_pose")
CROPS = (
    "The focal length differs between frames, as where each frame has the camera of its crop: places are then not "
    "those of one camera. Export with one camera, as our exporter for SMPLest-X does."
)
FROM_BELOW = 0.8  # share of the torso along z in a camera that looks up by 53 degrees, as no camera does
SMPL_JOINTS = 23  # of a body pose of SMPL, without the root


def named(tree: Mapping[Any, Any], names: tuple[str, ...]) -> str | None:
    """The first of `names` with a value in a dictionary, or None."""
    return next((name for name in names if tree.get(name) is not None), None)


def is_parameters(tree: Any) -> bool:
    """Whether a tree is a dictionary with root orientation, body pose and translation under their usual names."""
    return isinstance(tree, Mapping) and all(named(tree, names) for names in (ORIENT, BODY, TRANSL))


def parameter_track(tree: Mapping[Any, Any], up: str | None, usual_fps: float = 30.0) -> BodyTrack:
    """The track in a dictionary of parameters; `up` is the up axis of its coordinates, None: detected from the body."""
    orient, body, transl = (named(tree, names) for names in (ORIENT, BODY, TRANSL))
    if orient is None or body is None or transl is None:
        lacking = [names[0] for names, found in ((ORIENT, orient), (BODY, body), (TRANSL, transl)) if found is None]
        raise ValueError(
            f"The file lacks {', '.join(lacking)}; it has {', '.join(map(str, tree)) or 'nothing'}. Expected "
            "global_orient (F, 3), body_pose (F, 63) and transl (F, 3)."
        )
    where = placement(array_of(tree[orient], orient), array_of(tree[transl], transl), up, orient)
    pose = array_of(tree[body], body)
    width = pose[0].size if len(pose) else 0
    is_smpl = width in (3 * SMPL_JOINTS, 9 * SMPL_JOINTS)
    rate, frames = named(tree, RATES), named(tree, FRAMES)
    size, K, remarks = _camera(tree)
    return BodyTrack(
        "smpl" if is_smpl else "smplx",
        body_of(pose, body, len(where.root)),
        {"camera" if up == CAMERA_UP else "world": where},
        None if frames is None else frame_numbers(tree[frames], frames),
        mean_betas(tree, *SHAPE),
        fps=None if rate is None else first_number(tree[rate], rate),
        usual_fps=usual_fps,
        K=K,
        size=size,
        is_level=up is not None,
        remarks=remarks,
    )


def _camera(tree: Mapping[Any, Any]) -> tuple[tuple[int, int] | None, Any, tuple[str, ...]]:
    """Image size and intrinsics of the camera in a dictionary, and warnings."""
    known = {name: first_number(tree.get(name), name) for name in CAMERA}
    known["focal_length"], zooms = first_focal(tree.get("focal_length"))
    missing = [name for name, value in known.items() if value is None]
    if missing and len(missing) < len(CAMERA):
        return None, None, (f"The camera is left out, for the file has no usable {', '.join(missing)}.",)
    if missing:
        return None, None, ()
    focal, width, height = (float(known[name] or 0) for name in CAMERA)
    size = (round(width), round(height))
    if focal <= 0 or min(size) <= 0:
        return None, None, (f"The camera is left out: focal length {focal:g}, picture {width:g} x {height:g}.",)
    return size, camera_of(focal, size), (CROPS,) if zooms else ()


def _smplestx(source: Source) -> dict[str, BodyTrack]:
    return {"0": parameter_track(source.content, CAMERA_UP)}


def _plain(source: Source) -> dict[str, BodyTrack]:
    """Reads one person. PyTorch files of HMR systems are in camera coordinates unless the body contradicts this."""
    track = parameter_track(source.content, CAMERA_UP)
    is_torch = source.path.suffix in (".pt", ".pth")
    if is_torch and source.up is None and _fits_a_camera(track):
        return {"0": track}
    return {"0": parameter_track(source.content, None)}


def _fits_a_camera(track: BodyTrack) -> bool:
    """Whether a track is plausible in camera coordinates (y down, z forward): the body does not stand along +y or z."""
    torso = mean_torso(
        track.placements["camera"].root, track.body_rotations, derived_rest_joints(track.family).double()
    )
    return float(torso[1]) < UPRIGHT and float(torso[2]) < FROM_BELOW


def _is_smplestx(tree: Any) -> bool:
    return is_parameters(tree) and any(name in tree for name in CAMERA_MARKS)


def _is_meant_so(tree: Any) -> bool:
    """Whether a tree has parameters, even incomplete ones; the reader names the missing entries."""
    return isinstance(tree, Mapping) and any(named(tree, names) for names in (ORIENT, BODY))


SMPLESTX = Adapter("smplestx", "SMPLest-X", _is_smplestx, _smplestx)
PLAIN = Adapter("parameters", "SMPL(-X) parameters", _is_meant_so, _plain)
