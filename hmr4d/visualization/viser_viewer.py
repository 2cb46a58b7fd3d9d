"""Shows saved motions in a browser with viser: live with a timeline, or as a recording in one HTML file."""

from __future__ import annotations

import contextlib
import io
import math
import os
import socket
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from hmr4d.body.posed_body import PosedBody
from hmr4d.motion.skinning import drive_body
from hmr4d.utils import lazy_roma as roma
from hmr4d.utils.files import write_text
from hmr4d.visualization.figure_style import SIDE_COLORS
from hmr4d.visualization.shown_motions import ShownMotion

if TYPE_CHECKING:
    import viser  # pyright: ignore[reportMissingImports]

BONE_WIDTH = 0.035  # meters
LABEL_HEIGHT = 0.25  # meters above the highest joint
GAP = 0.6  # meters between motions side by side
BODY_COLORS = ((104, 138, 190), (214, 146, 92), (112, 164, 104), (182, 118, 164))
FARTHEST = 9.0  # meters; largest initial distance of the camera from its target
REFRESH = 60.0  # updates per second
DEFAULT_PORT = 8080


class Clock:
    """Time on the timeline: advances during playback and restarts at the end.

    Args:
        seconds: length of the timeline.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds, self.now, self.speed, self.is_playing = seconds, 0.0, 1.0, True

    def advance(self, elapsed: float) -> None:
        """Advances the clock by `elapsed` seconds of real time."""
        if self.is_playing and self.seconds > 0:
            now = self.now + elapsed * self.speed
            # The last frame is shown before the restart.
            self.now = now if now <= self.seconds else (0.0 if self.now >= self.seconds else self.seconds)


def import_viser() -> Any:
    """The package viser. Raises ImportError with install instructions if it is missing."""
    try:
        import viser  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError(f"This viewer needs viser ({error}): pip install -r requirements_render.txt.") from error
    return viser


def start_server(host: str, port: int | None) -> viser.ViserServer:
    """Starts a viser server.

    Args:
        host: "127.0.0.1" for this machine alone, "0.0.0.0" also for other machines.
        port: port; None: the first free one from DEFAULT_PORT on.

    Raises:
        ImportError: viser is not installed.
        OSError: the port is in use, or the address does not belong to this machine.
    """
    package = import_viser()
    if port:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with contextlib.closing(socket.socket(family, socket.SOCK_STREAM)) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                raise OSError(
                    f"Port {port} on {host} cannot be used ({error.strerror}). Choose another with --port, or omit "
                    "--port to use a free one."
                ) from error
    with contextlib.redirect_stdout(io.StringIO()):  # suppresses its banner; the caller logs the address
        return package.ViserServer(host=host, port=DEFAULT_PORT if port is None else port, verbose=False)


def stop_server(server: viser.ViserServer) -> None:
    """Stops a server, its threads and its connections."""
    with contextlib.redirect_stdout(io.StringIO()):
        server.stop()


def side_by_side(motions: Sequence[ShownMotion]) -> NDArray[np.float64]:
    """Offsets (N, 3), meters, that arrange motions in a row along x.

    The row is centered. Viewed from +z, which motions usually face, the first motion is on the left.
    """
    low, high = (np.array([f(motion.joints3d[..., 0]) for motion in motions]) for f in (np.min, np.max))
    widths = high - low + GAP
    left = np.concatenate([[0.0], np.cumsum(widths)[:-1]]) - widths.sum() / 2 + GAP / 2
    offsets = np.zeros((len(motions), 3))
    if len(motions) > 1:
        offsets[:, 0] = left - low
    return offsets


class Figure:
    """One motion in the scene, as bones, as a mesh, or both.

    Args:
        scene: scene of the server.
        path: name of the node in the scene.
        motion: motion to draw.
        offset: (3,) meters, position of the figure.
        color: color of the mesh.
    """

    def __init__(
        self,
        scene: viser.SceneApi,
        path: str,
        motion: ShownMotion,
        offset: NDArray[np.float64],
        color: tuple[int, int, int],
    ) -> None:
        self.motion, self.offset, self._scene, self._path, self._color = motion, offset, scene, path, color
        self._frame, self._in_place = 0, False
        self._node = scene.add_frame(path, show_axes=False, position=offset)
        self._bones = list(motion.bones)
        colors = np.array([SIDE_COLORS[side] for side in motion.sides], np.uint8)
        self._lines = scene.add_line_segments(
            f"{path}/bones", self._points(0), colors[:, None].repeat(2, axis=1), thickness=BONE_WIDTH
        )
        words = motion.text or motion.name
        self._label = scene.add_label(f"{path}/label", words, position=self._label_place(0), anchor="bottom-center")
        self._mesh: Any = None
        self._turns = self._places = np.zeros(
            (0, 0, 0), np.float32
        )  # rotations (L, J, 4), w first, and positions (L, J, 3) of the bones

    def _points(self, frame: int) -> NDArray[np.float32]:
        """End points (N, 2, 3) of the bones, meters."""
        return self.motion.joints3d[frame][self._bones].reshape(-1, 2, 3)

    def _label_place(self, frame: int) -> NDArray[np.float32]:
        joints = self.motion.joints3d[frame]
        return np.array([joints[0, 0], joints[:, 1].max() + LABEL_HEIGHT, joints[0, 2]], np.float32)

    def show_mesh(self, visible: bool) -> None:
        """Shows or hides the body, which is created on first use. Motions of other skeletons have none."""
        if visible and self._mesh is None and self.motion.is_smpl22:
            posed = drive_body(self.motion.motion)
            world, joints = posed.body.joint_transforms(posed.rotations, posed.translation)
            self._turns = roma.rotmat_to_unitquat(world)[..., [3, 0, 1, 2]].float().numpy()
            self._places = joints.float().numpy()
            self._mesh = self._add_mesh(posed)
            self._move_mesh()
        if self._mesh is not None:
            self._mesh.visible = visible

    @property
    def has_mesh(self) -> bool:
        """Whether a body can follow the motion."""
        return self.motion.is_smpl22

    def _add_mesh(self, posed: PosedBody) -> Any:
        body = posed.body
        weights = torch.zeros(body.num_vertices, body.num_joints)
        weights.scatter_add_(1, body.skin_indices, body.skin_weights.float())
        upright = np.tile([1.0, 0.0, 0.0, 0.0], (body.num_joints, 1))
        return self._scene.add_mesh_skinned(
            f"{self._path}/body",
            body.rest_vertices.numpy(),
            body.faces.numpy(),
            bone_wxyzs=upright,
            bone_positions=body.rest_joints.numpy(),
            skin_weights=weights.numpy(),
            color=self._color,
        )

    def show_bones(self, visible: bool) -> None:
        """Shows or hides the skeleton."""
        self._lines.visible = visible

    def show_label(self, visible: bool) -> None:
        """Shows or hides the text above the figure."""
        self._label.visible = visible

    def stand_at(self, offset: NDArray[np.float64], *, in_place: bool) -> None:
        """Moves the figure by `offset` (3,), meters. `in_place` keeps its root there; otherwise it follows its path."""
        self.offset, self._in_place = offset, in_place
        self._move_node()

    def _move_node(self) -> None:
        root = self.motion.joints3d[self._frame if self._in_place else 0, 0] * (1.0, 0.0, 1.0)
        self._node.position = self.offset + (self.motion.joints3d[0, 0] * (1.0, 0.0, 1.0) - root)

    def show_frame(self, frame: int) -> None:
        """Shows the pose of a frame."""
        if frame == self._frame:
            return
        self._frame = frame
        self._lines.points = self._points(frame)
        self._label.position = self._label_place(frame)
        self._move_mesh()
        if self._in_place:
            self._move_node()

    def _move_mesh(self) -> None:
        if self._mesh is None:
            return
        for bone, turn, place in zip(
            self._mesh.bones, self._turns[self._frame], self._places[self._frame], strict=True
        ):
            bone.wxyz, bone.position = turn, place

    def remove(self) -> None:
        """Removes the figure from the scene."""
        self._node.remove()


class MotionScene:
    """Motions on a floor, side by side or at their recorded positions.

    Args:
        server: viser server.
        motions: at least one motion.
        mesh, bones: whether bodies and bones are visible at first.
    """

    def __init__(
        self, server: viser.ViserServer, motions: Sequence[ShownMotion], *, mesh: bool = True, bones: bool = True
    ) -> None:
        self._server, self.motions = server, list(motions)
        self.offsets = side_by_side(self.motions)
        self.seconds = max(motion.seconds for motion in motions)
        self.fps = max(motion.fps for motion in motions)
        server.scene.set_up_direction("+y")
        self._add_floor()
        self.figures = [
            Figure(server.scene, f"/motions/{i}", motion, self.offsets[i], BODY_COLORS[i % len(BODY_COLORS)])
            for i, motion in enumerate(self.motions)
        ]
        self.show_mesh(mesh)
        self.show_bones(bones)

    def _corners(self) -> NDArray[np.float64]:
        """Smallest and largest corner (2, 3) of all shown motions, meters."""
        low = np.min([m.joints3d.min((0, 1)) + o for m, o in zip(self.motions, self.offsets, strict=True)], axis=0)
        high = np.max([m.joints3d.max((0, 1)) + o for m, o in zip(self.motions, self.offsets, strict=True)], axis=0)
        return np.stack([low, high])

    def _add_floor(self) -> None:
        low, high = self._corners()
        middle, size = (low + high) / 2, high - low
        width, depth = (2.0 * np.ceil((size[axis] + 3.0) / 2) for axis in (0, 2))
        self._server.scene.add_grid(
            "/floor",
            float(width),
            float(depth),
            plane="xz",
            position=(round(middle[0]), 0.0, round(middle[2])),
            cell_size=0.5,
            cell_color=(226, 229, 234),
            section_size=1.0,
            section_color=(196, 201, 209),
            plane_color=(245, 246, 248),
            plane_opacity=1.0,
            shadow_opacity=0.3,
        )
        # Long paths are not shown completely, because the figures would be too small.
        away = min(max(4.5, 1.1 * float(size[0]) + 2.0, 0.8 * float(size[2]) + 2.0), FARTHEST)
        start = np.mean([motion.joints3d[0, 0, 2] for motion in self.motions])
        z = float(np.clip(middle[2], start - FARTHEST / 3, start + FARTHEST / 3))
        camera = self._server.initial_camera
        camera.fov = math.radians(45)
        camera.look_at = (middle[0], 0.9, z)
        camera.position = (middle[0] + 0.4 * away, 0.9 + 0.3 * away, z + 0.87 * away)

    def show(self, seconds: float) -> None:
        """Shows the poses at a time; motions after their end hold the last pose."""
        with self._server.atomic():
            for figure in self.figures:
                figure.show_frame(figure.motion.frame_at(seconds))

    def show_mesh(self, visible: bool) -> None:
        """Shows or hides all bodies. Motions that no body can follow keep their bones."""
        for figure in self.figures:
            figure.show_mesh(visible)

    def show_bones(self, visible: bool) -> None:
        """Shows or hides the bones of all motions that also have a body."""
        for figure in self.figures:
            figure.show_bones(visible or not figure.has_mesh)

    def show_labels(self, visible: bool) -> None:
        """Shows or hides the texts."""
        for figure in self.figures:
            figure.show_label(visible)

    def arrange(self, *, apart: bool, in_place: bool) -> None:
        """Places the motions in a row or at their recorded positions; `in_place` removes their paths."""
        for figure, offset in zip(self.figures, self.offsets, strict=True):
            figure.stand_at(offset if apart else np.zeros(3), in_place=in_place)

    def remove(self) -> None:
        """Removes all figures from the scene."""
        for figure in self.figures:
            figure.remove()


def save_html(path: str | os.PathLike[str], motions: Sequence[ShownMotion], *, mesh: bool = True) -> None:
    """Writes a viser recording of the motions in real time as one HTML file that opens from disk.

    Args:
        path: file to write.
        motions: at least one motion; all are shown side by side.
        mesh: show bodies; False: bones.

    Raises:
        ImportError: viser is not installed.
        OSError: the file cannot be written.
    """
    server = start_server("127.0.0.1", 0)
    try:
        scene = MotionScene(server, motions, mesh=mesh, bones=not mesh)
        recording = server.get_scene_serializer()
        for frame in range(round(scene.seconds * scene.fps) + 1):
            scene.show(frame / scene.fps)
            recording.insert_sleep(1.0 / scene.fps)
        write_text(path, recording.as_html())
    finally:
        stop_server(server)


class Viewer:
    """Live viewer with a timeline and controls for pages of motions.

    Args:
        server: viser server.
        motions: at least one motion.
        at_once: motions per page.
    """

    def __init__(self, server: viser.ViserServer, motions: Sequence[ShownMotion], *, at_once: int = 4) -> None:
        self.server = server
        self.pages = [list(motions[i : i + at_once]) for i in range(0, len(motions), at_once)]
        self.page = 0
        self._build_controls()
        self.open_page(0)

    def _build_controls(self) -> None:
        gui = self.server.gui
        self.play = gui.add_button("Pause")
        self.timeline = gui.add_slider("Seconds", min=0.0, max=1.0, step=0.01, initial_value=0.0)
        self.speed = gui.add_slider("Speed", min=0.1, max=3.0, step=0.1, initial_value=1.0)
        self.frame = gui.add_text("Frame", "0", disabled=True)
        self.mesh = gui.add_checkbox("Body", True)
        self.bones = gui.add_checkbox("Skeleton", False)
        self.labels = gui.add_checkbox("Texts", True)
        self.apart = gui.add_checkbox("Side by side", True)
        self.in_place = gui.add_checkbox("In place", False)
        self.chosen = gui.add_slider(
            "Page", min=1, max=max(len(self.pages), 2), step=1, initial_value=1, visible=len(self.pages) > 1
        )
        self.play.on_click(lambda _: self.set_playing(not self.clock.is_playing))

    def _obey(self) -> None:
        """Applies the state of the controls. Reading them in one thread avoids race conditions."""
        if int(self.chosen.value) - 1 != self.page:
            self.open_page(int(self.chosen.value) - 1)
        self.clock.speed = float(self.speed.value)
        if self.timeline.value != self._shown_time:  # the user moved it
            self.set_playing(False)
            self.seek(float(self.timeline.value))
        if (switches := self._switches()) != self._done:
            self._apply(switches)

    def _switches(self) -> tuple[bool, ...]:
        return tuple(box.value for box in (self.mesh, self.bones, self.labels, self.apart, self.in_place))

    def _apply(self, switches: tuple[bool, ...]) -> None:
        self._done = switches
        mesh, bones, labels, apart, in_place = switches
        self.scene.show_mesh(mesh)
        self.scene.show_bones(bones)
        self.scene.show_labels(labels)
        self.scene.arrange(apart=apart, in_place=in_place)

    def open_page(self, page: int) -> None:
        """Shows the motions of another page from their start."""
        if hasattr(self, "scene"):
            self.scene.remove()
        self.page = page
        self.scene = MotionScene(self.server, self.pages[page], mesh=self.mesh.value, bones=self.bones.value)
        self._apply(self._switches())
        self.clock = Clock(self.scene.seconds)
        self.timeline.max = max(self.scene.seconds, 0.01)
        self.timeline.step = min(1.0 / self.scene.fps, self.timeline.max)
        self.set_playing(True)
        self.seek(0.0)

    def set_playing(self, is_playing: bool) -> None:
        """Starts or pauses playback."""
        self.clock.is_playing = is_playing
        self.play.label = "Pause" if is_playing else "Play"

    def seek(self, seconds: float) -> None:
        """Jumps to a time."""
        self.clock.now = min(max(seconds, 0.0), self.clock.seconds)
        self._show()

    def _show(self) -> None:
        self.scene.show(self.clock.now)
        first = self.scene.motions[0]
        place = self.clock.now
        if (
            place == self.timeline.value
        ):  # viser would not send an unchanged value, but a slow browser may show an older one
            place = math.nextafter(place, self.clock.seconds / 2)
        self.timeline.value = place
        self._shown_time = self.timeline.value
        self.frame.value = f"{first.frame_at(self.clock.now)} of {first.num_frames - 1}, {first.fps:g} a second"

    def tick(self, elapsed: float) -> None:
        """Advances clock, timeline and motions by `elapsed` seconds of real time."""
        self._obey()
        before = self.clock.now
        self.clock.advance(elapsed)
        if self.clock.now != before:
            self._show()

    def run(self) -> None:
        """Runs the viewer until interrupted."""
        last = time.monotonic()
        while True:
            time.sleep(1.0 / REFRESH)
            now = time.monotonic()
            self.tick(now - last)
            last = now
