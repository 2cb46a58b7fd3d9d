"""The renderer on OpenGL against the one in NumPy; without pyrender, that it says what is missing."""

import sys

import numpy as np
import pytest

from hmr4d.body.loading import load_body
from hmr4d.visualization.figure_style import body_colors
from hmr4d.visualization.gl_renderer import GlMeshRenderer
from hmr4d.visualization.mesh_renderer import MeshRenderer
from hmr4d.visualization.view_camera import PinholeView
from tests.visualization.meshes import icosphere


@pytest.fixture
def gl() -> type[GlMeshRenderer]:
    try:
        GlMeshRenderer(np.zeros((0, 3)))
    except ImportError as error:
        pytest.skip(str(error))
    return GlMeshRenderer


def view(skew: float = 0.0) -> PinholeView:
    T_w2c = np.diag([1.0, -1.0, -1.0, 1.0])
    T_w2c[:3, 3] = 0.1, 0.85, 3.5
    return PinholeView.of([[250.0, skew, 75], [0, 240, 84], [0, 0, 1]], T_w2c, (160, 170))


def test_both_renderers_draw_the_same_body(gl: type[GlMeshRenderer]) -> None:
    body = load_body()
    white = np.full((170, 160, 3), 255, np.uint8)
    one, two = (
        renderer(body.faces, body_colors(body)).overlay(white, body.rest_vertices, view(), opacity=1.0).astype(int)
        for renderer in (MeshRenderer, gl)
    )
    is_body = [(p.min(axis=-1) < 200) for p in (one, two)]
    assert (is_body[0] != is_body[1]).mean() < 0.02
    places = [np.array(np.nonzero(m)).mean(axis=1) for m in is_body]
    assert np.abs(places[0] - places[1]).max() < 1.0  # only one of them draws a rim
    both = is_body[0] & is_body[1]
    assert np.median(np.abs(one - two)[both]) < 25


def test_a_second_mesh_and_size_work_and_skew_is_refused(gl: type[GlMeshRenderer]) -> None:
    ball, faces = icosphere(2, 0.3)
    renderer = gl(faces, (255, 0, 0))
    for center in (-0.4, 0.4):
        picture = renderer.overlay(np.zeros((170, 160, 3), np.uint8), ball + [center, 0.85, 0], view(), opacity=1.0)
        rows, columns = np.nonzero(picture[..., 0] > 60)
        assert columns.mean() + 0.5 == pytest.approx(75 + 250 * (center + 0.1) / 3.5, abs=0.3)
        assert rows.mean() + 0.5 == pytest.approx(84, abs=0.3)
    with pytest.raises(ValueError, match="skew"):
        renderer.overlay(np.zeros((170, 160, 3), np.uint8), ball, view(skew=2.0))


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyrender", None)
    with pytest.raises(ImportError, match=r"requirements_render\.txt"):
        GlMeshRenderer(np.zeros((0, 3)))
