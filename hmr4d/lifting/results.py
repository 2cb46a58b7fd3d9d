"""Names and files of the results of lifting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from hmr4d.camera.camera_files import CameraFile
from hmr4d.detection.video_pictures import video_pictures
from hmr4d.export.lift_npz import LiftedPerson, lift_arrays
from hmr4d.export.motion_npz import load_motion_npz
from hmr4d.geometry.distortion import distort
from hmr4d.lifting.request import LiftRequest
from hmr4d.utils.files import file_stem
from hmr4d.visualization.motion_files import write_motion_files
from hmr4d.visualization.overlay import Overlay, OverlayPainter, write_overlay_sheet, write_overlay_video
from hmr4d.visualization.plan_view import PlanCamera, PlanPath, write_plan_view

ALWAYS_WRITTEN = ("npz", "html")


def free_names(request: LiftRequest, people: Sequence[str]) -> tuple[str, list[str]]:
    """The file stem of the results: that of the keypoint file, with its suffix if another file has the same stem.

    Raises:
        FileExistsError: both are results of other keypoint files, and --overwrite was not given.
    """
    file, taken = request.keypoints, None
    for stem in (file_stem(file.stem), file_stem(f"{file.stem}_{file.suffix.removeprefix('.')}")):
        names = result_names(stem, people, alone=not request.is_everyone)
        try:
            for name in names:
                _check_place(request.out / f"{name}.npz", file, overwrite=request.overwrite)
            return stem, names
        except FileExistsError as error:
            taken = taken or error
            if not file.suffix or not _is_twin(request.out / f"{names[0]}.npz", file):
                break
    assert taken is not None
    raise taken


def _is_twin(result: Path, file: Path) -> bool:
    """Whether a result belongs to a file that differs from `file` only in its suffix, such as `walk.npz` and
    `walk.json`."""
    try:
        other = Path(str(load_motion_npz(result).metadata.get("keypoints", "")))
    except (ValueError, OSError):
        return False
    return other.stem == file.stem and other.suffix != file.suffix and other.parent == file.resolve().parent


def result_names(stem: str, people: Sequence[str], *, alone: bool) -> list[str]:
    """Names of the results without suffix, one per person; names that differ only in case also get a number."""
    if alone:
        return [stem] * len(people)
    names: list[str] = []
    for person in people:
        name, taken = file_stem(f"{stem}_p{person}"), {other.casefold() for other in names}
        number = next(n for n in range(1, len(names) + 2) if (f"{name}-{n}" if n > 1 else name).casefold() not in taken)
        names.append(f"{name}-{number}" if number > 1 else name)
    return names


def _check_place(path: Path, keypoints: Path, *, overwrite: bool) -> None:
    """FileExistsError when a result of another keypoint file is at `path`, unless it may be replaced."""
    if overwrite or not path.is_file():
        return
    try:
        other = load_motion_npz(path).metadata.get("keypoints")
    except ValueError:
        other = None
    if other != str(keypoints.resolve()):
        whose = f"the result of {other}" if other else "an existing file that is no result of these keypoints"
        raise FileExistsError(f"{path} is {whose}. Choose another folder with --out, or replace it with --overwrite.")


def write_person(
    request: LiftRequest, name: str, lifted: LiftedPerson, camera: CameraFile, video: Path | None
) -> list[Path]:
    """Writes all files of one person; returns the paths.

    Args:
        request: folder, formats and overlays.
        name: file name without suffix.
        lifted: the motion.
        camera: the real camera, with its lens distortion.
        video: video behind the overlay; None: no picture.
    """
    motion = lifted.motion
    own = list(dict.fromkeys([*ALWAYS_WRITTEN, *request.formats]))
    written = write_motion_files(motion, request.out, name, own, options={"npz": {"arrays": lift_arrays(lifted)}})
    written.append(request.out / f"{name}_plan.png")
    write_plan_view(written[-1], [PlanPath(lifted.motion, lifted.contacts, "")], _cameras(lifted), title=motion.text)
    return written + _write_overlays(request, name, lifted, camera, video)


def _write_overlays(
    request: LiftRequest, name: str, lifted: LiftedPerson, camera: CameraFile, video: Path | None
) -> list[Path]:
    """Writes the requested overlays; returns the paths. Points over a video are distorted as its pictures are."""
    rig = lifted.rig
    width, height = rig.size[0].tolist()
    painter = OverlayPainter((int(width), int(height)), rig.K4[0].numpy(), rig.T_w2c[0].numpy())
    overlay, written = [overlay_of(lifted)], []
    if request.overlay != "none":
        written.append(request.out / f"{name}_overlay.png")
        write_overlay_sheet(written[-1], painter, overlay)
    if request.overlay == "video":
        written.append(request.out / f"{name}_overlay.mp4")
        pictures = None
        if video is not None:
            pictures = video_pictures(video, lifted.frame_ids.tolist())
            overlay = [_as_in_video(overlay[0], camera)]
        write_overlay_video(written[-1], painter, overlay, fps=lifted.motion.fps, pictures=pictures)
    return written


def write_plan_of_all(path: Path, people: Sequence[LiftedPerson], title: str) -> None:
    """Draws the paths of several people and their common camera from above."""
    paths = [PlanPath(p.motion, p.contacts, f"person {p.person}") for p in people]
    write_plan_view(path, paths, _cameras(people[0])[:1], title=title)


def overlay_of(lifted: LiftedPerson) -> Overlay:
    """The projected joints and the keypoints of a lifted person, pixels of the real camera."""
    motion = lifted.motion
    assert motion.views is not None
    joints2d = motion.views.joints2d[0].numpy()
    return Overlay(joints2d, lifted.kp2d, lifted.kp2d_conf, motion.skeleton, int(lifted.frame_ids[0]))


def _as_in_video(overlay: Overlay, camera: CameraFile) -> Overlay:
    """The overlay in pixels of the pictures of a camera with lens distortion."""
    if not bool(camera.distortion.any()):
        return overlay
    points = [torch.from_numpy(p).double().flatten(0, 1) for p in (overlay.joints2d, overlay.kp2d)]
    joints2d, kp2d = (distort(p, camera.K4.double(), camera.distortion.double()) for p in points)
    shape = overlay.kp2d.shape
    return replace(overlay, joints2d=joints2d.reshape(shape).numpy(), kp2d=kp2d.reshape(shape).numpy())


def _cameras(lifted: LiftedPerson) -> list[PlanCamera]:
    assert lifted.motion.views is not None
    rig = lifted.rig
    cameras = zip(rig.T_w2c.numpy(), rig.K4.numpy(), rig.size.tolist(), lifted.motion.views.names, strict=True)
    return [
        PlanCamera(T, K4, (width, height), name, is_real=view == 0)
        for view, (T, K4, (width, height), name) in enumerate(cameras)
    ]
