"""Mesh renderer with OpenGL through pyrender. Requires requirements_render.txt, but no display."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from hmr4d.visualization.figure_style import SIDE_COLORS
from hmr4d.visualization.mesh_renderer import NEAREST, MeshRenderer, check_picture
from hmr4d.visualization.pixels import LIGHT, Pixels, covered_words, over
from hmr4d.visualization.view_camera import PinholeView

_FARTHEST = 1000.0  # meters
_AMBIENT = 0.35
_INTENSITY = 2.6
_GAMMA = 2.2  # pyrender computes in linear light
_AXES = np.diag([1.0, -1.0, -1.0, 1.0])  # OpenGL cameras have y up and look along -z


class GlMeshRenderer(MeshRenderer):
    """OpenGL version of `MeshRenderer`, without the dark rim, with other lights and a far plane at 1 km.

    Depth equals that of `MeshRenderer`; pyrender's own depth is sampled up to half a pixel off the pixel centers.

    Args:
        faces, colors: see `MeshRenderer`.

    Raises:
        ImportError: pyrender or OpenGL is missing; the message names the packages to install.
    """

    def __init__(self, faces: ArrayLike | torch.Tensor, colors: ArrayLike = SIDE_COLORS["center"]) -> None:
        super().__init__(faces, colors)
        self._pyrender = _load_pyrender()
        self._targets: dict[tuple[int, int], Any] = {}

    def draw(
        self, pixels: Pixels, vertices: ArrayLike | torch.Tensor, view: PinholeView, *, opacity: float = 1.0
    ) -> None:
        """Draws the mesh with vertices (V, 3), meters, world, into an image, as `MeshRenderer.draw` does."""
        check_picture(pixels, view)
        colors, _ = self._render(vertices, view)
        layer = colors.astype(np.float32) * opacity
        pixels[...] = over(pixels, covered_words(layer[..., :3], layer[..., 3] / 255))

    def _render(self, vertices: ArrayLike | torch.Tensor, view: PinholeView) -> Any:
        """Colors (H, W, 4) weighted by coverage, and depth, of the mesh. All pyrender objects are released."""
        if view.K[0, 1] != 0:
            raise ValueError(f"K has a skew of {view.K[0, 1]}, which OpenGL cameras lack; use MeshRenderer.")
        points = self._camera_points(vertices, view) @ _AXES[:3, :3]
        normals = self._normals(points)
        colors = np.broadcast_to((self.colors / 255) ** _GAMMA, points.shape)
        primitive = self._pyrender.Primitive(
            positions=points.astype(np.float32),
            normals=normals.astype(np.float32),
            indices=self.faces,
            color_0=np.insert(colors, 3, 1.0, axis=1).astype(np.float32),
            material=self._pyrender.MetallicRoughnessMaterial(metallicFactor=0.0, roughnessFactor=0.7),
        )
        scene = self._pyrender.Scene(bg_color=(0.0, 0.0, 0.0, 0.0), ambient_light=(_AMBIENT,) * 3)
        scene.add(self._pyrender.Mesh([primitive]))
        scene.add(
            self._pyrender.IntrinsicsCamera(
                view.K[0, 0], view.K[1, 1], view.K[0, 2], view.K[1, 2], znear=NEAREST, zfar=_FARTHEST
            )
        )
        scene.add(self._pyrender.DirectionalLight(color=(1.0,) * 3, intensity=_INTENSITY), pose=_light_pose())
        if view.size not in self._targets:
            self._targets[view.size] = self._pyrender.OffscreenRenderer(*view.size)
        return self._targets[view.size].render(scene, flags=self._pyrender.RenderFlags.RGBA)


def _light_pose() -> NDArray[np.float64]:
    """(4, 4) pose whose z axis points to the light."""
    towards = LIGHT * (1.0, -1.0, 1.0) / np.linalg.norm(LIGHT)
    across = np.cross([0.0, 1.0, 0.0], towards)
    across /= np.linalg.norm(across)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([across, np.cross(towards, across), towards], axis=1)
    return pose


def _load_pyrender() -> Any:
    """The package, configured for use without a display and with NumPy 2."""
    os.environ.setdefault("PYOPENGL_PLATFORM", "egl")
    if not hasattr(np, "infty"):
        np.infty = np.inf  # type: ignore[attr-defined]  # noqa: NPY201  # pyrender 0.1.45 uses the old name
    try:
        import pyrender  # pyright: ignore[reportMissingImports]
    except Exception as error:  # PyOpenGL raises various exceptions if the system has no OpenGL
        raise ImportError(
            f"pyrender cannot be used ({error}). Install it with `pip install -r requirements_render.txt`, and the "
            "system packages libegl1 libgl1 libgl1-mesa-dri, or use MeshRenderer, which needs none of them."
        ) from error
    return pyrender
