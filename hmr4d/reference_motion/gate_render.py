"""Renders the motions of an archive for a judge, and writes the cache files that published tools read."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hmr4d.body.body_model import Body
from hmr4d.geometry.published_rotations import matrix_to_axis_angle
from hmr4d.motion.skinning import drive_body
from hmr4d.reference_motion.archive_file import Archive, portable
from hmr4d.reference_motion.content_cache import ContentCache, content_key
from hmr4d.reference_motion.reference_file import ReferenceMotion, load_reference
from hmr4d.reference_motion.video_camera import Z_UP_TO_Y_UP
from hmr4d.reference_motion.viewing_scene import SIZE, is_well_seen, scene_pictures
from hmr4d.representation.rep276 import decode
from hmr4d.utils.files import atomic_path, file_hash
from hmr4d.utils.progress import progress
from hmr4d.visualization.mesh_video import mesh_frames
from hmr4d.visualization.video_file import check_video_size, write_mp4

logger = logging.getLogger(__name__)

CAMERAS = ("auto", "static", "follow")
_VERSION = 1  # version of images and cache files; raise it when they change


@dataclass(frozen=True)
class RenderOptions:
    """Options of rendering.

    Attributes:
        size: width and height in pixels.
        camera: "static": the published view; "follow": a camera close to the figure; "auto": follow only if the figure
            would become small or leave the image.
        body: body to draw; None: the free body.
        vertices: write the mesh of every frame into the cache files, as the published tools do; the files become large.
        limit: number of first entries to render; None: all.
    """

    size: tuple[int, int] = SIZE
    camera: str = CAMERAS[0]
    body: Body | None = None
    vertices: bool = False
    limit: int | None = None

    def __post_init__(self) -> None:
        """Raises ValueError for an unknown camera or an invalid video size."""
        if self.camera not in CAMERAS:
            raise ValueError(f"camera is '{self.camera}'; known: {', '.join(CAMERAS)}.")
        check_video_size(self.size)


@dataclass(frozen=True)
class RenderedEntry:
    """Result of rendering one entry.

    Attributes:
        entry: the entry, with `video_path` and `mbench_eval_path` if it was rendered.
        error: reason why it was not rendered; empty without error. A missing motion is not an error.
        is_kept: whether the files existed already with the same motion and options.
    """

    entry: Any
    error: str = ""
    is_kept: bool = False


def render_archive(
    archive: Archive, folder: Path, options: RenderOptions, *, cache: ContentCache | None = None
) -> list[RenderedEntry]:
    """Renders every motion of an archive to `<name>.mp4` and writes its arrays to `<name>.pt`.

    Existing files of the same motion and options are kept.

    Args:
        archive: input archive.
        folder: output folder.
        options: options.
        cache: cache that records the inputs of each file.

    Returns:
        One result per entry, in order, with paths relative to the base folder of the archive.

    Raises:
        ValueError: a file would replace a motion of the archive.
    """
    count = len(archive.entries) if options.limit is None else min(options.limit, len(archive.entries))
    _check_apart(archive, folder)
    done = [
        _rendered(archive, index, folder, options, cache or ContentCache(None))
        for index in progress(range(count), "Rendering", unit="motion")
    ]
    return done + [RenderedEntry(entry) for entry in archive.entries[count:]]


def _check_apart(archive: Archive, folder: Path) -> None:
    written = {(folder / f"{name}.pt").resolve() for name in archive.names}
    for index in range(len(archive.entries)):
        try:
            path = archive.path_of(index, "motion_path")
        except ValueError:
            continue  # faulty entries are reported later
        if path is not None and path.resolve() in written:
            raise ValueError(
                f"{path} is a motion and would be replaced by a clip. Choose another folder for the clips."
            )


def render_motion(reference: ReferenceMotion, video: Path, numbers: Path, options: RenderOptions) -> None:
    """Writes the video and the cache file of a motion."""
    motion = reference.motion(from_velocities=True)
    posed = drive_body(motion, options.body)
    follows = options.camera == "follow" or (options.camera == "auto" and not is_well_seen(posed))
    pictures = mesh_frames(posed, fps=motion.fps, size=options.size) if follows else scene_pictures(posed, options.size)
    write_mp4(video, pictures, fps=motion.fps, size=options.size)
    content: dict[str, Any] = evaluation_arrays(reference)
    if options.vertices:
        content["vertices"] = torch.stack(list(posed.meshes())).float()
    with atomic_path(numbers) as temporary:
        torch.save(content, temporary)


def evaluation_arrays(reference: ReferenceMotion) -> dict[str, Any]:
    """Tensors of a rendered motion for published tools, y up and facing the viewer.

    `joints` (N, 22, 3) come from the rotations, `recovered_joints` (N, 22, 3) from integrated velocities. As in the
    published files, `pose` (N, 22, 3) and the axis-angle rotations of `smpl_params` have z up.
    """
    body = decode(reference.features.double(), from_velocities=True)
    R = torch.tensor(Z_UP_TO_Y_UP).double()
    pose = matrix_to_axis_angle(body.rotations)
    params = {"global_orient": pose[:, 0], "body_pose": pose[:, 1:].flatten(1), "transl": body.translation @ R.mT}
    return {
        "pose": pose.float(),
        "joints": reference.motion(from_velocities=True).joints3d.float(),
        "recovered_joints": (body.joints3d @ R.mT).float(),
        "smpl_params": {name: value.float() for name, value in params.items()},
        "fps": float(reference.fps),
    }


def _rendered(archive: Archive, index: int, folder: Path, options: RenderOptions, cache: ContentCache) -> RenderedEntry:
    entry = archive.entries[index]
    name = archive.names[index]
    video, numbers = folder / f"{name}.mp4", folder / f"{name}.pt"
    try:
        path = archive.path_of(index, "motion_path")
        if path is None:
            return RenderedEntry(entry)
        if not path.is_file():
            raise FileNotFoundError(f"Reference motion not found: {path}.")
        body = options.body.name if options.body else "anny"
        made_of = content_key("render", _VERSION, file_hash(path), options.size, options.camera, body, options.vertices)
        note = content_key("rendered", str(folder.absolute()), name)
        is_kept = _is_current(cache.get(note), made_of, video, numbers)
        if not is_kept:
            render_motion(load_reference(path), video, numbers, options)
            cache.put(note, {"made_of": made_of, "video": file_hash(video), "numbers": file_hash(numbers)})
    except (OSError, ValueError) as error:
        logger.warning("%s: %s", archive.label(index), error)
        return RenderedEntry(entry, str(error))
    paths = {"video_path": portable(video, archive.root), "mbench_eval_path": portable(numbers, archive.root)}
    return RenderedEntry({**entry, **paths}, is_kept=is_kept)


def _is_current(note: Mapping[str, Any] | None, made_of: str, video: Path, numbers: Path) -> bool:
    """Whether both files exist and were made from the same inputs."""
    if note is None or note.get("made_of") != made_of or not (video.is_file() and numbers.is_file()):
        return False
    return note.get("video") == file_hash(video) and note.get("numbers") == file_hash(numbers)
