"""The scene of a reference motion for a judge: a white figure on gray ground, in one fixed view from slightly above.

The constants are the published ones. The world has y up and +z towards the viewer. The pelvis is at x = z = 0 in the
first frame, and the center of the clip's extent at y = 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hmr4d.body.posed_body import PosedBody
from hmr4d.visualization.floor_grid import draw_ground_shadow
from hmr4d.visualization.mesh_renderer import MeshRenderer
from hmr4d.visualization.pixels import Color, Pixels, color_word, mix
from hmr4d.visualization.view_camera import PinholeView

SIZE = (960, 960)
FIELD_OF_VIEW = math.radians(60)  # vertical field of view
PITCH = math.radians(30)  # downwards
HEIGHT = 1.5  # meters; height of the camera above the center of the clip
LEAST_DISTANCE = 4.0  # meters
MARGIN = 0.5  # meters; margin of the ground around the clip
BODY_COLOR = (28, 135, 204)
GROUND_OPACITY = 0.21  # opacity of black
SMALLEST = 0.15  # smallest height of a figure relative to the image
WHITE: Color = (255, 255, 255)
_GL_TO_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])
_NEAREST = 1.0  # meters; near plane
_GROUND_FACES = [[0, 1, 2], [0, 2, 3]]


@dataclass(frozen=True)
class ViewingScene:
    """Placement of the clip in the scene.

    Attributes:
        offset: (3,) meters, added to all points of the motion (y up).
        low, high: (3,) meters, bounds of the clip with this offset.
    """

    offset: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    @staticmethod
    def of(points: ArrayLike, pelvis: ArrayLike) -> ViewingScene:
        """The scene of a clip.

        Args:
            points: (L, N, 3) meters, y up: the mesh, or its bounds, in every frame.
            pelvis: (3,) meters, its position in the first frame.
        """
        whole = np.asarray(points, np.float64)
        low, high, start = whole.min((0, 1)), whole.max((0, 1)), np.asarray(pelvis, np.float64)
        offset = -np.array([start[0], (low[1] + high[1]) / 2, start[2]])
        return ViewingScene(offset, low + offset, high + offset)

    @cached_property
    def camera_pose(self) -> NDArray[np.float64]:
        """Transform (4, 4) from the camera to the scene; OpenGL camera: y up, looking along -z."""
        across = (self.low[0] + self.high[0]) / 2
        back = max(LEAST_DISTANCE, self.low[2] + 2 * (HEIGHT - self.low[1]), self.high[0] - self.low[0])
        cosine, sine = math.cos(PITCH), math.sin(PITCH)
        return np.array(
            [[1.0, 0.0, 0.0, across], [0.0, cosine, sine, HEIGHT], [0.0, -sine, cosine, back], [0.0, 0.0, 0.0, 1.0]]
        )

    @property
    def ground(self) -> NDArray[np.float64]:
        """Corners (4, 3) of the ground, meters."""
        (left, y, far), (right, _, near) = self.low, self.high
        left, far, right, near = left - MARGIN, far - MARGIN, right + MARGIN, near + MARGIN
        return np.array([[left, y, far], [left, y, near], [right, y, near], [right, y, far]])

    def view(self, size: tuple[int, int] = SIZE) -> PinholeView:
        """The camera."""
        focal = size[1] / (2 * math.tan(FIELD_OF_VIEW / 2))
        K = np.array([[focal, 0.0, size[0] / 2], [0.0, focal, size[1] / 2], [0.0, 0.0, 1.0]])
        return PinholeView.of(K, _GL_TO_OPENCV @ np.linalg.inv(self.camera_pose), size)


def scene_pictures(posed: PosedBody, size: tuple[int, int] = SIZE) -> Iterator[Pixels]:
    """The images of a body in its scene, as packed pixels; see `pixels`."""
    start = posed.joints22()[0, 0].double().numpy()
    scene = ViewingScene.of(posed.bounds().numpy(), start)
    view = scene.view(size)
    base = np.full((size[1], size[0]), color_word(WHITE))
    ground = np.isfinite(MeshRenderer(_GROUND_FACES).depth(scene.ground, view, both_sides=True))
    base[ground] = mix(base[ground], color_word((0, 0, 0)), np.array(round(256 * GROUND_OPACITY), np.uint32))
    drawer = MeshRenderer(posed.body.faces, BODY_COLOR)
    for mesh in posed.meshes():
        pixels = base.copy()
        vertices = (mesh.numpy() + scene.offset).astype(np.float32)
        draw_ground_shadow(pixels, drawer, vertices, view, ground=float(scene.low[1]))
        drawer.draw(pixels, vertices, view)
        yield pixels


def is_well_seen(posed: PosedBody) -> bool:
    """Whether the body always stays inside the image of its scene and fills at least SMALLEST of its height.

    Walks towards the viewer pass the camera, and sideways walks move it far away.
    """
    bounds = posed.bounds().double().numpy()
    scene = ViewingScene.of(bounds, posed.joints22()[0, 0].double().numpy())
    ends = np.repeat(bounds.mean(1)[:, None], 2, axis=1)
    ends[:, :, 1] = bounds[:, :, 1]
    transform = scene.view().T_w2c
    camera = (ends + scene.offset) @ transform[:3, :3].T + transform[:3, 3]
    if camera[..., 2].min() < _NEAREST:
        return False
    place = camera[..., :2] / camera[..., 2:] / (2 * math.tan(FIELD_OF_VIEW / 2))  # in units of the image height
    heights = np.abs(np.diff(place[..., 1], axis=1))
    return bool(np.abs(place).max() < 0.5 and heights.min() > SMALLEST)
